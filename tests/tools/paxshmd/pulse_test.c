/* SPDX-License-Identifier: Apache-2.0 */
/* pulse: an agent that hangs is found and replaced; one that rests, or was stopped, is left alone. */
#define _GNU_SOURCE
#include "keeper_rig.h"

#include "../../../tools/paxshmd/pulse.h"

TestSuite(pulse, .init = make_dir, .fini = remove_dir, .timeout = 60);

/* ---- what a look says ---- */

Test(pulse, who_moves_goes_on)
{
	struct pulse p = { 0 };

	for (uint64_t at = 1; at < 100; at++)
		cr_assert_not(pulse_look(&p, at / PULSE_LOOKS, false));
}

Test(pulse, who_does_not_hangs)
{
	struct pulse p = { 0 };

	for (unsigned n = 0; n < PULSE_LOOKS; n++)
		cr_assert_not(pulse_look(&p, 7, false));
	cr_assert(pulse_look(&p, 7, false));
}

Test(pulse, who_is_stopped_does_not_hang_and_has_all_looks_left_afterwards)
{
	struct pulse p = { 0 };

	for (unsigned n = 0; n < PULSE_LOOKS; n++)
		cr_assert_not(pulse_look(&p, 7, false));
	for (int n = 0; n < 100; n++)
		cr_assert_not(pulse_look(&p, 7, true));
	for (unsigned n = 1; n < PULSE_LOOKS; n++)
		cr_assert_not(pulse_look(&p, 7, false));
	cr_assert(pulse_look(&p, 7, false));
}

/* ---- real ones ---- */

static void hang(int signal_number)
{
	(void)signal_number;
	for (;;)
		;
}

/* In the agent, before it begins: the rig's constructor has no priority, and comes later. */
__attribute__((constructor(101))) static void may_hang(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--agent"))
		signal(SIGUSR1, hang);
}

Test(pulse, an_agent_that_hangs_is_replaced_and_sessions_stay)
{
	config.host_lease_ms = PULSE_LEAST_MS;
	struct keeper_process k = start_keeper(NULL);
	struct client c;
	pid_t first = wait_agent(&k);

	cr_assert_eq(greet(&c), 0);
	kill(first, SIGUSR1);
	wait_log(&k, "event=agent.hung pid=");
	wait_log(&k, "signal=Killed sessions=1\n");
	cr_assert_neq(wait_agent(&k), first);
	cr_assert_not(is_hung_up(c.socket), "the socket stands");
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&k), 0);
}

Test(pulse, an_agent_that_has_nothing_to_do_or_is_stopped_is_left_alone)
{
	config.host_lease_ms = PULSE_LEASE_PART * PULSE_LEAST_MS * 5 / 4;
	struct keeper_process idle = start_keeper(NULL), stopped;
	pid_t idles = wait_agent(&idle);

	strcat(config.socket, "2");
	stopped = start_keeper(NULL);
	pid_t stops = wait_agent(&stopped);
	kill(stops, SIGSTOP);
	usleep((PULSE_LOOKS + 2) * PULSE_LEAST_MS * 5 / 4 * 1000);
	kill(stops, SIGCONT);
	cr_assert(agent_answers());
	cr_assert_eq(stop_keeper(&stopped), 0);
	cr_assert_eq(kill(idles, 0), 0);
	cr_assert_eq(stop_keeper(&idle), 0);
	for (struct keeper_process *k = &idle; k; k = k == &idle ? &stopped : NULL) {
		while (k->len < sizeof(k->text) - 1) {
			ssize_t n = read(k->log, k->text + k->len, sizeof(k->text) - k->len - 1);

			if (n <= 0)
				break;
			k->len += (size_t)n;
		}
		cr_assert_not(strstr(k->text, "event=agent.hung"), "%s", k->text);
		cr_assert_not(strstr(k->text, "event=agent.died"), "%s", k->text);
	}
}
