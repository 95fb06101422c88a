/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: the algorithm of shm/gate.h for spin: sessions with one record each, and the agent. An inline has the name of
 * the step of gate.h or gate_repair.h that it tells, a state of a record that of enum gate_state; tests/house/steps.sh
 * compares both lists. Every operation on a shared word is one atomic{}; a session may die or be stopped for ever, and
 * the agent may be followed by another, before each of them.
 *
 * Not here, and therefore tried by gate_model_test.c, which runs the code itself: the hints, the terms, the parts of
 * the lease check one by one, weak memory, counts that go round, GATE_AGAIN after several tries.
 *
 * Not told: gate_agent_pass gate_holds gate_prune gate_forget gate_mend gate_mend_record
 *
 * Settings: SESSIONS; TURNS_1 to TURNS_3; CANCELS, ASKS (bit i: session i); KILLS, STOPS, AGENT_KILLS, CLOSES, LAPSES.
 * Planted: NO_HELP, LATE_WAKE, SWEEP_FIRST, ONE_LOOK, AT_ONCE, NO_VOID, GIVE_ONCE, FORGET_DIED.
 */
#ifndef SESSIONS
#define SESSIONS 2
#endif
#ifndef TURNS_1
#define TURNS_1 1
#endif
#ifndef TURNS_2
#define TURNS_2 1
#endif
#ifndef TURNS_3
#define TURNS_3 1
#endif
#ifndef CANCELS
#define CANCELS 0
#endif
#ifndef ASKS
#define ASKS 0
#endif
#ifndef KILLS
#define KILLS 0
#endif
#ifndef STOPS
#define STOPS 0
#endif
#ifndef AGENT_KILLS
#define AGENT_KILLS 0
#endif
#ifndef CLOSES
#define CLOSES 0
#endif
#ifndef LAPSES
#define LAPSES 0
#endif

#define ROOM 4 /* sessions are numbered from 1 */
#define AGENT 9
#define NOBODY 0
#define me _pid /* of a session */

mtype = { GATE_RECORD_FREE, GATE_RECORD_WAIT, GATE_RECORD_SLEEP, GATE_RECORD_CHOSEN, GATE_RECORD_CANCELLED,
	  GATE_RECORD_GONE, GATE_RECORD_LAPSED, GATE_RECORD_OUT };
mtype = { MINE, WAITS, TELL, SLEEP, WAKE, DONE, AGAIN, ARRIVE, LEFT, BUSY, LOST };

/* The word. */
byte count, top, owner;
bit closing, died;

/* The records. */
mtype state[ROOM];
byte at[ROOM], gen[ROOM], older[ROOM], older_gen[ROOM], pushed[ROOM], bell[ROOM];

/* The kernel, and fate. */
bit asleep[ROOM], dead[ROOM], stopped[ROOM], buried[ROOM], through[ROOM];
byte kills = KILLS, stops = STOPS, agent_kills = AGENT_KILLS, closes = CLOSES, lapses = LAPSES;
bit expired;

/* What the agent has been asked, has noted and has answered. */
bit asked[ROOM];
byte give_to, give_count, granted[ROOM];
bit granted_died[ROOM];
bit wanted, drained; /* another host wants it; its release is proposed */

/* What is promised. */
byte inside, last_count;
bit died_owed;

#define UNCHANGED (count == w_count && top == w_top && owner == w_owner && closing == w_closing && died == w_died)
#define SAME_STATE(r, s, c, g) (state[r] == s && at[r] == c && gen[r] == g)

#define WORD_READ \
	w_count = count; w_top = top; w_owner = owner; w_closing = closing; w_died = died

/* (w_owner, w_count) to the one of record `r`. */
#define HANDED(to, r) \
	count = w_count + 1; top = (w_top == r -> 0 : w_top); \
	closing = (w_owner == AGENT || to == AGENT -> 0 : w_closing); \
	died = (w_owner == AGENT -> w_died : 0); owner = to

