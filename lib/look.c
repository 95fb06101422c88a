/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look: what the tables show of cluster, hosts and locks. Reads shared memory only; the agent
 * hears nothing of it.
 */
#include <errno.h>

#include "../shm/atom.h"
#include "../shm/state/snapshot.h"
#include "../shm/sys.h"
#include "../shm/table.h"
#include "gateway.h"
#include "session.h"

#define TRIES 100u

/* Names are written once, before a host is used; whatever stands there, the copy ends. */
static void name_copy(char ret[PAXSHM_NAME_BYTES], const char *name)
{
	memcpy(ret, name, PAXSHM_NAME_BYTES);
	ret[PAXSHM_NAME_BYTES - 1] = '\0';
}

void host_name(const struct paxshm_session *s, uint32_t host, char ret[PAXSHM_NAME_BYTES])
{
	if (host && host < s->tables->n_hosts)
		name_copy(ret, tables_host(s->tables, host)->name);
	else
		memset(ret, 0, PAXSHM_NAME_BYTES);
	if (!ret[0] && host == s->host)
		name_copy(ret, s->host_name);
}

void holder_from(const struct paxshm_session *s, const struct ring_completion *answer, struct paxshm_who *ret)
{
	*ret = (struct paxshm_who){
		.size = sizeof(*ret),
		.host_id = answer->holder_host,
		.pid = answer->holder_pid,
		.session = answer->holder_session,
		.start_time = answer->holder_start,
		.token = answer->holder_token,
	};
	host_name(s, ret->host_id, ret->host);
}

void who_from_value(const struct paxshm_session *s, const struct lock_value *value, struct paxshm_who *ret)
{
	uint32_t host = value->delegation ? value->host : 0;

	/* Each field once: clearing all of it first would cost as much as the copy. */
	_Static_assert(sizeof(*ret) == 32 + PAXSHM_NAME_BYTES, "no field is forgotten");
	ret->size = sizeof(*ret);
	ret->host_id = host;
	ret->pid = ret->session = 0;
	ret->start_time = ret->token = 0;
	host_name(s, host, ret->host);
}

/* The lease ends no earlier than what was heard with its renewal grows old, and its clock goes on while the
 * machine is suspended. */
bool tables_fresh(const struct tables *t)
{
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_boot_ns);

	return atom_load_acquire(&t->quorum) && (deadline_ns == NEVER || sys_boot_ns() < deadline_ns) &&
	       sys_coarse_ns() < atom_load_acquire(&t->fresh_as_of_ns) + atom_load_relaxed(&t->host_lease_ns);
}

/* On the clock of programs, CLOCK_MONOTONIC: now, that is, for a machine that is suspended stops it and not the lease. */
static uint64_t lease_until_ns(const struct tables *t)
{
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_boot_ns), now_ns = sys_now_ns(), boot_ns = sys_boot_ns();

	if (deadline_ns == 0 || deadline_ns == NEVER)
		return deadline_ns;
	return deadline_ns - MIN(boot_ns - now_ns, deadline_ns - 1); /* in this order it is too early, if anything */
}

/* First in every call of this file. */
static int look_begin(paxshm_session *s, const void *ret, size_t size, size_t known)
{
	int rc = session_mine(s);

	if (rc)
		return rc;
	if (!ret || size < known)
		return -EINVAL;
	return session_look(s) ? -ENOTCONN : 0;
}

/* The hash of all that was applied at one index: taken again while the tables move under it. */
static int state_hash(const struct tables *t, uint64_t *ret_hash, uint64_t *ret_applied)
{
	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t changing = atom_load_acquire(&t->changing); /* odd: between two slots is where hosts compare */
		uint32_t recoveries = atom_load_acquire(&t->recoveries);
		uint64_t applied = atom_load_acquire(&t->agreed.applied);
		uint64_t hash;

		if (!atom_load_acquire(&t->ready))
			return -ENETUNREACH;
		hash = snapshot_state_hash(t);
		atom_fence_acquire(); /* what was hashed was read before we look again */
		if (atom_load_relaxed(&t->changing) == changing && atom_load_relaxed(&t->recoveries) == recoveries &&
		    !(changing & 1) && !(recoveries & 1)) {
			*ret_hash = hash;
			*ret_applied = applied;
			return 0;
		}
	}
	return -EAGAIN;
}

