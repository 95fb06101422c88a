/* SPDX-License-Identifier: Apache-2.0 */
#include "explore.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "../../lib/base.h"

#define DEPTH 8192u
#define DONE UINT32_MAX /* `low` of a state whose component is known */

struct seen {
	uint64_t hash; /* 0: free */
	uint32_t index, low;
};

struct frame {
	struct world world;
	struct world_move moves[WORLD_MOVES];
	uint32_t n, next;
	uint32_t place; /* in `seen` */
	bool exit;      /* a way leads out of its component */
};

static struct seen *seen;
static uint64_t places;
static struct frame *frames;
static uint32_t *component, n_component; /* states whose component is not known yet, in the order they were met */

static struct seen *seen_at(uint64_t hash)
{
	uint64_t i = hash & (places - 1);

	while (seen[i].hash && seen[i].hash != hash)
		i = (i + 1) & (places - 1);
	return &seen[i];
}

static void *memory(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ASSERT(at != MAP_FAILED);
	return at;
}

static void tell(FILE *to, unsigned depth, const char *wrong)
{
	char line[400];

	if (!to)
		return;
	fprintf(to, "%s\n", wrong);
	for (unsigned i = 0; i <= depth; i++) {
		struct frame *f = &frames[i];

		world = f->world;
		world_say(f->moves[f->next ? f->next - 1 : 0], line, sizeof(line));
		fprintf(to, "%4u  %s\n", i, line);
	}
}

static void push(struct frame *f, struct seen *s, uint64_t hash, uint32_t index)
{
	f->world = world;
	f->n = world_moves(f->moves);
	f->next = 0;
	f->exit = false;
	f->place = (uint32_t)(s - seen);
	*s = (struct seen){ .hash = hash, .index = index, .low = index };
	component[n_component++] = f->place;
}

static void component_end(uint32_t place)
{
	uint32_t at;

	do {
		at = component[--n_component];
		seen[at].low = DONE;
	} while (at != place);
}

/* All that follows from the state on top is known. */
static const char *pop(struct explored *e, unsigned depth)
{
	struct frame *f = &frames[depth];
	struct seen *s = &seen[f->place];
	struct frame *above = depth ? f - 1 : NULL;

	if (f->n == 0) {
		world = f->world;
		e->ends++;
		const char *wrong = world_wrong_end();
		if (wrong)
			return wrong;
	}
	if (s->low == s->index) {
		if (f->n && !f->exit)
			return "a circle that nothing leads out of";
		component_end(f->place);
		if (above)
			above->exit = true;
	} else {
		seen[above->place].low = MIN(seen[above->place].low, s->low);
		above->exit = above->exit || f->exit;
	}
	return NULL;
}

/* One move from the state on top: true: to a state that is new. */
static bool advance(struct explored *e, unsigned depth, uint32_t *index)
{
	struct frame *f = &frames[depth];

	world = f->world;
	world_make(f->moves[f->next++]);
	e->moves++;
	e->wrong = world_wrong();
	if (e->wrong)
		return false;
	uint64_t hash = world_hash() | 1;
	struct seen *s = seen_at(hash);
	if (!s->hash) {
		ASSERT(depth + 1 < DEPTH);
		push(f + 1, s, hash, (*index)++);
		return true;
	}
	if (s->low == DONE)
		f->exit = true;
	else
		seen[f->place].low = MIN(seen[f->place].low, s->index);
	return false;
}

struct explored explore(const struct world_bounds *bounds, uint64_t most, void *trace)
{
	struct explored e = { .whole = true };
	unsigned depth = 0;
	uint32_t index = 1;

	for (places = 1024; places < most * 4 / 3; places *= 2)
		;
	seen = memory(places * sizeof(*seen));
	frames = memory(DEPTH * sizeof(*frames));
	component = memory(most * sizeof(*component));
	n_component = 0;
	world_begin(bounds);
	push(&frames[0], seen_at(world_hash() | 1), world_hash() | 1, 0);
	for (;;) {
		if (frames[depth].next < frames[depth].n) {
			if (advance(&e, depth, &index))
				depth++;
			e.deepest = MAX(e.deepest, depth);
			e.whole = index < most;
		} else {
			e.wrong = pop(&e, depth);
			if (!e.wrong && depth-- == 0)
				break;
		}
		if (e.wrong)
			tell(trace, depth, e.wrong);
		if (e.wrong || !e.whole)
			break;
	}
	e.states = index;
	munmap(seen, places * sizeof(*seen));
	munmap(frames, DEPTH * sizeof(*frames));
	munmap(component, most * sizeof(*component));
	return e;
}