#define SURRENDERED(t, d) \
	count = w_count + 1; top = t; owner = AGENT; closing = 0; died = d

/* ---- a session ---- */

inline gate_take() {
	atomic { WORD_READ; }
	atomic {
		if
		:: w_owner == NOBODY && UNCHANGED -> owner = me; count = w_count + 1; k = count; told = died; next = MINE
		:: else -> next = AGAIN
		fi
	}
}

inline gate_free() {
	atomic {
		if
		:: owner == me && count == k && top == 0 && !closing && !died -> owner = NOBODY; next = DONE
		:: else -> next = AGAIN
		fi
	}
}

inline gate_arrive() {
	if
	:: !taken ->
		atomic {
			s = state[me]; c = at[me]; g = gen[me]; next = DONE;
			if
			:: s == GATE_RECORD_FREE
			:: s == GATE_RECORD_OUT && (owner == NOBODY || count != c)
			:: s == GATE_RECORD_CANCELLED || (s == GATE_RECORD_LAPSED && pushed[me] >= c) -> next = WAITS
			:: s == GATE_RECORD_LAPSED && pushed[me] < c -> g++
			:: s == GATE_RECORD_GONE && (owner == NOBODY || count >= c + 2) -> g++
			:: else -> next = BUSY
			fi
		}
		if
		:: next != BUSY ->
			atomic {
				if
				:: state[me] == s && at[me] == c -> state[me] = GATE_RECORD_WAIT; at[me] = 0; gen[me] = g
				:: else -> next = AGAIN
				fi;
				taken = (next == DONE)
			}
		:: else
		fi
	:: else -> next = DONE
	fi;
	if
	:: next == DONE ->
		atomic { WORD_READ; }
		if
		:: w_owner == NOBODY ->
			atomic {
				if
				:: UNCHANGED ->
					owner = me; count = w_count + 1; k = count; told = died; next = MINE; taken = 0;
					state[me] = GATE_RECORD_FREE; gen[me]++
				:: else -> next = AGAIN
				fi
			}
		:: else ->
			atomic { older[me] = w_top; older_gen[me] = gen[w_top]; pushed[me] = w_count; }
			atomic {
				if
				:: UNCHANGED -> top = me; next = WAITS; taken = 0
				:: else -> next = AGAIN
				fi
			}
		fi
	:: else
	fi
}

/* CHOSEN(c): he who was chosen need not wait for the releaser's swap. */
inline chosen() {
	atomic { WORD_READ; next = DONE; }
	if
	:: w_owner == me && w_count == c
#ifndef NO_HELP
	:: w_owner != NOBODY && w_count + 1 == c ->
		atomic {
			if
			:: UNCHANGED -> HANDED(me, me); WORD_READ
			:: else -> next = AGAIN
			fi
		}
	:: else -> if :: w_owner == me && w_count == c :: w_owner != NOBODY && w_count + 1 == c :: else -> next = SLEEP fi
#else
	:: else -> next = SLEEP
#endif
	fi;
	if
	:: next == DONE ->
		atomic {
			if
			:: SAME_STATE(me, GATE_RECORD_CHOSEN, c, g) ->
				state[me] = GATE_RECORD_FREE; at[me] = 0; gen[me]++; k = c; told = w_died; next = MINE
			:: else -> next = AGAIN
			fi
		}
	:: else
	fi
}

inline lapsed() {
	atomic {
		if
		:: !SAME_STATE(me, GATE_RECORD_LAPSED, c, g) -> next = AGAIN
		:: else ->
			at[me] = 0;
			if
			:: pushed[me] >= c -> state[me] = GATE_RECORD_WAIT; next = AGAIN
			:: else -> state[me] = GATE_RECORD_FREE; gen[me]++; next = ARRIVE
			fi
		fi
	}
}

