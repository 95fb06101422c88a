/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks: what the simulator counts - faults that really happened, and rare states that were really
 * reached. A campaign in which one of the required marks stayed at zero proves less than it seems
 * to, and fails.
 *
 * M(NAME, required, "what a person reads")
 */
#ifndef PAXSHM_TESTS_SIM_MARKS_H
#define PAXSHM_TESTS_SIM_MARKS_H

#include <stdint.h>

#define FAULT_MARKS(M) \
	M(LINK_RESET, 1, "connections reset, with what was under way") \
	M(FRAME_LOST, 1, "single frames lost") \
	M(FRAME_DOUBLED, 1, "frames delivered twice") \
	M(FRAME_OVERTOOK, 1, "frames that overtook others") \
	M(FRAME_LATE, 1, "frames delayed by more than an election timeout") \
	M(PARTITION_SPLIT, 1, "partitions into two groups") \
	M(PARTITION_ONE_WAY, 1, "one-way partitions of two hosts") \
	M(PARTITION_LEADER, 1, "leaders cut off both ways") \
	M(PARTITION_LEADER_DEAF, 1, "leaders that send and hear nothing") \
	M(PARTITION_LEADER_MUTE, 1, "leaders that hear and send nothing") \
	M(PARTITION_BRIDGE, 1, "groups that only one common host can reach") \
	M(PARTITION_MAJORITY, 1, "majorities cut off from each single other host") \
	M(PARTITION_RING, 1, "rings: voters that hear their two neighbours only") \
	M(PARTITION_SWIZZLE, 1, "links that stopped one by one and healed in another order") \
	M(HOST_DEAF, 1, "hosts that send and hear nothing, leaders or not") \
	M(LINK_CLOGGED, 1, "links that held everything back and then let go at once") \
	M(AGENT_PAUSED, 1, "agents stopped for a while") \
	M(AGENT_PAUSED_LONG, 1, "agents stopped for longer than elections take") \
	M(LEADER_PAUSED_LONG, 1, "leaders stopped for longer than elections take") \
	M(AGENT_PAUSED_LEASE, 1, "agents stopped for longer than the host lease") \
	M(HOST_FROZEN, 1, "hosts that stood still, agent and programs") \
	M(HOST_SUSPENDED, 1, "hosts suspended: the monotonic clock stood still") \
	M(CLOCK_DRIFT, 1, "clocks that changed their rate within the bound") \
	M(CLOCK_JUMP, 1, "clocks that jumped beyond the bound") \
	M(CRASH_BETWEEN, 1, "agents killed between two steps") \
	M(CRASH_IN_ACTIONS, 1, "agents killed with some of a step's actions carried out") \
	M(CRASH_IN_GROUP, 1, "agents killed inside a group of changes") \
	M(CRASH_AT_COMMIT, 1, "agents killed right after a commit") \
	M(CRASH_IN_ROLLBACK, 1, "successors killed while they rolled back") \
	M(CRASH_IN_INSTALL, 1, "agents killed while they installed a copy of the tables") \
	M(CRASH_BEFORE_TRIM, 1, "agents killed between installing a copy and trimming the log") \
	M(CRASH_OF_LEADER, 1, "leaders killed") \
	M(CRASH_OF_ALL, 1, "moments with every agent dead") \
	M(CRASH_AT_BIRTH, 1, "agents killed while they formatted fresh memory") \
	M(CRASH_TWICE, 1, "successors killed before they had settled") \
	M(MEMORY_LOST, 1, "hosts that came back without memory") \
	M(MEMORY_LOST_LEADER, 1, "leaders that lost their memory") \
	M(CLIENT_KILLED_IDLE, 1, "programs killed while idle") \
	M(CLIENT_KILLED_WAITING, 1, "programs killed while they waited") \
	M(CLIENT_KILLED_HOLDING, 1, "programs killed while they held a lock") \
	M(CLIENT_KILLED_SHARING, 1, "programs killed while they shared a lock") \
	M(CLIENT_KILLED_LEAVING, 1, "programs killed while they gave a shared lock back") \
	M(CLIENT_KILLED_OPENING, 0, "programs killed while they opened a session") \
	M(CLIENT_KILLED_CLOSING, 1, "programs killed while they closed their session") \
	M(CLIENT_STOPPED, 1, "programs stopped for a while") \
	M(CLIENT_STOPPED_UNSEEN, 1, "programs stopped when an answer was there that they had not seen") \
	M(CLIENT_STOPPED_HOLDING, 1, "programs stopped between a grant and the use of it") \
	M(WAKE_LATE, 1, "sleepers that took their time to wake") \
	M(WRITE_LATE, 1, "writes that were under way for long") \
	M(CLIENT_NONSENSE, 1, "programs that wrote nonsense into their ring") \
	M(GATES_SCRIBBLED, 1, "times that a program wrote over its host's gates and places in line") \
	M(CLIENT_RELEASED_TWICE, 1, "locks released a second time") \
	M(LIVENESS, 1, "clusters of which a part was broken for good") \
	M(BROKEN_CRASHED, 1, "hosts broken for good: crashed") \
	M(BROKEN_LOST, 1, "hosts broken for good: crashed without memory") \
	M(BROKEN_STOPPED, 1, "hosts broken for good: stopped") \
	M(BROKEN_CUT, 1, "hosts broken for good: cut off") \
	M(BROKEN_DEAF, 1, "hosts broken for good: they send and hear nothing") \
	M(BROKEN_MUTE, 1, "hosts broken for good: they hear and send nothing") \
	M(BROKEN_BEHIND, 1, "hosts broken for good: behind a bridge")

