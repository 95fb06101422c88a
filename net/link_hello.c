/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_hello: see link_hello.h.
 */
#include "link_hello.h"

/* What explains most comes first: in another cluster nothing else can fit either. */
const char *link_misfit(const struct wire_hello *ours, const struct wire_hello *theirs, const struct link_peer *peer,
			uint16_t dialled)
{
	if (theirs->cluster_id != ours->cluster_id)
		return "it belongs to another cluster: compare the cluster's name in both configurations";
	if (theirs->voters_id != ours->voters_id)
		return "its list of voters, its capacities or its lease settings are others than ours: give both hosts the same configuration";
	if (!peer)
		return "its host id is not in our configuration: give both hosts the same one";
	if (dialled && theirs->from != dialled)
		return "another host answers at this address: compare the addresses in the configuration";
	if (theirs->history && ours->history && theirs->history != ours->history)
		return "its tables have another history than ours: one of us was founded a second time and must join afresh";
	if (theirs->to == 0)
		return "it refused us: its log says why";
	if (theirs->to != ours->from)
		return "it took us for another host: compare the addresses in the configuration";
	if (!dialled && peer->dial)
		return "it connected to us where we connect to it: give both hosts the same configuration";
	return NULL;
}
