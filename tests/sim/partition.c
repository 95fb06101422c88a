/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hosts hear which. A blocked direction keeps what was sent and delivers it when it opens again,
 * as a stream does; so what healing brings is old news in a burst.
 */
#include "sim.h"

#define PLACES ARRAY_LEN(((struct sim *)0)->partition)

void partition_block(struct sim *s, struct partition *p, uint16_t from, uint16_t to)
{
	if (from != to && !p->blocks[from][to]) {
		p->blocks[from][to] = true;
		network_block(s, from, to, 1);
	}
}

void partition_unblock(struct sim *s, struct partition *p, uint16_t from, uint16_t to)
{
	if (p->blocks[from][to])
		network_block(s, from, to, -1);
	p->blocks[from][to] = false;
}

static void block_both(struct sim *s, struct partition *p, uint16_t a, uint16_t b)
{
	partition_block(s, p, a, b);
	partition_block(s, p, b, a);
}

/* ---- places: an event names one, and which use of it it means ---- */

static uint64_t number_of(const struct sim *s, const struct partition *p)
{
	return (uint64_t)p->life << 8 | (uint64_t)(p - s->partition);
}

static struct partition *of_number(struct sim *s, uint64_t number)
{
	struct partition *p = &s->partition[number & 0xff];

	return p->stands && p->life == number >> 8 ? p : NULL;
}

static struct partition *partition_new(struct sim *s, uint64_t for_ns)
{
	unsigned which = 0;
	struct partition *p;

	while (which < PLACES && s->partition[which].stands)
		which++;
	if (which == PLACES || s->n_hosts < 2)
		return NULL;
	trace(s, "partition %u", which);
	p = &s->partition[which];
	p->stands = true;
	p->swizzle = false;
	p->life++;
	sim_at(s, s->now_ns + for_ns, (struct event){ .kind = EVENT_HEAL, .number = number_of(s, p) });
	return p;
}

/* ---- the end of one ---- */

static bool any_blocked(const struct sim *s, const struct partition *p)
{
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			if (p->blocks[a][b])
				return true;
	return false;
}

static void look_whether_healed(struct sim *s, struct partition *p)
{
	p->stands = any_blocked(s, p);
	if (!p->stands)
		trace(s, "partition %u is healed", (unsigned)(p - s->partition));
}

/* One direction after the other, so that what was held back on one way comes when the others have gone on; now
 * and then at once. */
static void heal_all(struct sim *s, struct partition *p)
{
	uint64_t span = (p->swizzle ? 16 : 4) * s->plan.leader_lease_ns;

	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++) {
			if (p->blocks[a][b] && (p->swizzle || sim_chance(s, 2, 3)))
				sim_at(s, s->now_ns + sim_pick(s, 0, span),
				       (struct event){ .kind = EVENT_HEAL, .a = a, .b = b, .number = number_of(s, p) });
			else
				partition_unblock(s, p, a, b);
		}
	p->swizzle = false; /* no more links are cut */
}

void partition_heal(struct sim *s, uint64_t number, uint16_t from, uint16_t to)
{
	struct partition *p = of_number(s, number);

	if (!p)
		return;
	if (from) {
		trace(s, "partition %u: %u is heard by %u again", (unsigned)(p - s->partition), from, to);
		partition_unblock(s, p, from, to);
	} else {
		heal_all(s, p);
	}
	look_whether_healed(s, p);
}

void partitions_end(struct sim *s)
{
	for (struct partition *p = s->partition; p < s->partition + PLACES; p++) {
		for (uint16_t a = 1; a <= s->n_hosts; a++)
			for (uint16_t b = 1; b <= s->n_hosts; b++)
				partition_unblock(s, p, a, b);
		p->stands = false;
	}
}

/* ---- kinds ---- */

static void separate(struct sim *s, struct partition *p, uint64_t side, uint16_t middle)
{
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			if (a != middle && b != middle && (side >> a & 1) != (side >> b & 1))
				partition_block(s, p, a, b);
}

static void split(struct sim *s, struct partition *p)
{
	sim_mark(s, MARK_PARTITION_SPLIT);
	separate(s, p, random_next(&s->random), 0);
}

/* A majority of the voters goes on together; the rest is cut from it, and from each other. */
static void majority(struct sim *s, struct partition *p)
{
	unsigned first = (unsigned)sim_pick(s, 0, s->plan.voters - 1), n = s->plan.voters / 2 + 1;
	uint32_t together = 0;

	sim_mark(s, MARK_PARTITION_MAJORITY);
	for (unsigned i = 0; i < n; i++)
		together |= 1u << (1 + (first + i) % s->plan.voters);
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = 1; b <= s->n_hosts; b++)
			if (!(together >> a & together >> b & 1))
				partition_block(s, p, a, b);
}

