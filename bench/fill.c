/* SPDX-License-Identifier: Apache-2.0 */
#include "fill.h"

#include <stdio.h>
#include <string.h>

#include "member.h"
#include "sync.h"

#define FILLERS 16u

void fill_key(char key[FILL_KEY], unsigned i)
{
	snprintf(key, FILL_KEY, "bench/%08u", i);
}

/* Every FILLERS-th key is this worker's. It holds them by just not releasing them. */
static void fill_begin(struct worker *w, const void *with)
{
	const struct fill *f = with;
	struct member *m = member_open(w, f->cluster, 0);
	paxshm_session *s = member_find(m, PART_ANY);
	paxshm_lock_handle *lock;
	char key[FILL_KEY];

	w->own = m;
	for (unsigned i = f->from + w->index; s && i < f->to && !w->errors; i += w->n) {
		fill_key(key, i);
		if (member_ref(w, s, key, &lock) == 0)
			member_acquire(w, lock);
	}
}

static void fill_turn(struct worker *w, const void *with)
{
	(void)w, (void)with;
}

static void fill_close(struct worker *w, const void *with)
{
	(void)with;
	member_close(w->own);
}

int fill_start(struct fill *f, const struct bench_cluster *c, unsigned from, unsigned to)
{
	struct crew_plan plan = { .name = "fill", .begin = fill_begin, .turn = fill_turn, .end = fill_close, .with = f };
	uint64_t begun = now_ns();

	plan.n = MAX(1u, MIN(FILLERS, to - from));
	*f = (struct fill){ .cluster = c, .from = from, .to = to };
	int rc = crew_start(&f->crew, &plan);
	if (rc < 0)
		snprintf(f->why, sizeof(f->why), "the processes that hold locks did not start");
	else if (crew_errors(&f->crew, f->why))
		rc = -EIO;
	f->took_ns = now_ns() - begun;
	return rc;
}

void fill_end(struct fill *f)
{
	crew_stop(&f->crew);
}
