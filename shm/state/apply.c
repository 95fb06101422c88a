/* SPDX-License-Identifier: Apache-2.0 */
#include "apply.h"
#include "host_table.h"

static void apply_found(struct tables *t, struct undo *u, const struct command *c, struct effects *ret)
{
	if (t->agreed.history) {
		ret->applied = APPLIED_REPEATED;
		return;
	}
	if (c->found.rows != t->n_rows || c->found.cells != t->n_cells || c->found.waits != t->n_waits) {
		ret->applied = APPLIED_UNFIT;
		return;
	}
	SET(u, t->agreed.history, c->found.history);
}

static void apply_host_up(struct tables *t, struct undo *u, const struct command *c, uint64_t slot,
			  struct effects *ret)
{
	if (!host_table_up(t, u, c->host, c->host_up.nonce, c->host_up.expected, c->host_up.heir_of, slot))
		ret->applied = APPLIED_REPEATED;
}

static void apply_host_down(struct tables *t, struct undo *u, const struct command *c, struct effects *ret)
{
	if (!host_table_down(t, u, c->host, c->incarnation, c->ballot))
		ret->applied = APPLIED_REPEATED;
}

void apply_leads(struct tables *t, struct undo *u, uint64_t ballot)
{
	if (ballot > t->agreed.leads)
		SET(u, t->agreed.leads, ballot);
}

static void apply_lock(struct tables *t, struct undo *u, const struct command *c, struct effects *ret)
{
	const struct lock_request q = { c->host, c->mode, c->flags & COMMAND_TRY, c->incarnation };

	switch (c->kind) {
	case COMMAND_ACQUIRE:
		ret->outcome = lock_table_acquire(t, u, &q, c->key, c->key_len, &ret->row);
		break;
	case COMMAND_RELEASE:
		ret->outcome = lock_table_release(t, u, c->host, c->key, c->key_len, c->release.delegation,
						  c->release.used, c->flags & COMMAND_DIED, &ret->row);
		break;
	case COMMAND_CANCEL:
		ret->outcome = lock_table_cancel(t, u, c->host, c->key, c->key_len, &ret->row);
		break;
	}
	if (t->agreed.delegations != ret->delegations)
		ret->grants[ret->n_grants++] = ret->row;
}

/* Both bounds keep the undo log small: so many rows, and so many entries that were dropped or given the lock. */
static bool sweep_full(unsigned frees, uint64_t entries)
{
	return frees == SWEEP_FREES || entries >= SWEEP_WAITS;
}

static uint64_t entries_touched(const struct tables *t, uint32_t waits, uint64_t delegations)
{
	return (waits - t->agreed.waits_used) + (t->agreed.delegations - delegations);
}

static void apply_sweep(struct tables *t, struct undo *u, const struct command *c, struct effects *ret)
{
	struct host_row *h = tables_host(t, c->host);
	uint32_t waits = t->agreed.waits_used, row = h->sweep, end, frees = 0;

	if (!h->incarnation || h->sweep != c->row || c->row == HOST_SWEPT) {
		ret->applied = APPLIED_REPEATED;
		return;
	}
	end = MIN(t->agreed.rows_high, h->sweep + SWEEP_ROWS - 1);
	while (row <= end && !sweep_full(frees, entries_touched(t, waits, ret->delegations))) {
		enum lock_outcome outcome = lock_table_lapse(t, u, row, c->host);

		if (outcome != LOCK_IGNORED)
			frees++;
		if (outcome == LOCK_PASSED)
			ret->grants[ret->n_grants++] = row;
		row++;
	}
	SET(u, h->sweep, row > t->agreed.rows_high ? HOST_SWEPT : row);
}

void apply_command(struct tables *t, struct undo *u, const struct command *c, uint64_t slot, struct effects *ret)
{
	ret->applied = APPLIED_DONE;
	ret->outcome = LOCK_IGNORED;
	ret->row = 0;
	ret->n_grants = 0;
	ret->delegations = t->agreed.delegations;

	if (command_numbered(c->kind) && !host_table_take(t, u, c->host, c->incarnation, c->number)) {
		ret->applied = APPLIED_REPEATED;
		return;
	}
	switch (c->kind) {
	case COMMAND_FOUND:
		apply_found(t, u, c, ret);
		break;
	case COMMAND_HOST_UP:
		apply_host_up(t, u, c, slot, ret);
		break;
	case COMMAND_ACQUIRE:
	case COMMAND_RELEASE:
	case COMMAND_CANCEL:
		apply_lock(t, u, c, ret);
		break;
	case COMMAND_HOST_DOWN:
		apply_host_down(t, u, c, ret);
		break;
	case COMMAND_SWEEP:
		apply_sweep(t, u, c, ret);
		break;
	}
}
