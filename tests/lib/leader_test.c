/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <errno.h>

#include "../../lib/session.h"
#include "fake_agent.h"

static struct fake fake;
static paxshm_session *session;

static void start(void)
{
	fake_start(&fake);
	session = fake_open(&fake, 10000);
}

static void stop(void)
{
	paxshm_close(session);
	fake_stop(&fake);
}

TestSuite(leader, .init = start, .fini = stop, .timeout = 30);

static void agent_says(int result)
{
	fake_lock(&fake);
	fake.lead_result = result;
	fake_unlock(&fake);
}

Test(leader, the_agent_is_asked_for_the_host)
{
	cr_assert_eq(paxshm_move_leader(session, FAKE_OTHER), 0);
	cr_expect_eq(FAKE_SAW(leads), 1);
	cr_expect_eq(FAKE_SAW(last_lead.target), FAKE_OTHER);
}

Test(leader, answers_of_the_agent_are_passed_on)
{
	agent_says(-EPERM);
	cr_expect_eq(paxshm_move_leader(session, FAKE_OTHER), -EPERM);
	agent_says(-EHOSTUNREACH);
	cr_expect_eq(paxshm_move_leader(session, FAKE_OTHER), -EHOSTUNREACH);
	agent_says(5);
	cr_expect_eq(paxshm_move_leader(session, FAKE_OTHER), -EPROTO);
}

Test(leader, silent_agent_is_not_waited_for_for_ever)
{
	fake_lock(&fake);
	fake.paused = true;
	fake_unlock(&fake);
	session->agent_timeout_ns = 20 * NS_PER_MS;
	cr_expect_eq(paxshm_move_leader(session, FAKE_OTHER), -ENOTCONN);
	fake_lock(&fake);
	fake.paused = false;
	fake_unlock(&fake);
}

Test(leader, wrong_arguments_are_refused_before_anybody_is_asked)
{
	cr_expect_eq(paxshm_move_leader(NULL, FAKE_OTHER), -EINVAL);
	cr_expect_eq(paxshm_move_leader(session, 0), -EINVAL);
	cr_expect_eq(paxshm_move_leader(session, HOSTS_MAX), -EINVAL);
	cr_expect_eq(FAKE_SAW(leads), 0);
}
