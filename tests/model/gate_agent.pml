/* SPDX-License-Identifier: Apache-2.0 */
/* gate_agent: what the agent does, for gate.pml, which includes this. It waits for no session; a new one begins at `idle`. */

inline gate_bury() {
	next = AGAIN;
	do
	:: next == AGAIN ->
		atomic { FATE(AGENT); s = state[i]; c = at[i]; g = gen[i]; next = SLEEP; }
		if
		:: s == GATE_RECORD_FREE || s == GATE_RECORD_OUT || s == GATE_RECORD_GONE -> next = DONE
		:: s == GATE_RECORD_CHOSEN ->
			atomic { FATE(AGENT); WORD_READ; }
			if
			:: w_owner == i && w_count == c ->
				atomic { FATE(AGENT); if :: SAME_STATE(i, s, c, g) -> state[i] = GATE_RECORD_FREE; at[i] = 0; gen[i]++; next = DONE :: else -> next = AGAIN fi }
			:: w_owner != NOBODY && w_count + 1 == c ->
				atomic { FATE(AGENT); if :: UNCHANGED -> HANDED(AGENT, i); next = TELL :: else -> next = AGAIN fi }
				if
				:: next == TELL -> atomic { FATE(AGENT); if :: SAME_STATE(i, s, c, g) -> state[i] = GATE_RECORD_FREE; at[i] = 0; gen[i]++ :: else fi; next = AGAIN; }
				:: else
				fi
			:: else
			fi
		:: s == GATE_RECORD_WATCH || s == GATE_RECORD_LAPSED ->
			atomic { FATE(AGENT); WORD_READ; }
#ifndef BURY_WATCH
			if
			:: w_watched && w_top == i -> atomic { FATE(AGENT); if :: UNCHANGED -> watched = 0 :: else -> next = AGAIN fi }
			:: else
			fi
#endif
		:: else
		fi;
		if
		:: next == SLEEP ->
			atomic { FATE(AGENT); w_count = count; }
			atomic { FATE(AGENT); if :: SAME_STATE(i, s, c, g) -> state[i] = GATE_RECORD_GONE; at[i] = w_count; next = DONE :: else -> next = AGAIN fi }
		:: else
		fi
	:: else -> break
	od
}

inline gate_sweep() {
	next = AGAIN;
	do
	:: next == AGAIN ->
		atomic { FATE(AGENT); WORD_READ; }
		atomic { FATE(AGENT); if :: w_owner != i -> next = DONE :: w_owner == i && UNCHANGED -> SURRENDERED(w_top, 1); next = DONE :: else fi }
	:: else -> break
	od
}

inline gate_rouse() {
	x = 1;
	do
	:: x <= SESSIONS -> atomic { FATE(AGENT); if :: state[x] == GATE_RECORD_CHOSEN -> rang[x] = 1; asleep[x] = 0 :: else fi; x++ }
	:: else -> break
	od
}

/* Before the terms of a new life. */
inline gate_lapsing() {
	atomic { FATE(AGENT); WORD_READ; i = (w_owner != AGENT -> w_owner : NOBODY); k = w_count; }
}

inline gate_lapse_record() {
	next = AGAIN;
	do
	:: next == AGAIN ->
		atomic {
			FATE(AGENT);
			next = DONE;
			if
			:: state[i] == GATE_RECORD_CHOSEN && at[i] == k -> state[i] = GATE_RECORD_LAPSED; at[i] = k + 1; gen[i]++; next = WAKE
#ifndef LAPSE_WATCH
			:: state[i] == GATE_RECORD_WATCH -> state[i] = GATE_RECORD_LAPSED; at[i] = k + 1; next = WAKE
#endif
			:: state[i] == GATE_RECORD_LAPSED -> next = WAKE
			:: else
			fi
		}
	:: next == WAKE -> atomic { FATE(AGENT); rang[i] = 1; asleep[i] = 0; next = DONE; }
	:: else -> break
	od
}

inline gate_lapse() {
	atomic {
		FATE(AGENT);
		if
		:: !UNCHANGED -> next = AGAIN
		:: else -> SURRENDERED(w_top, (i != NOBODY || w_died)); next = DONE
		fi
	}
}

inline gate_close() {
	atomic { FATE(AGENT); WORD_READ; next = AGAIN; }
	atomic {
		FATE(AGENT);
		if
#ifdef NO_VOID
		:: UNCHANGED && owner == AGENT -> next = DONE
		:: UNCHANGED && owner == NOBODY -> SURRENDERED(w_top, w_died); next = DONE
#else
		:: UNCHANGED && (owner == NOBODY || owner == AGENT) -> SURRENDERED(w_top, w_died); next = DONE
#endif
		:: UNCHANGED && owner != NOBODY && owner != AGENT -> closing = 1; watched = 0; next = WAITS
		:: else
		fi
	}
}

inline gate_begin() {
	atomic { FATE(AGENT); WORD_READ; next = AGAIN; }
	atomic {
		FATE(AGENT);
		if
#ifdef KEEP_DIED
		:: UNCHANGED -> SURRENDERED(w_top, (row_died || w_died)); next = DONE
#else
		:: UNCHANGED -> SURRENDERED(w_top, row_died); next = DONE
#endif
		:: else
		fi
	}
}

