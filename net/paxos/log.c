/* SPDX-License-Identifier: Apache-2.0 */
#include "roles.h"

/* The ring: slot s stands at s % log_slots, a long value in the place of the same number. */

#define SLOT_HEAD offsetof(struct paxos_slot, few)

uint64_t paxos_memory_size(uint32_t log_slots, uint32_t value_max)
{
	return sizeof(struct paxos_memory) +
	       (uint64_t)log_slots * (sizeof(struct paxos_slot) + value_max);
}

void paxos_format(struct paxos_memory *memory, uint32_t log_slots, uint32_t value_max)
{
	memory->log_slots = log_slots;
	memory->value_max = value_max;
}

uint64_t paxos_undo_size(uint32_t window, uint32_t value_max)
{
	/* The largest step is the one that takes office: a whole window of values found elsewhere, and
	 * LEADS. Each is a record of the value, one of its slot, and one each of base, flag, chosen. */
	uint64_t a_value = MAX(value_max, PAXOS_FEW) + 16, a_slot = SLOT_HEAD + 8, a_word = 16, a_lease = 24;

	return (window + 1) * (a_value + 2 * a_slot + 3 * a_word) + 4 * a_word + a_lease;
}

static struct paxos_slot *place(const struct paxos *p, uint64_t slot)
{
	return &p->memory->slots[slot & (p->memory->log_slots - 1)];
}

/* Where a value of `len` bytes stands. */
static unsigned char *bytes_at(struct paxos_memory *memory, uint64_t place, uint32_t len)
{
	unsigned char *values = (unsigned char *)&memory->slots[memory->log_slots];

	return len <= PAXOS_FEW ? memory->slots[place].few : values + place * memory->value_max;
}

const unsigned char *paxos_memory_value(const struct paxos_memory *memory, uint32_t place)
{
	return bytes_at((struct paxos_memory *)memory, place, memory->slots[place].len);
}

struct paxos_slot *paxos_log_find(const struct paxos *p, uint64_t slot)
{
	struct paxos_slot *at = place(p, slot);

	return slot > p->memory->base && at->index == slot ? at : NULL;
}

struct paxos_entry paxos_log_entry(const struct paxos *p, uint64_t slot)
{
	const struct paxos_slot *at = paxos_log_find(p, slot);

	ASSERT(at != NULL);
	return (struct paxos_entry){ .slot = slot, .ballot = at->ballot, .kind = at->kind, .len = at->len, .bytes = paxos_memory_value(p->memory, (uint32_t)(at - p->memory->slots)) };
}

bool paxos_log_has_place(const struct paxos *p, uint64_t slot)
{
	return slot > p->memory->chosen && slot - p->memory->chosen <= p->config.window;
}

void paxos_log_lease(struct paxos *p, uint64_t until_ns, uint64_t life)
{
	struct paxos_memory *memory = p->memory;

	if (life == memory->lease_life)
		until_ns = MAX(until_ns, memory->lease_until_ns);
	undo_save(p->undo, &memory->lease_until_ns, 2 * sizeof(uint64_t)); /* both: they are neighbours */
	memory->lease_until_ns = until_ns;
	memory->lease_life = life;
}

void paxos_log_end_lease(struct paxos *p)
{
	SET(p->undo, p->memory->lease_until_ns, 0);
}

void paxos_log_promise(struct paxos *p, uint64_t ballot)
{
	if (ballot > p->memory->promised)
		SET(p->undo, p->memory->promised, ballot);
}

/* The place of `slot` is wanted: what stood there a round ago leaves the log. It was applied long ago,
 * since the ring is at least two windows long. */
static void make_room(struct paxos *p, uint64_t slot)
{
	struct paxos_memory *memory = p->memory;

	if (slot > memory->log_slots && slot - memory->log_slots > memory->base)
		SET(p->undo, memory->base, slot - memory->log_slots);
	ASSERT(memory->base <= memory->chosen);
}

void paxos_log_store(struct paxos *p, const struct paxos_entry *e)
{
	struct paxos_slot *at = place(p, e->slot);
	unsigned char *bytes = bytes_at(p->memory, (uint64_t)(at - p->memory->slots), e->len);
	bool same = at->index == e->slot && (at->chosen || at->ballot == e->ballot);

	ASSERT(paxos_log_has_place(p, e->slot));
	ASSERT(e->len <= p->memory->value_max);
	ASSERT(e->ballot <= p->memory->promised);
	if (same) { /* the value is the one we have: a ballot proposes one, and a choice is for ever */
		if (e->ballot > at->ballot)
			SET(p->undo, at->ballot, e->ballot);
		return;
	}
	make_room(p, e->slot);
	if (e->len && bytes != e->bytes) {
		undo_save(p->undo, bytes, e->len);
		memcpy(bytes, e->bytes, e->len);
	}
	undo_save(p->undo, at, SLOT_HEAD);
	at->index = e->slot;
	at->ballot = e->ballot;
	at->len = e->len;
	at->kind = e->kind;
	at->chosen = 0;
}

/* "Chosen" moves over all that is known to be, without gaps. */
static void advance(struct paxos *p)
{
	uint64_t chosen = p->memory->chosen;
	const struct paxos_slot *next;

	while ((next = paxos_log_find(p, chosen + 1)) != NULL && next->chosen)
		chosen++;
	if (chosen > p->memory->chosen)
		SET(p->undo, p->memory->chosen, chosen);
}

void paxos_log_choose(struct paxos *p, uint64_t slot)
{
	struct paxos_slot *at = paxos_log_find(p, slot);

	ASSERT(at != NULL);
	if (!at->chosen)
		SET(p->undo, at->chosen, 1);
	advance(p);
}

void paxos_log_restart(struct paxos *p, uint64_t slot)
{
	ASSERT(slot > p->memory->chosen);
	SET(p->undo, p->memory->chosen, slot);
	SET(p->undo, p->memory->base, slot); /* nothing up to here is found any more */
	advance(p);
}

struct paxos_entry paxos_chosen_entry(const struct paxos *p, uint64_t slot)
{
	ASSERT(slot > p->memory->base);
	ASSERT(slot <= p->memory->chosen);
	return paxos_log_entry(p, slot);
}