inline gate_look() {
	rung = bell[me];
	atomic { s = state[me]; c = at[me]; g = gen[me]; }
	if
	:: s == GATE_RECORD_WAIT ->
		atomic {
			if
			:: SAME_STATE(me, s, c, g) -> state[me] = GATE_RECORD_SLEEP; next = SLEEP
			:: else -> next = AGAIN
			fi
		}
	:: s == GATE_RECORD_SLEEP -> next = SLEEP
	:: s == GATE_RECORD_CHOSEN -> chosen()
	:: s == GATE_RECORD_LAPSED -> lapsed()
	:: else -> assert(false) /* a living session's place is its own */
	fi
}

inline gate_cancel() {
	atomic { s = state[me]; c = at[me]; g = gen[me]; next = SLEEP; }
	if
	:: s == GATE_RECORD_CHOSEN -> chosen()
	:: s == GATE_RECORD_LAPSED -> lapsed(); if :: next == ARRIVE -> next = LEFT :: else fi
	:: else -> assert(s == GATE_RECORD_WAIT || s == GATE_RECORD_SLEEP)
	fi;
	if
	:: next == SLEEP ->
		atomic {
			if
			:: SAME_STATE(me, s, c, g) -> state[me] = GATE_RECORD_CANCELLED; at[me] = 0; next = LEFT
			:: else -> next = AGAIN
			fi
		}
	:: else
	fi
}

/* Nobody is left. */
#define LEFT_ALONE \
	if \
	:: who == AGENT -> top = 0; owner = NOBODY; closing = 0; next = DONE \
	:: who != AGENT && w_closing -> SURRENDERED(0, 0); next = TELL \
	:: else -> top = 0; owner = NOBODY; died = 0; next = DONE \
	fi

inline oldest() {
	atomic { x = w_top; x_gen = gen[x]; s = state[x]; c = at[x]; next = DONE; }
	do
	:: atomic { y = older[x]; y_gen = older_gen[x]; }
	   atomic {
		   if
		   :: gen[x] != x_gen -> next = AGAIN; break
		   :: gen[x] == x_gen && (y == 0 || gen[y] != y_gen) -> s = state[x]; c = at[x]; break
		   :: else -> x = y; x_gen = y_gen
		   fi
	   }
	od
}

/* Ends the acquisition (who, k); the agent's way of it is gate_open. */
inline gate_release(who) {
	atomic { WORD_READ; next = (owner == who && count == k -> DONE : LOST); }
	if
	:: next == LOST
	:: next == DONE && w_top == 0 -> atomic { if :: UNCHANGED -> LEFT_ALONE :: else -> next = AGAIN fi }
	:: else ->
		oldest();
#ifndef ONE_LOOK
		if
		:: next == DONE -> atomic { WORD_READ; next = (owner == who && count == k -> DONE : LOST); }
		:: else
		fi;
#endif
		if
		:: next != DONE
		:: next == DONE && s == GATE_RECORD_CANCELLED ->
			atomic { if :: SAME_STATE(x, s, c, x_gen) -> state[x] = GATE_RECORD_GONE; at[x] = k :: else fi; next = AGAIN; }
		:: next == DONE && s == GATE_RECORD_GONE ->
			next = AGAIN;
			if
			:: w_top == x ->
				atomic { if :: UNCHANGED -> LEFT_ALONE :: else fi }
				drop = (next != AGAIN -> GATE_RECORD_OUT : 0)
#ifdef AT_ONCE
			:: else -> drop = GATE_RECORD_FREE
#else
			:: else -> drop = GATE_RECORD_OUT
#endif
			fi;
			atomic { if :: drop && SAME_STATE(x, s, c, x_gen) -> state[x] = drop; at[x] = k; gen[x]++ :: else fi; drop = 0; }
		:: next == DONE && (s == GATE_RECORD_FREE || s == GATE_RECORD_OUT) -> assert(false)
		:: next == DONE && who != AGENT && w_closing -> /* no passing on: the agent has it, and its line */
			atomic { if :: UNCHANGED -> SURRENDERED(w_top, 0); next = TELL :: else -> next = AGAIN fi }
		:: else ->
			atomic {
				if
				:: SAME_STATE(x, s, c, x_gen) -> state[x] = GATE_RECORD_CHOSEN; at[x] = k + 1; next = WAKE
				:: else -> next = AGAIN
				fi
			}
			if
			:: next == WAKE ->
#ifndef LATE_WAKE
				bell[x]++;
				asleep[x] = 0;
#endif
				do
				:: atomic { WORD_READ; next = (owner == who && count == k -> AGAIN : DONE); }
				   if
				   :: next == DONE -> break
				   :: else -> atomic { if :: UNCHANGED -> HANDED(x, x); next = DONE; break :: else fi }
				   fi
				od
#ifdef LATE_WAKE
				;
				bell[x]++;
				asleep[x] = 0
#endif
			:: else
			fi
		fi
	fi
}

