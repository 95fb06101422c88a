/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder: who owns a lock now. What lies on this host is read from the tables; the rest the agent asks.
 */
#include <errno.h>

#include "../shm/atom.h"
#include "../shm/sys.h"
#include "../shm/table.h"
#include "session.h"

#define TRIES 16u

/* What the tables know. */
static enum owner_seen look_here(const struct paxshm_session *s, const void *key, uint32_t len, struct paxshm_who *ret)
{
	struct gate_shown shown;
	struct lock_value value;

	for (unsigned i = 0; i < TRIES; i++) {
		int rc = table_read_ahead(s->tables, key, len, s->view.gates, &value);

		if (rc == 0)
			return OWNER_NONE;
		if (rc < 0)
			break;
		enum owner_seen seen = owner_see(s, &value, ret, &shown);
		if (seen != OWNER_MOVED)
			return seen;
	}
	return OWNER_HOST; /* no steady look: the agent will know */
}

/* A call of its own: what it has on the stack would cost those who ask nobody. */
static __attribute__((noinline)) int ask(struct paxshm_session *s, const void *key, uint32_t len, uint32_t flags, struct paxshm_who *ret)
{
	struct ring_request request = {
		.op = REQUEST_HOLDER,
		.flags = flags & PAXSHM_LINEARIZABLE ? REQUEST_LINEARIZABLE : 0,
		.key_len = (uint8_t)len,
	};
	uint32_t cancels = atom_load_seq_cst(&s->cancels);
	struct patience patience = { .deadline_ns = sys_now_ns() + s->agent_timeout_ns, .cancels = &cancels };
	struct ring_completion answer;
	int rc;

	memcpy(request.key, key, len);
	rc = call_run(s, &request, patience, &answer);
	if (rc == -ETIMEDOUT)
		return tables_fresh(s) ? -ENOTCONN : -ENETUNREACH;
	if (rc)
		return rc;
	if (answer.result)
		return answer.result < 0 ? answer.result : -EPROTO;
	if (!answer.holder_host)
		return -ESRCH;
	holder_from(s, &answer, ret);
	return 0;
}

int paxshm_holder(paxshm_session *s, const void *key, size_t len, uint32_t flags, struct paxshm_who *ret_who)
{
	enum owner_seen seen = OWNER_HOST;
	struct paxshm_who who;
	int rc = session_mine(s);

	if (rc == 0)
		rc = key_check(key, len);
	if (rc)
		return rc;
	if (!ret_who || ret_who->size < sizeof(*ret_who) || flags & ~PAXSHM_LINEARIZABLE)
		return -EINVAL;
	if (session_lost(s))
		return -ENOTCONN;
	if (!(flags & PAXSHM_LINEARIZABLE))
		seen = look_here(s, key, (uint32_t)len, &who);
	if (!tables_fresh(s))
		return -ENETUNREACH;
	if (seen == OWNER_KNOWN) {
		who_tell(s, &who, ret_who);
		return 0;
	}
	return seen == OWNER_NONE ? -ESRCH : ask(s, key, (uint32_t)len, flags, ret_who);
}

int paxshm_resolve(paxshm_session *s, const char *address, struct paxshm_who *ret_who)
{
	static const char *const later[] = { "name:", "pid:" };
	int rc = session_mine(s);

	if (rc == 0 && !address)
		rc = -EINVAL;
	if (rc)
		return rc;
	if (strncmp(address, "lock:", 5) == 0)
		return paxshm_holder(s, address + 5, strlen(address + 5), 0, ret_who);
	for (size_t i = 0; i < ARRAY_LEN(later); i++)
		if (strncmp(address, later[i], strlen(later[i])) == 0)
			return -ENOSYS;
	return -EINVAL;
}