/* Everybody sees the bridge; the others see their own half only. */
static void bridge(struct sim *s, struct partition *p)
{
	sim_mark(s, MARK_PARTITION_BRIDGE);
	separate(s, p, random_next(&s->random), (uint16_t)sim_pick(s, 1, s->n_hosts));
}

/* Each voter hears its two neighbours. */
static void ring(struct sim *s, struct partition *p)
{
	unsigned n = s->plan.voters;

	if (n < 5) {
		bridge(s, p);
		return;
	}
	sim_mark(s, MARK_PARTITION_RING);
	for (uint16_t a = 0; a < n; a++)
		for (uint16_t b = 0; b < n; b++)
			if ((a + 1) % n != b && (b + 1) % n != a)
				partition_block(s, p, a + 1, b + 1);
}

static void isolate(struct sim *s, struct partition *p, uint16_t host, bool deaf, bool mute)
{
	for (uint16_t other = 1; other <= s->n_hosts; other++) {
		if (deaf)
			partition_block(s, p, other, host);
		if (mute)
			partition_block(s, p, host, other);
	}
}

static void isolate_leader(struct sim *s, struct partition *p, bool deaf, bool mute)
{
	uint16_t leader = sim_leader(s);

	sim_mark(s, deaf && mute ? MARK_PARTITION_LEADER : deaf ? MARK_PARTITION_LEADER_DEAF
								: MARK_PARTITION_LEADER_MUTE);
	isolate(s, p, leader ? leader : (uint16_t)sim_pick(s, 1, s->n_hosts), deaf, mute);
}

/* Links stop one by one, in any order; they heal in another. */
static void swizzle(struct sim *s, struct partition *p)
{
	sim_mark(s, MARK_PARTITION_SWIZZLE);
	p->swizzle = true;
	for (uint16_t a = 1; a <= s->n_hosts; a++)
		for (uint16_t b = a + 1; b <= s->n_hosts; b++)
			if (sim_chance(s, 2, 3))
				sim_at(s, s->now_ns + sim_pick(s, 0, 8 * s->plan.leader_lease_ns),
				       (struct event){ .kind = EVENT_CUT, .a = a, .b = b, .number = number_of(s, p) });
}

void partition_cut(struct sim *s, uint64_t number, uint16_t a, uint16_t b)
{
	struct partition *p = of_number(s, number);

	if (!p || !p->swizzle)
		return;
	trace(s, "partition %u: %u and %u do not hear each other any more", (unsigned)(p - s->partition), a, b);
	block_both(s, p, a, b);
}

/* ---- what happens ---- */

void partition_depose(struct sim *s)
{
	struct partition *p = sim_leader(s) ? partition_new(s, sim_pick(s, 2, 6) * s->plan.leader_lease_ns) : NULL;
	uint64_t how = sim_pick(s, 1, 3);

	if (p)
		isolate_leader(s, p, how & 1, how & 2);
}

void partition_clog(struct sim *s)
{
	struct partition *p = partition_new(s, sim_about(s, ONE_OF(s, s->plan.leader_lease_ns, SECOND, 3 * SECOND)));

	if (!p)
		return;
	sim_mark(s, MARK_LINK_CLOGGED);
	block_both(s, p, (uint16_t)sim_pick(s, 1, s->n_hosts), (uint16_t)sim_pick(s, 1, s->n_hosts));
}

void partition_happen(struct sim *s)
{
	uint64_t for_ns = s->plan.partition_for_ns;
	struct partition *p;

	if (!for_ns)
		for_ns = ONE_OF(s, s->plan.leader_lease_ns, 500 * MS, 2 * SECOND);
	p = partition_new(s, sim_about(s, for_ns));
	if (!p)
		return;
	switch (sim_pick(s, 0, 9)) {
	case 0:
		split(s, p);
		break;
	case 1:
		sim_mark(s, MARK_PARTITION_ONE_WAY);
		partition_block(s, p, (uint16_t)sim_pick(s, 1, s->n_hosts), (uint16_t)sim_pick(s, 1, s->n_hosts));
		break;
	case 2:
		isolate_leader(s, p, true, true);
		break;
	case 3:
		isolate_leader(s, p, true, false);
		break;
	case 4:
		isolate_leader(s, p, false, true);
		break;
	case 5:
		bridge(s, p);
		break;
	case 6:
		majority(s, p);
		break;
	case 7:
		ring(s, p);
		break;
	case 8:
		swizzle(s, p);
		break;
	case 9:
		sim_mark(s, MARK_HOST_DEAF);
		isolate(s, p, (uint16_t)sim_pick(s, 1, s->n_hosts), true, false);
		break;
	}
}
