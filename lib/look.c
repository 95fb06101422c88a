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

/* The lease ends no earlier than what was heard with its renewal grows old, and its clock goes on while the
 * machine is suspended. */
bool tables_fresh(struct paxshm_session *s)
{
	const struct tables *t = s->tables;
	uint64_t incarnation = atom_load_acquire(&t->incarnation), margin_ns = gateway_margin_ns(t), second_ns = lease_second_ns();

	if (!atom_load_acquire(&t->quorum))
		return false;
	uint64_t old_ns = atom_load_acquire(&t->fresh_as_of_ns) + atom_load_relaxed(&t->host_lease_ns);
	if (lease_stands_again(t, incarnation, margin_ns, second_ns, &s->agreed_ns) && lease_latest_ns(t, second_ns) < old_ns)
		return true;
	return lease_check_clocks(t, incarnation, margin_ns, &s->agreed_ns) == 0 && lease_coarse_ns(CLOCK_MONOTONIC_COARSE) < old_ns;
}

/* On the clock of programs, CLOCK_MONOTONIC: now, that is, for a machine that is suspended stops it and not the lease. */
static uint64_t lease_until_ns(const struct tables *t)
{
	uint64_t deadline_ns = atom_load_acquire(&t->deadline_boot_ns), now_ns = sys_now_ns(), boot_ns = sys_boot_ns();

	if (deadline_ns == 0 || deadline_ns == NEVER)
		return deadline_ns;
	return deadline_ns - MIN(boot_ns - now_ns, deadline_ns - 1); /* in this order it is too early, if anything */
}

/* First in every call of this file. `closely`: with a system call. */
static int look_begin_with(paxshm_session *s, const void *ret, size_t size, size_t known, bool closely)
{
	int rc = session_mine(s);

	if (rc)
		return rc;
	if (!ret || size < known)
		return -EINVAL;
	return (closely ? session_look(s) : session_lost(s)) ? -ENOTCONN : 0;
}

static int look_begin(paxshm_session *s, const void *ret, size_t size, size_t known)
{
	return look_begin_with(s, ret, size, known, true);
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
		.quorum = tables_fresh(s),
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
		.revocations = atom_load_relaxed(&t->revocations),
		.evictions = atom_load_relaxed(&t->evictions),
		.repairs = atom_load_relaxed(&t->repairs),
		.nonsense = atom_load_relaxed(&t->nonsense),
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

/* ---- locks ---- */

/* A row that hosts share: what see_row() shows of it. */
static int see_shared(const struct paxshm_session *s, struct paxshm_lock_info *out, const struct lock_value *value,
		      const struct table_wait *hosts)
{
	bool ours = holders_first(s, out->key, out->key_len, hosts, MIN(value->holders, HOSTS_MAX), &out->owner);
	bool kept = ours && !out->owner.host_id;

	if (kept)
		who_host(s, s->tables->self, &out->owner);
	out->waiting = value->waiting;
	out->mode = value->mode;
	out->holders = value->holders;
	out->flags = (kept ? PAXSHM_KEPT : 0) | (ours && value->waiting ? PAXSHM_RECALLED : 0);
	out->waiters = out->acquired = 0;
	out->series = out->handed = out->revoked = 0;
	return 1;
}

/* A row, its owner and its gate, of one instant each. 1; 0: no such row; or as table_read() answers. */
static int see_row(const struct paxshm_session *s, struct paxshm_lock_info *out, uint32_t row)
{
	struct table_wait hosts[HOSTS_MAX];
	struct gate_shown shown;
	struct lock_value value;
	enum owner_seen seen = OWNER_MOVED;
	bool steady = false;

	for (unsigned i = 0; i < TRIES && seen == OWNER_MOVED; i++) {
		int rc = row ? table_read_row_holders(s->tables, row, out->key, &out->key_len, &value, hosts, ARRAY_LEN(hosts))
			     : table_read_holders(s->tables, out->key, out->key_len, &value, hosts, ARRAY_LEN(hosts));

		if (rc == -EAGAIN)
			continue;
		if (rc != 1)
			return rc;
		if (value.delegation && value.mode == LOCK_MODE_PR)
			return see_shared(s, out, &value, hosts);
		steady = true;
		seen = owner_see(s, &value, &out->owner, &shown);
	}
	if (seen == OWNER_MOVED && !steady)
		return -EAGAIN;

	bool delegated = value.delegation != 0, ours = delegated && value.host == s->tables->self, here = ours && value.gate && seen != OWNER_MOVED;
	/* A gate that does not serve the row's delegation, however often one looks: its release is on its way. */
	bool recalled = here ? shown.flags & GATE_CLOSING || (shown.owner == GATE_AGENT && value.waiting) : ours && seen == OWNER_MOVED;

	out->waiting = value.waiting;
	out->mode = delegated ? value.mode : 0;
	out->holders = delegated; /* exclusive: one host */
	host_name(s, out->owner.host_id, out->owner.host);
	out->flags = (!delegated && value.flags & LOCK_DIED ? PAXSHM_OWNER_DIED : 0) | (delegated && seen == OWNER_NONE ? PAXSHM_KEPT : 0) |
		     (recalled ? PAXSHM_RECALLED : 0);
	out->waiters = here && shown.line ? line_length(s, value.gate) : 0;
	out->acquired = here ? shown.count : 0;
	out->series = here ? (uint64_t)value.gate << 32 | shown.serial : 0;
	out->handed = here ? shown.handed : 0;
	out->revoked = here ? shown.revoked : 0;
	return 1;
}

int paxshm_look(paxshm_session *s, const void *key, size_t len, struct paxshm_lock_info *ret_info)
{
	int rc = session_mine(s);

	if (rc == 0)
		rc = key_check(key, len);
	if (rc == 0)
		rc = look_begin(s, ret_info, ret_info ? ret_info->size : 0, sizeof(*ret_info));
	if (rc)
		return rc;

	struct paxshm_lock_info out = { .size = sizeof(out), .key_len = (uint32_t)len };

	memcpy(out.key, key, len);
	rc = see_row(s, &out, 0);
	if (rc == 1)
		*ret_info = out;
	return rc == 0 ? -ESRCH : MIN(rc, 0);
}

int paxshm_next_lock(paxshm_session *s, uint32_t *cursor, struct paxshm_lock_info *ret_info)
{
	/* A table may have a million rows: the socket is not looked at for each. */
	bool closely = !cursor || *cursor % 256 == 0;
	int rc = look_begin_with(s, ret_info, ret_info ? ret_info->size : 0, sizeof(*ret_info), closely);

	if (rc == 0 && !cursor)
		rc = -EINVAL;
	if (rc)
		return rc;
	const struct tables *t = s->tables;
	uint32_t high = MIN(atom_load_acquire(&t->agreed.rows_high), t->n_rows);
	for (uint32_t row = *cursor; row < high;) {
		struct paxshm_lock_info out = { .size = sizeof(out) };

		rc = see_row(s, &out, ++row);
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		*cursor = row;
		*ret_info = out;
		return 1;
	}
	return 0;
}