inline gate_decline() {
	atomic { WORD_READ; next = (owner == me && count == k -> AGAIN : LOST); }
	if
	:: next == AGAIN ->
		atomic {
			if
#ifdef FORGET_DIED
			:: UNCHANGED -> SURRENDERED(w_top, 0); next = TELL
#else
			:: UNCHANGED -> SURRENDERED(w_top, w_died); next = TELL
#endif
			:: else
			fi
		}
	:: else
	fi
}

proctype session(byte turns) provided (!dead[_pid] && !stopped[_pid])
{
	byte w_count, w_top, w_owner, c, g, k, rung, x, x_gen, y, y_gen;
	bit w_closing, w_died, taken, told, is_in;
	mtype s, next, drop;
turn:
	atomic {
		k = 0; told = 0; x = 0; y = 0; x_gen = 0; y_gen = 0; s = 0; c = 0; g = 0; rung = 0;
		w_count = 0; w_top = 0; w_owner = 0; w_closing = 0; w_died = 0;
		if
		:: turns == 0 -> through[me] = 1; goto end
		:: turns != 0 && (ASKS >> me & 1) -> turns--; goto ask
		:: else -> turns--
		fi
	}
	gate_take();
	if :: next == MINE -> goto check :: else fi;
arrive:
	gate_arrive();
	if
	:: next == MINE -> goto check
	:: next == AGAIN -> goto arrive
	:: next == BUSY -> /* until the record can be used */
		atomic { state[me] != GATE_RECORD_GONE && state[me] != GATE_RECORD_OUT || owner == NOBODY || count >= at[me] + 2 || (state[me] == GATE_RECORD_OUT && count != at[me]) -> goto arrive }
	:: else
	fi;
look:
	gate_look();
	if
	:: next == MINE -> goto check
	:: next == AGAIN -> goto look
	:: next == ARRIVE -> goto arrive
	:: else
	fi;
	atomic { if :: bell[me] == rung -> asleep[me] = 1 :: else -> goto look fi }
	if
	:: atomic { !asleep[me] -> goto look }
	:: atomic { CANCELS >> me & 1 -> asleep[me] = 0 }
	fi;
leave:
	gate_cancel();
	if
	:: next == MINE -> goto check
	:: next == LEFT -> goto turn
	:: else -> goto leave
	fi;
ask:
	asked[me] = 1;
	atomic { granted[me] -> k = granted[me]; told = granted_died[me]; granted[me] = 0; granted_died[me] = 0 }
check:
	atomic {
		if
		:: !expired && owner == me && count == k ->
			assert(inside == 0 && !drained);
			assert(k > last_count);
			assert(told || !died_owed);
			inside = me; last_count = k; died_owed = 0
		:: else -> goto decline
		fi
	}
	atomic { if :: inside == me -> inside = 0 :: else fi }
	gate_free();
	if :: next == DONE -> goto turn :: else fi;
release:
	gate_release(me);
	if
	:: next == AGAIN -> goto release
	:: next == LOST -> assert(LAPSES > 0); goto turn
	:: else -> goto turn
	fi;
decline:
	gate_decline();
	if
	:: next == AGAIN -> goto decline
	:: else -> assert(LAPSES > 0); goto turn
	fi;
end:
	skip
}

