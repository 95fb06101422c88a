/* SPDX-License-Identifier: Apache-2.0 */
/*
 * precious: a lock that is held through whatever a test does to the agents, and checked at its end.
 * For the suites of bad input; everything is static.
 */
#ifndef PAXSHM_TESTS_CLUSTER_PRECIOUS_H
#define PAXSHM_TESTS_CLUSTER_PRECIOUS_H

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "puppet.h"
#include "rig.h"

/* ---- the lock that nobody may touch ---- */

static struct {
	struct puppet *owner;
	struct answer grant;
} precious;

static inline void begin(const struct rig_plan *plan, unsigned n)
{
	rig_start(plan);
	precious.owner = puppet_new(n);
	precious.grant = puppet_lock(precious.owner, "precious");
	cr_assert_eq(precious.grant.rc, 0);
}

static inline void expect_untouched(void)
{
	for (unsigned n = 1; n <= rig->n; n++) {
		if (!rig_runs(n))
			continue;
		struct paxshm_who who = rig_holder(n, "precious");

		cr_assert_eq(who.host_id, precious.owner->host);
		cr_assert_eq(who.pid, (uint32_t)precious.owner->process.pid);
		cr_assert_eq(who.token, precious.grant.grant.token);
	}
	cr_assert_eq(puppet_check(precious.owner, "precious"), 0);
}

static inline void end(void)
{
	expect_untouched();
	cr_assert_eq(puppet_unlock(precious.owner, "precious"), 0);
	struct answer a = puppet_lock(precious.owner, "precious");
	cr_assert_eq(a.rc, 0);
	cr_assert_gt(a.grant.token, precious.grant.grant.token);
	puppet_free(precious.owner);
	rig_end();
}

static inline bool exited(int status, int code)
{
	return WIFEXITED(status) && WEXITSTATUS(status) == code;
}

static inline void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	cr_assert(file);
	fputs(text, file);
	cr_assert_eq(fclose(file), 0);
}

/* Runs a paxshmd that must not start; what it says, with the words that it must say. */
static inline void expect_no_start(const char *config, const char *host, const char *socket, int code, const char *words, const char *more)
{
	char said[4096];
	int status = rig_run(said, sizeof(said), (const char *const[]){ "paxshmd", "--config", config, "--host", host, "--socket", socket, "--state", rig_path("nowhere"), NULL });

	cr_assert(exited(status, code), "status %d: %s", status, said);
	cr_assert(strstr(said, words), "\"%s\" is not in: %s", words, said);
	cr_assert(strstr(said, more), "\"%s\" is not in: %s", more, said);
}

#endif
