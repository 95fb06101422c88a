/* SPDX-License-Identifier: Apache-2.0 */
#include "served.h"

static struct served served;
static struct plain_host *host;

static void setup(void)
{
	served_start(&served);
	host = served.host;
}

static void teardown(void)
{
	served_stop(&served);
}

TestSuite(ls, .init = setup, .fini = teardown, .timeout = 30);

static struct said *ls(const char *option, const char *other)
{
	return served_run(command_ls, option, other, NULL, NULL);
}

Test(ls, owner_of_this_host_is_named)
{
	plain_open(host);
	plain_take(host, 2, 1);
	plain_join(host, 3, 1);
	plain_ask(host, 2);
	served_says(ls(NULL, NULL), "host1                 102     1  k\n");
	cr_expect_null(strstr(ls(NULL, NULL)->out, "waits:"));
}

Test(ls, kept_lock_says_so)
{
	plain_open(host);
	served_says(ls(NULL, NULL), "host1                kept     0  k\n");
	served_says(ls("--json", NULL), "\"kept\": true");
	served_says(ls("--json", NULL), "\"owner\": null");
}

Test(ls, waiters_stand_below_their_lock_oldest_first)
{
	uint64_t now_ns = sys_coarse_ns();

	plain_open(host);
	plain_take(host, 2, 1);
	plain_join(host, 4, now_ns - 90 * NS_PER_S);
	plain_join(host, 3, now_ns - 3 * NS_PER_S);
	plain_ask(host, 2);

	struct said *said = ls("--waiters", NULL);
	const char *first = strstr(said->out, "  waits: host1                 104  1 min 30 s    prog-4\n");
	const char *second = strstr(said->out, "  waits: host1                 103  3."), *third = strstr(said->out, "  waits: host2                   -  -");

	cr_expect_eq(said->status, 0);
	cr_expect(first && second && third && first < second && second < third, "%s", said->out);
	served_says(said, "102     1  k\n");
}

Test(ls, those_who_share_stand_below_their_lock)
{
	plain_ask_as(host, 1, LOCK_MODE_PR);
	plain_ask_as(host, 2, LOCK_MODE_PR);
	plain_claim(host, 3, CLAIM_SHOWN_SHARES, LOCK_MODE_PR, sys_coarse_ns() - 90 * NS_PER_S);
	plain_ask(host, 3);
	plain_claim(host, 4, CLAIM_SHOWN_WAITS, LOCK_MODE_PR, sys_coarse_ns() - 60 * NS_PER_S);

	struct said *said = ls("--waiters", NULL);

	served_says(said, "(2 hosts)             103     1  k\n"
			  "  shares: host1                 103  1 min 30 s    prog-3\n"
			  "  shares: host2                   -  -             \n"
			  "  waits: host1                 104  1 min 0 s     prog-4 (to share)\n"
			  "  waits: host3                   -  -             \n");
	said = ls("--json", "-w");
	served_says(said, "\"shared_by\": [\n");
	served_says(said, "\"pid\": 103");
	served_says(said, "\"mode\": \"shared\"");
	served_says(said, "\"holders\": 2");
}

Test(ls, exclusive_lock_is_shared_by_nobody)
{
	plain_open(host);
	plain_take(host, 2, 1);
	cr_expect_null(strstr(ls(NULL, NULL)->out, "shares:"));
	served_says(ls("--json", NULL), "\"shared_by\": null");
}

Test(ls, waiters_in_json)
{
	plain_open(host);
	plain_take(host, 2, 1);
	plain_join(host, 3, 5);

	struct said *said = ls("--json", "-w");

	served_says(said, "\"waiters\": [\n");
	served_says(said, "\"since_ns\": \"5\"");
	served_says(said, "\"waiting_here\": 1");
	cr_expect_null(strstr(ls("--json", NULL)->out, "\"waiters\""));
}
