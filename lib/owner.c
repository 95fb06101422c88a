/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner: which process owns a lock that this host has: row, gate, session, each read while the others stand. Nothing is
 * asked and nothing is written; what a process gone mad writes into the arena can make the answer wrong, and no more.
 */
#include "../shm/atom.h"
#include "../shm/sys.h"
#include "../shm/table.h"
#include "session.h"

#define TICK_NS (10 * NS_PER_MS) /* of the slowest timer */

_Static_assert(PAXSHM_PROGRAM_BYTES == sizeof(((struct session_row *)0)->program), "layout");

bool who_from_session(const struct paxshm_session *s, uint32_t slot, struct paxshm_who *ret)
{
	const struct tables *t = s->tables;

	if (slot == 0 || slot > t->n_sessions)
		return false;
	const struct session_row *row = tables_session(t, slot);

	ret->session = slot;
	ret->pid = atom_load_acquire(&row->pid);
	ret->start_time = atom_load_acquire(&row->start);
	for (size_t at = 0; at < PAXSHM_PROGRAM_BYTES; at += 8) {
		uint64_t word = atom_load_acquire((const uint64_t *)(row->program + at));

		memcpy(ret->program + at, &word, 8);
	}
	ret->program[PAXSHM_PROGRAM_BYTES - 1] = '\0';
	return ret->pid != 0;
}

/* Long ago is told without a clock of one's own. And since_ns may come from a clock that is a tick ahead of the coarse one. */
uint64_t since_told(const struct tables *t, uint64_t since_ns)
{
	if (since_ns <= atom_load_relaxed(&t->clock_ns))
		return since_ns;
	uint64_t now_ns = sys_coarse_ns();
	if (since_ns <= now_ns)
		return since_ns;
	return since_ns - now_ns <= TICK_NS ? now_ns : 0;
}

/* Each field once: clearing all of it first would cost as much as the copy. */
static void who_begin(uint32_t host, struct paxshm_who *ret)
{
	_Static_assert(sizeof(*ret) == 40 + PAXSHM_NAME_BYTES + PAXSHM_PROGRAM_BYTES, "no field but the host's name is forgotten");
	ret->size = sizeof(*ret);
	ret->host_id = host;
	ret->pid = ret->session = 0;
	ret->start_time = ret->token = ret->since_ns = 0;
	memset(ret->program, 0, sizeof(ret->program));
}

void who_host(const struct paxshm_session *s, uint32_t host, struct paxshm_who *ret)
{
	who_begin(host, ret);
	host_name(s, host, ret->host);
}

void who_tell(const struct paxshm_session *s, const struct paxshm_who *who, struct paxshm_who *ret)
{
	ret->size = sizeof(*ret);
	ret->host_id = who->host_id;
	ret->pid = who->pid;
	ret->session = who->session;
	ret->start_time = who->start_time;
	ret->token = who->token;
	ret->since_ns = who->since_ns;
	memcpy(ret->program, who->program, sizeof(ret->program));
	host_name(s, who->host_id, ret->host);
}

bool who_from_claim(const struct paxshm_session *s, const struct claim_seen *claim, struct paxshm_who *ret)
{
	who_host(s, s->tables->self, ret);
	ret->since_ns = since_told(s->tables, claim->since_ns);
	return who_from_session(s, claim->slot, ret);
}

/* The gate serves the lock. */
static enum owner_seen owner_at_gate(const struct paxshm_session *s, uint32_t gate, const struct gate_shown *shown, struct paxshm_who *ret)
{
	if (shown->owner == 0)
		return OWNER_NONE;
	if (shown->owner == GATE_AGENT || !who_from_session(s, shown->owner, ret))
		return OWNER_HOST;
	/* The row of a session does not change while it owns a gate. */
	if (!gate_read_holds(&s->view, gate, shown))
		return OWNER_MOVED;
	ret->token = shown->token;
	ret->since_ns = since_told(s->tables, shown->since_ns);
	return OWNER_KNOWN;
}

enum owner_seen owner_see(const struct paxshm_session *s, const struct lock_value *value, struct paxshm_who *ret, struct gate_shown *ret_shown)
{
	const struct tables *t = s->tables;
	enum owner_seen seen = OWNER_HOST;

	ret_shown->serial = ret_shown->count = ret_shown->flags = 0;
	ret_shown->handed = ret_shown->revoked = 0;
	ret_shown->owner = GATE_AGENT;
	ret_shown->line = false;
	who_begin(value->delegation ? value->host : 0, ret);
	if (!value->delegation)
		return OWNER_NONE;
	if (value->mode == LOCK_MODE_PR)
		return OWNER_HOST; /* any number of them: holders.c */
	if (value->host == t->self && value->gate) {
		if (gate_read(&s->view, value->gate, value->delegation, ret_shown) != 1)
			return OWNER_MOVED;
		seen = owner_at_gate(s, value->gate, ret_shown, ret);
	}
	if (seen != OWNER_KNOWN) {
		ret->pid = ret->session = 0;
		ret->start_time = 0;
		memset(ret->program, 0, sizeof(ret->program));
	}
	return seen;
}
