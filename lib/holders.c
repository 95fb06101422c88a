/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holders: who has a lock, when several may: the sessions of this host that share it, then the other hosts. Shared memory is
 * read, the agent hears nothing of it. Which process of another host it is, that host alone knows.
 */
#include <errno.h>

#include "../shm/table.h"
#include "session.h"

#define TRIES 100u

bool holders_first(const struct paxshm_session *s, const void *key, uint32_t len, const struct table_wait *hosts, uint32_t n_hosts,
		   struct paxshm_who *ret)
{
	struct claim_seen claim;
	uint32_t other = 0;
	bool ours = false;

	for (uint32_t i = 0; i < n_hosts; i++)
		if (hosts[i].host == s->tables->self)
			ours = true;
		else
			other = hosts[i].host;
	if (!ours || !table_read_claims(s->tables, key, len, CLAIM_SHOWN_SHARES, &claim, 1) || !who_from_claim(s, &claim, ret))
		who_host(s, other, ret);
	return ours;
}

/* Answers are written at the caller's stride: his structure may be a later one. */
struct list {
	unsigned char *at;
	size_t stride, max, n;
};

static void list_add(struct list *l, const struct paxshm_who *who)
{
	if (l->n < l->max)
		memcpy(l->at + l->stride * l->n, who, sizeof(*who));
	l->n++;
}

/* Those of this host that share it, oldest first. 0, -ENOMEM. */
static int add_sessions(const struct paxshm_session *s, const void *key, uint32_t len, struct list *l)
{
	uint32_t n = table_read_claims(s->tables, key, len, CLAIM_SHOWN_SHARES, NULL, 0);
	struct claim_seen *claims = calloc(n + 1u, sizeof(*claims));
	struct paxshm_who who;

	if (!claims)
		return -ENOMEM;
	n = MIN(table_read_claims(s->tables, key, len, CLAIM_SHOWN_SHARES, claims, n), n);
	for (uint32_t i = 0; i < n; i++)
		if (who_from_claim(s, &claims[i], &who))
			list_add(l, &who);
	free(claims);
	return 0;
}

static int add_shared(const struct paxshm_session *s, const void *key, uint32_t len, const struct table_wait *hosts, uint32_t n_hosts,
		      struct list *l)
{
	struct paxshm_who who;
	int rc = 0;

	for (uint32_t i = 0; i < n_hosts && rc == 0; i++)
		if (hosts[i].host == s->tables->self)
			rc = add_sessions(s, key, len, l);
	for (uint32_t i = 0; i < n_hosts; i++)
		if (hosts[i].host != s->tables->self) {
			who_host(s, hosts[i].host, &who);
			list_add(l, &who);
		}
	return rc;
}

int paxshm_holders(paxshm_session *s, const void *key, size_t len, struct paxshm_who *ret_who, size_t max)
{
	struct table_wait hosts[HOSTS_MAX];
	enum owner_seen seen = OWNER_MOVED;
	struct lock_value value;
	struct gate_shown shown;
	struct paxshm_who who;
	int rc = session_mine(s);

	if (rc == 0)
		rc = key_check(key, len);
	if (rc)
		return rc;
	if (max && (!ret_who || ret_who->size < sizeof(*ret_who)))
		return -EINVAL;
	if (session_look(s))
		return -ENOTCONN;

	struct list l = { .at = (unsigned char *)ret_who, .stride = max ? ret_who->size : 0, .max = max };

	for (unsigned i = 0; i < TRIES && seen == OWNER_MOVED; i++) {
		rc = table_read_holders(s->tables, key, (uint32_t)len, &value, hosts, ARRAY_LEN(hosts));
		if (rc == -EAGAIN)
			continue;
		if (rc != 1)
			return rc;
		if (value.mode == LOCK_MODE_PR && value.delegation) {
			rc = add_shared(s, key, (uint32_t)len, hosts, MIN(value.holders, (uint32_t)ARRAY_LEN(hosts)), &l);
			return rc < 0 ? rc : (int)l.n;
		}
		seen = owner_see(s, &value, &who, &shown);
	}
	if (rc < 0)
		return rc;
	if (seen != OWNER_NONE) { /* MOVED for ever: this host, which is giving it back */
		host_name(s, who.host_id, who.host);
		list_add(&l, &who);
	}
	return (int)l.n;
}
