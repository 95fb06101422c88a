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

struct held {
	struct member *member;
	unsigned n;
	paxshm_lock_handle *lock[];
};

/* Every FILLERS-th key is this worker's. */
static void fill_begin(struct worker *w, const void *with)
{
	const struct fill *f = with;
	struct held *h = calloc(1, sizeof(*h) + ((f->to - f->from) / w->n + 1) * sizeof(h->lock[0]));
	char key[FILL_KEY];

	w->own = h;
	if (!h) {
		worker_fail(w, "no memory");
		return;
	}
	h->member = member_open(w, f->cluster, (int)(w->index % f->hosts));
	paxshm_session *s = member_find(h->member, PART_ANY);
	for (unsigned i = f->from + w->index; s && i < f->to; i += w->n) {
		fill_key(key, i);
		if (member_ref(w, s, key, &h->lock[h->n]) < 0 || !member_acquire(w, h->lock[h->n]))
			return;
		h->n++;
	}
}

static void fill_turn(struct worker *w, const void *with)
{
	(void)w, (void)with;
}

static void fill_close(struct worker *w, const void *with)
{
	struct held *h = w->own;

	(void)with;
	for (unsigned i = 0; h && i < h->n; i++)
		member_release(w, h->lock[i]);
	if (h)
		member_close(h->member);
}

int fill_start(struct fill *f, const struct bench_cluster *c, unsigned from, unsigned to, unsigned hosts)
{
	struct crew_plan plan = { .name = "fill", .begin = fill_begin, .turn = fill_turn, .end = fill_close, .with = f };
	uint64_t begun = now_ns();

	plan.n = MAX(1u, MIN(FILLERS, to - from));
	*f = (struct fill){ .cluster = c, .from = from, .to = to, .hosts = hosts };
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
