/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each host's own clocks. Its agent and its programs read these and no other. Within the plan's bound a
 * clock may run fast or slow, and change its rate at any moment; that is what leases must stand. So must they stand a
 * host that is suspended: CLOCK_MONOTONIC stands then, CLOCK_BOOTTIME, by which leases are counted, goes on. A
 * clock that jumps is beyond the bound: until every lease of that time is over, only tokens are asked to be right.
 */
#include "sim.h"

#define MILLION 1000000ll

static uint64_t passed(const struct sim *s, const struct clock *c)
{
	return (s->now_ns - c->since_ns) * (uint64_t)(MILLION + c->ppm) / MILLION;
}

uint64_t host_clock(const struct sim *s, const struct host *h)
{
	return h->clock.boot_ns + passed(s, &h->clock);
}

uint64_t host_mono_clock(const struct sim *s, const struct host *h)
{
	return h->clock.mono_ns + (h->clock.stands ? 0 : passed(s, &h->clock));
}

/* CLOCK_REALTIME does not stand when the host is suspended. */
uint64_t host_clock_gap(const struct sim *s, const struct host *h)
{
	return 1000000000 * SECOND + host_clock(s, h) - host_mono_clock(s, h);
}

uint64_t clock_when(const struct sim *s, const struct host *h, uint64_t local_ns)
{
	const struct clock *c = &h->clock;

	if (local_ns <= host_clock(s, h))
		return s->now_ns;
	if (local_ns - c->boot_ns > 100000 * SECOND)
		return NEVER;
	return c->since_ns + ((local_ns - c->boot_ns) * MILLION + (uint64_t)(MILLION + c->ppm) - 1) / (uint64_t)(MILLION + c->ppm);
}

/* From now on at another rate. */
static void set_rate(struct sim *s, struct host *h, int64_t ppm, bool stands)
{
	uint64_t boot = host_clock(s, h), mono = host_mono_clock(s, h);

	h->clock = (struct clock){ .since_ns = s->now_ns, .mono_ns = mono, .boot_ns = boot, .ppm = ppm, .stands = stands, .stood_ns = h->clock.stood_ns };
	host_wake(s, h, 0); /* what it waits for comes at another time */
}

/* The ends of the range are where proofs fail. */
static int64_t some_rate(struct sim *s)
{
	int64_t bound = s->plan.drift_ppm;

	if (sim_chance(s, 1, 2))
		return sim_chance(s, 1, 2) ? bound : -bound;
	return (int64_t)sim_pick(s, 0, 2 * (uint64_t)bound) - bound;
}

void clock_init(struct sim *s, struct host *h)
{
	uint64_t at = sim_pick(s, 0, 1000000) * SECOND;

	h->clock = (struct clock){ .since_ns = s->now_ns, .mono_ns = at, .boot_ns = at + sim_pick(s, 0, 1000) * SECOND, .ppm = some_rate(s) };
}

void clock_drift(struct sim *s, struct host *h)
{
	int64_t ppm = some_rate(s);

	if (ppm)
		sim_mark(s, MARK_CLOCK_DRIFT);
	trace(s, "host %u: its clock runs %d millionths fast", h->id, (int)ppm);
	set_rate(s, h, ppm, h->clock.stands);
}

/* Every lease that was given by a clock we cannot trust ends first. */
static void distrust(struct sim *s, uint64_t for_ns)
{
	uint64_t leases = 2 * s->plan.host_lease_ns + 4 * s->plan.leader_lease_ns;

	s->untrusted_until = MAX(s->untrusted_until, s->now_ns + for_ns + leases);
}

void clock_leap(struct sim *s, struct host *h)
{
	uint64_t by = sim_about(s, ONE_OF(s, s->plan.leader_lease_ns, s->plan.host_lease_ns));

	if (h->clock.stands)
		return;
	if (sim_chance(s, 1, 3)) {
		distrust(s, by);
		trace(s, "host %u: its clock jumps ahead by %.6f s", h->id, (double)by / 1e9);
		sim_mark(s, MARK_CLOCK_JUMP);
		set_rate(s, h, h->clock.ppm, false);
		h->clock.mono_ns += by;
		h->clock.boot_ns += by;
		return;
	}
	trace(s, "host %u: is suspended for %.6f s", h->id, (double)by / 1e9);
	sim_mark(s, MARK_HOST_SUSPENDED);
	set_rate(s, h, h->clock.ppm, true);
	h->clock.stood_ns = h->clock.mono_ns;
	h->frozen_until = MAX(h->frozen_until, s->now_ns + by);
	h->paused_until = MAX(h->paused_until, h->frozen_until);
	sim_at(s, h->frozen_until, (struct event){ .kind = EVENT_RESUME, .a = h->id });
}

void clock_resume(struct sim *s, struct host *h)
{
	if (h->clock.stands)
		set_rate(s, h, h->clock.ppm, false);
}
