/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring: see ring.h. Places are counted up for ever and wrap; a count minus another is a number of
 * entries, and count modulo length a place.
 */
#include "ring.h"
#include "../lib/mutant.h"

#include <errno.h>

#include "../lib/base.h"
#include "atom.h"
#include "segment_header.h"

_Static_assert((RING_REQUESTS & (RING_REQUESTS - 1)) == 0, "counts wrap");
_Static_assert((RING_CALLS & (RING_CALLS - 1)) == 0, "counts wrap");
_Static_assert(sizeof(struct ring_request) % 8 == 0, "copied by words");

/* ---- making and recognising ---- */

void rings_format(struct session_rings *r, uint32_t slot, uint64_t incarnation)
{
	ASSERT(slot >= 1 && slot <= SESSIONS_MAX);
	r->slot = slot;
	r->incarnation = incarnation;
	header_format(&r->segment, SEGMENT_SESSION, sizeof(*r));
}

const char *rings_verify(const struct session_rings *r, uint64_t size)
{
	const char *wrong = header_verify(&r->segment, SEGMENT_SESSION, sizeof(*r), size);

	if (!wrong && (r->slot == 0 || r->slot > SESSIONS_MAX))
		wrong = "the session's slot is out of range";
	return wrong;
}

/* ---- session side ---- */

bool ring_push(struct session_rings *r, const struct ring_request *request)
{
	uint32_t tail = atom_load_relaxed(&r->request_tail); /* our own */
	uint32_t head = atom_load_acquire(&r->request_head); /* pairs with ring_publish_head: the place was read */

	if (tail - head >= RING_REQUESTS)
		return false;
	memcpy(&r->requests[tail % RING_REQUESTS], request, offsetof(struct ring_request, key) + request->key_len);
	atom_store_release(&r->request_tail, tail + 1); /* pairs with ring_peek */
	return true;
}

bool ring_take(struct session_rings *r, struct ring_completion *ret)
{
	uint32_t head = atom_load_relaxed(&r->completion_head);
	uint32_t tail = atom_load_acquire(&r->completion_tail); /* pairs with ring_publish_tail */

	if (head == tail)
		return false;
	memcpy(ret, &r->completions[head % RING_CALLS], sizeof(*ret));
	atom_store_release(&r->completion_head, head + 1);
	return true;
}

/* ---- agent side ---- */

typedef uint64_t __attribute__((may_alias)) any_word;

#define HEAD_WORDS (offsetof(struct ring_request, key) / 8)
_Static_assert(offsetof(struct ring_request, key) % 8 == 0, "the key begins a word");

/* As far as its key goes. Loads each word once, whatever the compiler thinks of memcpy: what was checked is what is
 * used, and the length in the copy is the one that was copied. */
static void copy_once(struct ring_request *ret, const struct ring_request *from)
{
	any_word *to = (any_word *)ret;
	size_t i = 0;

	for (; i < HEAD_WORDS; i++)
		to[i] = atom_load_relaxed((const any_word *)from + i);
	for (; i < HEAD_WORDS + (ret->key_len + 7u) / 8; i++)
		to[i] = atom_load_relaxed((const any_word *)from + i);
}

int ring_peek(const struct session_rings *r, uint32_t head, struct ring_request *ret)
{
	uint32_t tail = atom_load_acquire(&r->request_tail); /* pairs with ring_push */

	if (tail == head)
		return 0;
	if (tail - head > RING_REQUESTS && !MUTANT(172))
		return -EPROTO;
	copy_once(ret, &r->requests[head % RING_REQUESTS]);
	return 1;
}

#define MODES 6u /* NL CR CW PR PW EX: enum paxshm_mode */

static const char *acquire_check(const struct ring_request *q)
{
	if (q->key_len == 0)
		return "acquire: a key of length 0";
	if (q->mode >= MODES)
		return "acquire: no such mode";
	if (q->flags & ~(REQUEST_TRY | REQUEST_RETURN | REQUEST_STAMPS))
		return "acquire: unknown flags";
	return NULL;
}

static const char *cancel_check(const struct ring_request *q)
{
	if (q->target >= RING_CALLS)
		return "cancel: the target is no call";
	if (q->reason != -ETIMEDOUT && q->reason != -ECANCELED)
		return "cancel: not a reason";
	return q->flags ? "cancel: unknown flags" : NULL;
}

static const char *holder_check(const struct ring_request *q)
{
	if (q->key_len == 0)
		return "holder: a key of length 0";
	if (q->flags & ~(REQUEST_RETURN | REQUEST_LINEARIZABLE))
		return "holder: unknown flags";
	return NULL;
}

const char *ring_request_check(const struct ring_request *q)
{
	bool may_be_unanswered = q->op == REQUEST_RELEASE || q->op == REQUEST_CANCEL || q->op == REQUEST_GATE;

	if (q->call >= RING_CALLS && !(may_be_unanswered && q->call == CALL_NONE))
		return "the call is out of range";
	switch (q->op) {
	case REQUEST_ACQUIRE:
		return acquire_check(q);
	case REQUEST_RELEASE:
		return q->flags ? "release: unknown flags" : NULL; /* the claim is the agent's to look up */
	case REQUEST_CANCEL:
		return cancel_check(q);
	case REQUEST_HOLDER:
		return holder_check(q);
	case REQUEST_CLOSE:
		return q->flags ? "close: unknown flags" : NULL;
	case REQUEST_LEAD:
		return q->flags ? "lead: unknown flags" : NULL; /* the host is the agent's to look up */
	case REQUEST_GATE:
		return q->flags ? "gate: unknown flags" : NULL; /* as is the gate */
	default:
		return "no such request";
	}
}

void ring_publish_head(struct session_rings *r, uint32_t head)
{
	atom_store_release(&r->request_head, head); /* pairs with ring_push */
}

void ring_put(struct session_rings *r, uint32_t tail, const struct ring_completion *completion)
{
	memcpy(&r->completions[tail % RING_CALLS], completion, sizeof(*completion));
}

void ring_publish_tail(struct session_rings *r, uint32_t tail)
{
	atom_store_release(&r->completion_tail, tail); /* pairs with ring_take */
}

bool ring_bell(struct session_rings *r, uint32_t call)
{
	ASSERT(call < RING_CALLS);
	/* Adding changes the word under a sleeper that is just about to sleep: its futex wait returns. */
	return atom_add_seq_cst(&r->bell[call], 2) & 1;
}