#define STATE_MARKS(M) \
	M(FOUNDED, 1, "clusters founded") \
	M(LEADER_CHANGED, 1, "leaders changed") \
	M(ELECTION_SPLIT, 1, "elections with two candidates at once") \
	M(TWO_LEADERS, 1, "moments with an old and a new leader") \
	M(EARLY_LEARNING, 1, "slots learnt early, with the leader's one message") \
	M(LEARNT_BEYOND_GAP, 1, "slots learnt beyond a gap") \
	M(GAP_FILLED, 1, "gaps filled with nothing") \
	M(PROPOSED_AGAIN, 1, "values of an older ballot proposed again") \
	M(SNAPSHOT_INSTALLED, 1, "snapshots installed") \
	M(SNAPSHOT_IN_BITES, 1, "snapshots installed in several turns") \
	M(SNAPSHOT_WHILE_CHANGING, 1, "records of a snapshot written down because they were about to change") \
	M(SNAPSHOT_AGAIN, 1, "snapshots installed within a second of another") \
	M(SNAPSHOT_UNUSED, 1, "snapshots that came in part, or too late") \
	M(SNAPSHOT_TAIL, 1, "slots learnt behind a snapshot while it came") \
	M(VALUE_OF_MANY, 1, "slots with several commands") \
	M(COMMAND_REPEATED, 1, "commands chosen again and ignored") \
	M(HOST_REGISTERED_AGAIN, 1, "hosts registered again after they were declared down") \
	M(HOST_HEIR, 1, "hosts registered with a new life as heirs of an ended one") \
	M(HOST_DOWN, 1, "hosts declared down") \
	M(HOST_DOWN_VOID, 0, "declarations void because a later leader had begun") \
	M(LOST_LOCK, 1, "programs that lost a lock with their host") \
	M(SWEPT_LOCK, 1, "locks of an older life swept") \
	M(SWEPT_TO_WAITER, 1, "locks of an older life swept and passed on") \
	M(GRANTED, 1, "locks granted") \
	M(GRANT_PASSED, 1, "locks passed from host to host in the release") \
	M(GRANT_LOCAL, 1, "locks handed over within a host") \
	M(RANGE_USED_UP, 1, "delegations whose tokens were used up") \
	M(HANDOVER_MAX, 1, "local lines cut short for another host") \
	M(GRANT_OWNER_DIED, 1, "grants that told of the last owner's death") \
	M(DEATH_FORGOTTEN, 1, "deaths forgotten because room was short") \
	/* Once in a thousand seeds: between the death and its news lie microseconds. */ \
	M(GRANT_TO_DEAD, 0, "grants to programs that had just died") \
	M(SHARE_ASKED, 1, "calls for a lock in shared mode") \
	M(SHARE_GRANTED, 1, "locks granted to share") \
	M(SHARE_BESIDE_HERE, 1, "of them, beside another program of the same host that shared it then") \
	M(SHARE_BESIDE_THERE, 1, "of them, beside a program of another host that shared it then, under its lease") \
	M(SHARE_BEFORE_WAITER, 1, "of them, older than who waited to have it alone") \
	M(SHARE_WAITED_FOR, 1, "moments with a lock shared, and another host waiting for it") \
	M(ALONE_AFTER_SHARED, 1, "locks granted to one alone when they had been shared") \
	M(ALONE_AMONG_SHARERS, 1, "of clusters with broken hosts: the same, while others went on to share them again and again") \
	M(SHARE_OWNER_DIED, 1, "grants to share that told of the last owner's death") \
	M(SHARE_THROUGH_RESTART, 1, "programs that shared a lock while their agent was killed and came again") \
	M(SHARE_LOST, 1, "programs that lost a shared lock with their host") \
	M(SHARE_TAKEN, 0, "shared locks taken back from who had no lease any more") \
	M(SHARE_TOO_LATE, 0, "grants to share told when the host's life was over") \
	M(SHARE_NAMED, 1, "programs named that shared a lock") \
	M(SHARE_RELEASED_TWICE, 1, "shared locks released a second time") \
	M(READ_REFUSED, 1, "looks with an old token, refused by the resource") \
	M(TRY_GRANTED, 1, "tries granted") \
	M(TRY_BUSY_HERE, 1, "tries answered busy, owner on the same host") \
	M(TRY_BUSY_THERE, 1, "tries answered busy by the owning host") \
	M(TRY_BUSY_UNKNOWN, 1, "tries answered busy, owner not told in time") \
	M(CANCELLED, 1, "waits cancelled") \
	M(CANCEL_MET_GRANT, 1, "cancels that met the grant") \
	M(NO_QUORUM, 1, "calls answered with no quorum") \
	M(TABLE_FULL, 1, "acquires answered with no space") \
	M(HOLDER_TOLD, 1, "holders told") \
	M(HOLDER_REMOTE, 1, "holders told by another host") \
	M(HOLDER_AGREED, 1, "holders told after agreeing on an index") \
	M(SESSION_REFUSED, 1, "sessions refused because all places were taken") \
	M(SESSION_ADOPTED, 1, "sessions mapped by an agent's successor") \
	M(SESSION_CUT, 1, "sessions whose opening died with the agent") \
	M(SESSION_CLOSED, 1, "sessions closed") \
	M(SESSION_CLOSED_HOLDING, 1, "sessions closed with locks held or waited for") \
	M(SESSION_BANNED, 1, "sessions banned for nonsense") \
	M(WRITE_TAKEN, 1, "first writes of an owner, taken by the resource") \
	M(WRITE_REFUSED, 1, "writes with an old token, refused by the resource") \
	M(TABLES_READ, 1, "looks into the tables") \
	M(LOCK_SUSPENDED, 1, "owners that found their lease suspended") \
	M(LOCK_TAKEN, 0, "locks taken from an owner whose lease was over") \
	M(LOCK_LOST, 1, "owners that found their lock lost") \
	M(GRANT_TOO_LATE, 0, "grants told when the lock had gone on") \
	M(TAKEN_WARM, 1, "locks taken at their gate, nobody asked") \
	M(TAKEN_IN_LINE, 1, "locks that came to who stood in line") \
	M(GATE_READ, 1, "gates found in the tables") \
	M(GATE_CHOSEN, 1, "locks handed straight to who waited longest") \
	M(GATE_HANDED, 1, "locks handed by the word alone to who looked at it") \
	M(GATE_SURRENDERED, 1, "locks handed to the agent because it was closing their gate") \
	M(GATE_OTHER_KEY, 0, "programs that found another lock's gate") \
	M(GATE_TOLD_AGAIN, 1, "agents told again that somebody waits at a gate of theirs") \
	M(GATE_SENT_AWAY, 1, "programs sent away from a line") \
	M(GATE_LEFT, 1, "places in line given up") \
	M(GATE_LEFT_TOO_LATE, 1, "places in line given up when the lock had come") \
	M(GATE_LAPSED, 0, "locks that lapsed before they were looked at") \
	M(RECORD_BUSY, 1, "places in line that were not yet out of the last one") \
	M(DECLINED_KEY, 0, "locks declined: the gate is another lock's") \
	M(DECLINED_RANGE, 1, "locks declined: the tokens are used up") \
	/* Hardly ever at random: tests/lib/gateway_test plays it. */ \
	M(DECLINED_LIFE, 0, "locks declined: of another life of the host") \
	M(DECLINED_LEASE, 1, "locks declined: the lease has ended") \
	M(LEASE_ASKED_BOOT, 1, "leases near their end, or clocks that moved: the exact clock decided") \
	M(GATE_MENDED, 1, "gates put right that somebody had written over") \
	/* Releases do not go through rings: a program that waits fills none. tests/lib/call_test does. */ \
	M(RING_FULL, 0, "requests that found their ring full") \
	M(ROLLED_BACK, 1, "groups rolled back by a successor") \
	M(ROLLBACK_COMPARED, 1, "groups rolled back in a copy and compared") \
	M(SUCCESSOR_LED, 0, "leaders that led again after their death")

#define MARK_ENUM(name, required, text) MARK_##name,
#define MARK_ONE(name, required, text) +1
enum mark { FAULT_MARKS(MARK_ENUM) STATE_MARKS(MARK_ENUM) N_MARKS };
enum { N_FAULT_MARKS = 0 FAULT_MARKS(MARK_ONE) };

struct mark_text {
	const char *text;
	int required;
};

extern const struct mark_text mark_texts[N_MARKS];

/* Of one worker; added up at the end. */
struct tally {
	uint64_t mark[N_MARKS];
	uint64_t seeds, simulated_ns, steps, operations, slots, commands;
};

#endif