int paxshm_status(paxshm_session *s, uint32_t flags, struct paxshm_status *ret_status)
{
	int rc = look_begin(s, ret_status, ret_status ? ret_status->size : 0, sizeof(*ret_status));
	uint64_t hash = 0, applied = 0;

	if (rc == 0 && flags & ~PAXSHM_STATUS_HASH)
		rc = -EINVAL;
	if (rc)
		return rc;
	const struct tables *t = s->tables;
	if (flags & PAXSHM_STATUS_HASH)
		rc = state_hash(t, &hash, &applied);
	else
		applied = atom_load_acquire(&t->agreed.applied);
	if (rc)
		return rc;

	struct paxshm_status out = {
		.size = sizeof(out),
		.host_id = t->self,
		.role = atom_load_relaxed(&t->role),
		.leader_id = atom_load_relaxed(&t->leader),
		.quorum = tables_fresh(t),
		.agent_pid = atom_load_relaxed(&t->agent_pid),
		.incarnation = atom_load_relaxed(&t->incarnation),
		.ballot = atom_load_relaxed(&t->ballot),
		.applied = applied,
		.chosen = atom_load_relaxed(&t->chosen),
		.history = atom_load_relaxed(&t->agreed.history),
		.agent_starts = atom_load_relaxed(&t->agent_starts),
		.fresh_as_of_ns = atom_load_relaxed(&t->fresh_as_of_ns),
		.lease_until_ns = lease_until_ns(t),
		.host_lease_ns = t->host_lease_ns,
		.locks = atom_load_relaxed(&t->agreed.rows_used),
		.locks_max = t->n_rows,
		.waits = atom_load_relaxed(&t->agreed.waits_used),
		.waits_max = t->n_waits,
		.sessions = atom_load_relaxed(&t->sessions),
		.cells = atom_load_relaxed(&t->agreed.cells_used),
		.cells_max = t->n_cells,
		.grants = atom_load_relaxed(&t->grants),
		.releases = atom_load_relaxed(&t->releases),
		.handovers = atom_load_relaxed(&t->handovers),
		.refusals = atom_load_relaxed(&t->refusals),
		.deaths = atom_load_relaxed(&t->deaths),
		.requests = atom_load_relaxed(&t->requests),
		.state_hash = hash,
	};
	name_copy(out.cluster, t->cluster);
	name_copy(out.space, t->space);
	host_name(s, t->self, out.host);
	host_name(s, out.leader_id, out.leader);
	*ret_status = out;
	return 0;
}

int paxshm_next_host(paxshm_session *s, uint32_t *cursor, struct paxshm_host *ret_host)
{
	int rc = look_begin(s, ret_host, ret_host ? ret_host->size : 0, sizeof(*ret_host));

	if (rc == 0 && !cursor)
		rc = -EINVAL;
	if (rc)
		return rc;
	/* Each host by itself: nothing here changes together. */
	for (uint32_t id = *cursor < HOSTS_MAX ? *cursor + 1 : HOSTS_MAX; id < s->tables->n_hosts; id++) {
		const struct host_row *row = tables_host(s->tables, id);
		struct paxshm_host out = {
			.size = sizeof(out),
			.id = id,
			.role = atom_load_relaxed(&row->role),
			.linked = atom_load_relaxed(&row->linked) || id == s->tables->self,
			.incarnation = atom_load_relaxed(&row->incarnation),
		};

		if (!out.role && !out.incarnation)
			continue;
		host_name(s, id, out.name);
		*cursor = id;
		*ret_host = out;
		return 1;
	}
	return 0;
}

static int read_row(const struct tables *t, uint32_t row, struct paxshm_lock_info *out, struct lock_value *value)
{
	int rc = -EAGAIN;

	for (unsigned i = 0; i < TRIES && rc == -EAGAIN; i++)
		rc = table_read_row(t, row, out->key, &out->key_len, value);
	return rc;
}

int paxshm_next_lock(paxshm_session *s, uint32_t *cursor, struct paxshm_lock_info *ret_info)
{
	int rc = look_begin(s, ret_info, ret_info ? ret_info->size : 0, sizeof(*ret_info));

	if (rc == 0 && !cursor)
		rc = -EINVAL;
	if (rc)
		return rc;
	const struct tables *t = s->tables;
	uint32_t high = MIN(atom_load_acquire(&t->agreed.rows_high), t->n_rows);
	for (uint32_t row = *cursor; row < high;) {
		struct paxshm_lock_info out = { .size = sizeof(out) };
		struct lock_value value;

		row++;
		rc = read_row(t, row, &out, &value);
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		out.waiting = value.waiting;
		out.flags = !value.delegation && value.flags & LOCK_DIED ? PAXSHM_OWNER_DIED : 0;
		who_from_value(s, &value, &out.owner);
		if (out.owner.host_id == s->host) /* else it stays as it is */
			(void)gateway_holder(s, out.key, out.key_len, &out.owner);
		*cursor = row;
		*ret_info = out;
		return 1;
	}
	return 0;
}
