/* SPDX-License-Identifier: Apache-2.0 */
#include "host_table.h"
#include "../../lib/mutant.h"

static struct host_row *host_at(struct tables *t, uint16_t host)
{
	ASSERT(host != 0);
	ASSERT(host < HOSTS_MAX);
	return tables_host(t, host);
}

bool host_table_up(struct tables *t, struct undo *u, uint16_t host, uint64_t nonce, uint64_t expected, uint64_t heir_of,
		   uint64_t slot)
{
	struct host_row *h = host_at(t, host);
	bool runs = h->incarnation && !h->down;

	if (h->incarnation != expected || slot <= h->incarnation)
		return false;
	if (runs && (h->nonce == nonce || (h->nonce != heir_of && !MUTANT(351))))
		return false;
	if (!h->incarnation)
		SET(u, h->sweep, HOST_SWEPT);
	else if (runs)
		SET(u, h->sweep, 1);
	SET(u, h->incarnation, slot);
	SET(u, h->nonce, nonce);
	SET(u, h->last_number, 0);
	SET(u, h->down, 0);
	return true;
}

bool host_table_down(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation, uint64_t ballot)
{
	struct host_row *h = host_at(t, host);

	if (!incarnation || h->incarnation != incarnation || h->down || (ballot < t->agreed.leads && !MUTANT(291)))
		return false;
	SET(u, h->down, 1);
	SET(u, h->sweep, 1);
	return true;
}

bool host_table_take(struct tables *t, struct undo *u, uint16_t host, uint64_t incarnation, uint64_t number)
{
	struct host_row *h = host_at(t, host);

	if (!h->incarnation || h->down || h->incarnation != incarnation || (number != h->last_number + 1 && !(MUTANT(21) && number <= h->last_number)))
		return false;
	SET(u, h->last_number, number);
	return true;
}