/* ---- the agent: waits for no session; a new one begins at `idle` ---- */

#define MORTAL if :: agent_kills > 0 -> agent_kills--; goto idle :: skip fi

inline gate_bury() {
	next = AGAIN;
	do
	:: next == AGAIN ->
		atomic { MORTAL; s = state[i]; c = at[i]; g = gen[i]; next = SLEEP; }
		if
		:: s == GATE_RECORD_FREE || s == GATE_RECORD_OUT || s == GATE_RECORD_GONE -> next = DONE
		:: s == GATE_RECORD_CHOSEN ->
			atomic { MORTAL; WORD_READ; }
			if
			:: w_owner == i && w_count == c ->
				atomic { MORTAL; if :: SAME_STATE(i, s, c, g) -> state[i] = GATE_RECORD_FREE; at[i] = 0; gen[i]++; next = DONE :: else -> next = AGAIN fi }
			:: w_owner != NOBODY && w_count + 1 == c ->
				atomic { MORTAL; if :: UNCHANGED -> HANDED(AGENT, i); next = TELL :: else -> next = AGAIN fi }
				if
				:: next == TELL -> atomic { MORTAL; if :: SAME_STATE(i, s, c, g) -> state[i] = GATE_RECORD_FREE; at[i] = 0; gen[i]++ :: else fi; next = AGAIN; }
				:: else
				fi
			:: else
			fi
		:: else
		fi;
		if
		:: next == SLEEP ->
			atomic { MORTAL; w_count = count; }
			atomic { MORTAL; if :: SAME_STATE(i, s, c, g) -> state[i] = GATE_RECORD_GONE; at[i] = w_count; next = DONE :: else -> next = AGAIN fi }
		:: else
		fi
	:: else -> break
	od
}

inline gate_sweep() {
	next = AGAIN;
	do
	:: next == AGAIN ->
		atomic { MORTAL; WORD_READ; }
		atomic { MORTAL; if :: w_owner != i -> next = DONE :: w_owner == i && UNCHANGED -> SURRENDERED(w_top, 1); next = DONE :: else fi }
	:: else -> break
	od
}

inline gate_rouse() {
	x = 1;
	do
	:: x <= SESSIONS -> atomic { MORTAL; if :: state[x] == GATE_RECORD_CHOSEN -> bell[x]++; asleep[x] = 0 :: else fi; x++ }
	:: else -> break
	od
}

/* Before the terms of a new life. */
inline gate_lapsing() {
	atomic { MORTAL; WORD_READ; i = (w_owner != AGENT -> w_owner : NOBODY); k = w_count; }
}

inline gate_lapse_record() {
	next = AGAIN;
	do
	:: next == AGAIN ->
		atomic {
			MORTAL;
			next = DONE;
			if
			:: state[i] == GATE_RECORD_CHOSEN && at[i] == k -> state[i] = GATE_RECORD_LAPSED; at[i] = k + 1; gen[i]++; next = WAKE
			:: state[i] == GATE_RECORD_LAPSED -> next = WAKE
			:: else
			fi
		}
	:: next == WAKE -> atomic { MORTAL; bell[i]++; asleep[i] = 0; next = DONE; }
	:: else -> break
	od
}

inline gate_lapse() {
	atomic {
		MORTAL;
		if
		:: !UNCHANGED -> next = AGAIN
		:: else -> SURRENDERED(w_top, (i != NOBODY || w_died)); next = DONE
		fi
	}
}

