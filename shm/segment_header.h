/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment_header: how a segment's first words are made and recognised.
 *
 * Who may enter: the rooms that lay out a segment (arena, ring).
 */
#ifndef PAXSHM_SHM_SEGMENT_HEADER_H
#define PAXSHM_SHM_SEGMENT_HEADER_H

#include "../lib/mutant.h"
#include "atom.h"
#include "layout.h"

/* The magic last: a segment without it was never finished. */
static inline void header_format(struct segment_header *h, enum segment_kind kind, uint64_t size)
{
	h->version = LAYOUT_VERSION;
	h->kind = kind;
	h->size = size;
	atom_store_release(&h->magic, SEGMENT_MAGIC);
}

/* NULL, or what is wrong, for a person. */
static inline const char *header_verify(const struct segment_header *h, enum segment_kind kind, uint64_t need, uint64_t size)
{
	if (size < need)
		return "the segment is too small";
	if (atom_load_acquire(&h->magic) != SEGMENT_MAGIC)
		return "the segment is not one of paxshm, or was never finished";
	if (h->version != LAYOUT_VERSION && !MUTANT(221))
		return "the segment is of another layout version";
	if (h->kind != (uint32_t)kind)
		return "the segment is of another kind";
	if (h->size != need)
		return "the segment names a wrong size";
	return NULL;
}

#endif
