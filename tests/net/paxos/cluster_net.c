/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster_world.h"

/* Messages on their way, and links. */

static void put(struct packet *packet)
{
	packet->at = the.now + 50000 + below(chance(300) ? 8 * NS_PER_MS : NS_PER_MS / 2);
	if (chance(the.lates)) {
		packet->at += below(4 * CORE_LEASE);
		the.counts->late++;
	}
	packet->order = the.order++;
	ASSERT(the.n_packets < PACKETS_MAX);
	the.packets[the.n_packets++] = packet;
}

static struct packet *copy_message(const struct paxos_message *m)
{
	uint64_t bytes = 0;
	struct packet *packet;
	unsigned char *at;

	for (uint32_t i = 0; i < m->n_entries; i++)
		bytes += m->entries[i].len;
	packet = calloc(1, sizeof(*packet) + m->n_entries * sizeof(packet->entries[0]) + bytes);
	at = (unsigned char *)&packet->entries[m->n_entries];
	packet->message = *m;
	packet->message.entries = packet->entries;
	for (uint32_t i = 0; i < m->n_entries; i++) {
		packet->entries[i] = m->entries[i];
		packet->entries[i].bytes = at;
		if (m->entries[i].len)
			memcpy(at, m->entries[i].bytes, m->entries[i].len);
		at += m->entries[i].len;
	}
	return packet;
}

static void carry(uint16_t from, uint16_t to, const struct paxos_message *m)
{
	unsigned copies = chance(the.doubles) ? 2 : 1;

	the.counts->doubled += copies - 1;
	if (chance(the.loss) || the.n_packets + 2 > PACKETS_MAX) {
		the.counts->lost++;
		return;
	}
	while (copies--) {
		struct packet *packet = copy_message(m);

		packet->from = from;
		packet->to = to;
		put(packet);
	}
}

static bool is_meant(const struct host *h, uint16_t to)
{
	bool listed = id_of(h) <= the.n_voters, votes = h->core.config.votes;

	return to == id_of(h) || (to == PAXOS_TO_VOTERS && listed) || (to == PAXOS_TO_OBSERVERS && !votes) ||
	       to == PAXOS_TO_ALL;
}

void cluster_say(struct host *h, unsigned limit)
{
	const struct paxos_update *out = &h->core.out;

	for (unsigned i = 0; i < out->n_sends && i < limit; i++) {
		cluster_check_said(h, &out->sends[i].message);
		the.counts->fetched += out->sends[i].message.kind == PAXOS_FETCH;
		the.counts->moves += out->sends[i].message.kind == PAXOS_MOVE;
		if (out->sends[i].message.kind == PAXOS_BEAT)
			h->beat_at = the.now;
		for (uint16_t to = 1; to <= the.n_hosts; to++)
			if (to != id_of(h) && is_meant(host(to), out->sends[i].to))
				carry(id_of(h), to, &out->sends[i].message);
	}
	if (out->snapshot_to && limit) {
		struct packet *packet = calloc(1, sizeof(*packet));

		*packet = (struct packet){ .from = id_of(h), .to = out->snapshot_to, .snapshot = true, .slot = h->applied, .hash = h->hash };
		put(packet);
	}
}

struct packet *cluster_take_packet(uint64_t until)
{
	unsigned first = 0;
	struct packet *packet;

	for (unsigned i = 1; i < the.n_packets; i++)
		if (the.packets[i]->at < the.packets[first]->at ||
		    (the.packets[i]->at == the.packets[first]->at && the.packets[i]->order < the.packets[first]->order))
			first = i;
	if (!the.n_packets || the.packets[first]->at > until)
		return NULL;
	packet = the.packets[first];
	the.packets[first] = the.packets[--the.n_packets];
	return packet;
}

void cluster_deliver(struct packet *packet)
{
	struct host *to = host(packet->to);

	if (to->up && !runs(to)) { /* waits in the socket */
		packet->at = to->paused_until;
		the.packets[the.n_packets++] = packet;
		return;
	}
	if (to->up && !the.cut[packet->from - 1][packet->to - 1]) {
		if (packet->snapshot)
			cluster_install(to, packet);
		else
			cluster_step(to, (struct paxos_event){ .kind = PAXOS_EVENT_MESSAGE, .from = packet->from, .message = &packet->message });
	}
	free(packet);
}

void cluster_link(uint16_t from, uint16_t to, bool cut)
{
	bool was = the.cut[from - 1][to - 1];

	the.cut[from - 1][to - 1] = cut;
	the.counts->cuts += cut && !was;
	if (was && !cut && !the.cut[to - 1][from - 1]) {
		cluster_meet(host(from), host(to));
		cluster_meet(host(to), host(from));
	}
}