inline gate_close() {
	atomic { MORTAL; WORD_READ; next = AGAIN; }
	atomic {
		MORTAL;
		if
#ifdef NO_VOID
		:: UNCHANGED && owner == AGENT -> next = DONE
		:: UNCHANGED && owner == NOBODY -> SURRENDERED(w_top, w_died); next = DONE
#else
		:: UNCHANGED && (owner == NOBODY || owner == AGENT) -> SURRENDERED(w_top, w_died); next = DONE
#endif
		:: UNCHANGED && owner != NOBODY && owner != AGENT -> closing = 1; next = WAITS
		:: else
		fi
	}
}

inline gate_open() {
	next = AGAIN;
	do
	:: next == AGAIN -> atomic { MORTAL; } gate_release(AGENT)
	:: else -> break
	od
}

inline gate_give() {
	atomic { MORTAL; WORD_READ; next = AGAIN; }
	atomic {
		MORTAL;
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

proctype agent()
{
	byte i, w_count, w_top, w_owner, c, g, k, x, x_gen, y, y_gen;
	bit w_closing, w_died;
	mtype s, next, drop;
idle:
	atomic {
		i = 0; k = 0; x = 0; x_gen = 0; y = 0; y_gen = 0; c = 0; g = 0; s = 0; drop = 0; next = 0;
		w_count = 0; w_top = 0; w_owner = 0; w_closing = 0; w_died = 0;
	}
	if
	:: atomic { dead[1] && !buried[1] -> i = 1; goto bury }
	:: atomic { dead[2] && !buried[2] -> i = 2; goto bury }
	:: atomic { dead[3] && !buried[3] -> i = 3; goto bury }
	:: atomic { give_to != 0 -> goto give } /* noted by this agent or the one before */
	:: atomic { expired -> goto lapse }
	:: atomic { lapses > 0 && !expired && !wanted -> lapses--; expired = 1; inside = 0; goto lapse }
	:: atomic { drained -> drained = 0; wanted = 0; goto idle } /* the release was agreed upon, and a new delegation came */
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
	atomic { asked[i] = 0; if :: give_to == i -> give_to = 0 :: else fi } /* before the sweep */
#ifdef SWEEP_FIRST
	gate_sweep();
	gate_bury();
#else
	gate_bury();
	gate_sweep();
#endif
	gate_rouse();
	buried[i] = 1;
	goto idle;
lapse:
	gate_lapsing();
	if :: i != NOBODY -> gate_lapse_record() :: else fi;
	gate_lapse();
	if :: next == AGAIN -> goto lapse :: else fi;
	atomic { MORTAL; expired = 0; goto idle; }
close:
	gate_close();
	if :: next == DONE -> drained = 1 :: else fi;
	goto idle;
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
		atomic { MORTAL; if :: asked[give_to] -> granted[give_to] = give_count + 1; granted_died[give_to] = died; asked[give_to] = 0 :: else fi }
		atomic { MORTAL; give_to = 0; }
	:: next == LOST -> atomic { MORTAL; give_to = 0; }
	:: else
	fi;
	goto idle;
over:
	skip
}

/* Each as often as it is allowed, or not at all. */
proctype fate()
{
	byte i;

	do
	:: kills > 0 ->
		atomic {
			select(i : 1 .. SESSIONS);
			if
			:: !dead[i] && !through[i] ->
				dead[i] = 1; kills--; asleep[i] = 0;
				if :: inside == i -> inside = 0; died_owed = 1 :: else fi
			:: else
			fi
		}
	:: stops > 0 ->
		atomic {
			select(i : 1 .. SESSIONS);
			if :: !dead[i] && !through[i] && !stopped[i] -> stopped[i] = 1; stops-- :: else fi
		}
	:: break
	od
}

init {
	atomic {
		state[1] = GATE_RECORD_FREE;
		state[2] = GATE_RECORD_FREE;
		state[3] = GATE_RECORD_FREE;
		run session(TURNS_1);
		run session(TURNS_2);
#if SESSIONS > 2
		run session(TURNS_3);
#endif
		run agent();
		if
		:: KILLS + STOPS > 0 -> run fate()
		:: else
		fi
	}
}
