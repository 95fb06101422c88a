/* SPDX-License-Identifier: Apache-2.0 */
#include "fault_inside.h"

#include "../../lib/base.h"

bool fault_links_felt(struct blow *b)
{
	return cut_felt(&b->cut, b->felt_from, b->felt_to);
}

void fault_links_heal(struct storm *s, struct blow *b)
{
	(void)s;
	b->dropped = cut_end();
}

bool fault_cut_now(struct storm *s, struct blow *b, unsigned felt_from, unsigned felt_to)
{
	b->felt_from = felt_from;
	b->felt_to = felt_to;
	fault_now_begins(s, b);
	cut_begin(&b->cut);
	return true;
}

bool fault_isolate(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	cut_between(&b->cut, b->sick);
	return fault_cut_now(s, b, b->sick, b->sick);
}

bool fault_deafen(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	cut_deaf(&b->cut, b->victim);
	return fault_cut_now(s, b, 0, b->sick);
}

bool fault_mute(struct storm *s, struct blow *b)
{
	fault_strikes(s, b, fault_some_host(s));
	cut_mute(&b->cut, b->victim);
	return fault_cut_now(s, b, b->sick, 0);
}

/* The leader and one follower, who both hear all others. */
bool fault_part_leader_and_one(struct storm *s, struct blow *b)
{
	unsigned others = s->voting & ~(1u << s->leader);

	if (!s->leader || !others)
		return false;
	b->victim = fault_one_of(s, others);
	b->sick = 1u << b->victim;
	cut_both(&b->cut, s->leader, b->victim);
	return fault_cut_now(s, b, b->sick, b->sick);
}

/* A side that has the majority of voters, and one that has not. */
bool fault_halve(struct storm *s, struct blow *b)
{
	unsigned majority = 0, needed = rig->plan.voters / 2 + 1;

	if (fault_members(s->voting) < needed)
		return false;
	while (fault_members(majority) < needed)
		majority |= 1u << fault_one_of(s, s->voting & ~majority);
	for (unsigned n = rig->plan.voters + 1; n <= rig->n; n++)
		majority |= fault_up_to(s, 1) ? 1u << n : 0;
	b->sick = fault_all() & ~majority;
	b->leader = s->leader && (b->sick >> s->leader & 1);
	cut_between(&b->cut, b->sick);
	return fault_cut_now(s, b, majority, b->sick);
}

/* Two halves that hear the voter between them and not each other. Only that one is sure to be with a leader. */
bool fault_bridge(struct storm *s, struct blow *b)
{
	unsigned hub = fault_one_of(s, s->voting), left = 0;

	for (unsigned n = 1; n <= rig->n; n++)
		if (n != hub && fault_up_to(s, 1))
			left |= 1u << n;
	unsigned right = fault_all() & ~left & ~(1u << hub);
	if (!left || !right)
		return false;
	b->victim = hub;
	for (unsigned x = 1; x <= rig->n; x++)
		for (unsigned y = 1; y <= rig->n; y++)
			if ((left >> x & 1) && (right >> y & 1))
				cut_both(&b->cut, x, y);
	b->sick = left | right;
	return fault_cut_now(s, b, left, right);
}

bool fault_lose_some(struct storm *s, struct blow *b)
{
	b->victim = fault_some_host(s);
	b->sick = 1u << b->victim;
	cut_between(&b->cut, b->sick);
	b->cut.percent = 10 + (unsigned)fault_up_to(s, 30);
	return fault_cut_now(s, b, b->sick, b->sick);
}
