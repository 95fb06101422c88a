/* SPDX-License-Identifier: Apache-2.0 */
#include "gate_wait.h"

#include <errno.h>

#include "../lib/base.h"
#include "sys.h"

#define SPIN_TURNS 2048u /* at most; sys_spin_while() knows how much of it pays */

/* 0: goes on; else why not. */
static int over(const struct gate_patience *patience, uint64_t *ret_until_ns)
{
	uint64_t now_ns = sys_now_ns();

	if (patience->cancels && atom_load_seq_cst(patience->cancels) != patience->cancels_seen)
		return -ECANCELED;
	if (now_ns >= patience->deadline_ns)
		return -ETIMEDOUT;
	if (patience->serial) {
		/* The place was pushed, now the serial is read; who gives the gate away moves the serial, then looks for
		 * places at it: one of the two sees the other. */
		atom_fence_seq_cst();
		if (atom_load_acquire(patience->serial) != patience->serial_seen)
			return -ENOENT;
	}
	*ret_until_ns = MIN(now_ns + GATE_WAIT_NS, patience->deadline_ns);
	return 0;
}

int gate_leave(const struct gate_view *v, struct gate_place *p, int why)
{
	enum gate_next next;

	if (!p->stands)
		return why;
	do
		next = gate_cancel(v, p);
	while (next == GATE_AGAIN);
	p->stands = false;
	if (next == GATE_MINE)
		return 0;
	return next == GATE_LOST ? -ESTALE : why;
}

/* Sleeps until rung. 0; GATE_WAIT_LOOK; or the wait is over. */
static int sleep_on(const struct gate_view *v, const struct gate_place *p, const struct gate_patience *patience)
{
	uint64_t until_ns = 0;
	/* After the bell was read: who cancels moves his word, then rings. */
	int rc = over(patience, &until_ns);

	if (rc == 0 && sys_futex_wait(&v->records[p->record].bell, p->value, until_ns) == -ETIMEDOUT)
		rc = until_ns == patience->deadline_ns ? -ETIMEDOUT : GATE_WAIT_LOOK;
	return rc;
}

static int arrive(const struct gate_view *v, struct gate_place *p)
{
	enum gate_next next;

	do
		next = gate_arrive(v, p, sys_coarse_ns());
	while (next == GATE_AGAIN);
	p->stands = next == GATE_WAITS || next == GATE_TELL;
	switch (next) {
	case GATE_MINE:
		return 0;
	case GATE_TELL:
		return GATE_WAIT_TELL;
	case GATE_BUSY:
		return -EBUSY;
	case GATE_LOST:
		return -ESTALE;
	default:
		return 0;
	}
}

/* true: what it waits for has changed. */
static bool spin(const struct gate_view *v, const struct gate_place *p)
{
	if (p->watches)
		return sys_spin_while64(&v->gates[p->gate].word, p->word, SPIN_TURNS);
	return sys_spin_while(&v->records[p->record].bell, p->value, SPIN_TURNS);
}

int gate_wait(const struct gate_view *v, struct gate_place *p, const struct gate_patience *patience)
{
	bool sleep = false;

	for (;;) {
		if (!p->stands) {
			int rc = arrive(v, p);
			if (rc || !p->stands)
				return rc;
		}
		int rc = 0;
		switch (gate_look(v, p, sleep)) {
		case GATE_MINE:
			p->stands = false;
			return 0;
		case GATE_SPIN:
			sleep = !spin(v, p);
			break;
		case GATE_SLEEP:
			rc = sleep_on(v, p, patience);
			break;
		case GATE_ARRIVE:
			p->stands = false;
			break;
		case GATE_LOST:
			return -ESTALE;
		default:
			break;
		}
		if (rc > 0)
			return rc;
		if (rc < 0)
			return gate_leave(v, p, rc);
	}
}

int gate_pass_on(const struct gate_view *v, uint32_t gate, uint32_t slot, uint32_t count)
{
	struct gate_pass pass = { .gate = gate, .slot = slot, .count = count };
	bool counted = false;
	/* Looked at when the gate is closing: bounds in milliseconds. */
	uint64_t now_ns = sys_coarse_ns();

	for (;;)
		switch (gate_release(v, &pass, now_ns)) {
		case GATE_WAKE:
			/* Before the wake: the gate's words are ours until then. */
			counted = true;
			atom_add_relaxed(&v->gates[gate].handed, 1u);
			sys_futex_wake(&v->records[pass.record].bell, 1);
			break;
		case GATE_AGAIN:
			break;
		case GATE_TELL:
			return GATE_WAIT_TELL;
		case GATE_LOST:
			return -ESTALE;
		default:
			if (pass.chosen && !counted)
				atom_add_relaxed(&v->gates[gate].handed, 1u);
			return 0;
		}
}

void gate_ring(const struct gate_view *v, uint32_t record)
{
	atom_add_release(&v->records[record].bell, 1u);
	sys_futex_wake(&v->records[record].bell, 1);
}