inline gate_open() {
	next = AGAIN;
	do
	:: next == AGAIN -> atomic { FATE(AGENT); } gate_release(AGENT)
	:: else -> break
	od
}

inline gate_give() {
	atomic { FATE(AGENT); WORD_READ; next = AGAIN; }
	atomic {
		FATE(AGENT);
		if
#ifndef GIVE_ONCE
		:: w_owner == give_to && w_count == give_count + 1 -> next = DONE
#endif
		:: w_owner == AGENT && w_count == give_count && UNCHANGED -> owner = give_to; count = w_count + 1; next = DONE
		:: w_owner == AGENT && w_count == give_count && !UNCHANGED
		:: else -> next = LOST
		fi
	}
}

#define WAITS_FOR(n) (dead[n] || stopped[n] || through[n] || owner_stands_still)
#define owner_stands_still (owner != NOBODY && owner != AGENT && stopped[owner])

#define NOT_BURIED (dead[1] != buried[1] || dead[2] != buried[2] || dead[3] != buried[3])

proctype agent()
{
	byte i, w_count, w_top, w_owner, c, g, k, x, x_gen, y, y_gen;
	bit w_closing, w_died, w_watched;
	mtype s, next, drop;
idle:
	atomic {
		EMPTY_HANDED; i = 0; k = 0; next = 0;
	}
	if
	:: atomic { dead[1] && !buried[1] -> i = 1; goto bury }
	:: atomic { dead[2] && !buried[2] -> i = 2; goto bury }
	:: atomic { dead[3] && !buried[3] -> i = 3; goto bury }
	:: atomic { give_to != 0 -> goto give } /* noted by this agent or the one before */
	:: atomic { expired -> goto lapse }
	:: atomic { lapses > 0 && !expired && !wanted -> lapses--; expired = 1; inside = 0; may_have_died = 1; goto lapse }
	/* The release was agreed upon, and a new delegation came; if others have had the lock meanwhile, they were told. */
	:: atomic { drained == 1 -> drained = 2; row_died = died; goto begin }
	:: atomic { drained == 1 -> drained = 2; row_died = 0; died_owed = 0; may_have_died = NOT_BURIED; goto begin }
	:: atomic { drained == 2 -> goto begin }
	:: atomic { closes > 0 && !wanted && !expired -> closes--; wanted = 1; goto close }
	:: atomic { wanted && !drained && !expired && (owner == NOBODY || owner == AGENT || !closing) -> goto close }
	:: atomic { owner == AGENT && !wanted && !expired && (top != 0 || !(asked[1] || asked[2] || asked[3])) -> k = count; goto open }
	:: atomic { owner == AGENT && !wanted && !expired && !give_to && asked[1] -> give_to = 1; give_count = count; goto give }
	:: atomic { owner == AGENT && !wanted && !expired && !give_to && asked[2] -> give_to = 2; give_count = count; goto give }
	:: atomic { owner == AGENT && !wanted && !expired && !give_to && asked[3] -> give_to = 3; give_count = count; goto give }
	:: atomic { !wanted && !expired && !give_to && (asked[1] || asked[2] || asked[3]) && owner != AGENT && !closing -> goto fetch }
	:: timeout ->
		assert(WAITS_FOR(1) && WAITS_FOR(2) && (SESSIONS < 3 || WAITS_FOR(3)));
		assert(owner_stands_still || (owner == NOBODY && top == 0));
		goto over
	fi;
bury:
	atomic { FATE(AGENT); asked[i] = 0; if :: give_to == i -> give_to = 0 :: else fi } /* before the sweep */
#ifdef SWEEP_FIRST
	gate_sweep();
	gate_bury();
#else
	gate_bury();
	gate_sweep();
#endif
	gate_rouse();
	atomic { FATE(AGENT); buried[i] = 1; goto idle; }
lapse:
	gate_lapsing();
	if :: i != NOBODY -> gate_lapse_record() :: else fi;
	gate_lapse();
	if :: next == AGAIN -> goto lapse :: else fi;
	atomic { FATE(AGENT); expired = 0; goto idle; }
close:
	gate_close();
	atomic { FATE(AGENT); if :: next == DONE -> drained = 1 :: else fi; goto idle; }
begin:
	gate_begin();
	atomic { FATE(AGENT); if :: next == DONE -> drained = 0; row_died = 0; wanted = 0 :: else fi; goto idle; }
fetch:
	gate_close();
	goto idle;
open:
	gate_open();
	goto idle;
give:
	gate_give();
	if
	:: next == DONE ->
		atomic { FATE(AGENT); if :: asked[give_to] -> granted[give_to] = give_count + 1; granted_died[give_to] = died; asked[give_to] = 0 :: else fi }
		atomic { FATE(AGENT); give_to = 0; }
	:: next == LOST -> atomic { FATE(AGENT); give_to = 0; }
	:: else
	fi;
	goto idle;
killed:
halted:
	assert(false);
followed:
	atomic { agent_kills--; goto idle }
over:
	skip
}
