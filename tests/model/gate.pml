/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gate: the algorithm of shm/gate.h for spin: sessions with one record each, and the agent. An inline has the name of
 * the step of gate.h or gate_repair.h that it tells, a state of a record that of enum gate_state; tests/house/steps.sh
 * compares both lists. Every operation on a shared word is one atomic{}; a session may die or be stopped for ever, and
 * the agent may be followed by another, before each of them.
 *
 * As long as somebody may still be killed or stopped, that counts as something that can happen: that nobody waits for
 * nobody is seen once all is used up. Therefore each search is made with fewer of them, too.
 *
 * Not here, and therefore tried by gate_model_test.c, which runs the code itself: the hints, the terms, the parts of
 * the lease check one by one, weak memory, counts that go round, GATE_AGAIN after several tries.
 *
 * Not told: gate_agent_pass gate_holds gate_prune gate_forget gate_mend gate_mend_record
 *
 * Settings: SESSIONS; TURNS_1 to TURNS_3; CANCELS, ASKS (bit i: session i); KILLS, STOPS, AGENT_KILLS, CLOSES, LAPSES.
 * Planted: NO_HELP, LATE_WAKE, SWEEP_FIRST, ONE_LOOK, NO_VOID, GIVE_ONCE, KEEP_DIED, GONE_SOON, BURY_WATCH, LAPSE_WATCH. (gate_model_test.c plants more.)
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
	  GATE_RECORD_GONE, GATE_RECORD_LAPSED, GATE_RECORD_OUT, GATE_RECORD_WATCH };
mtype = { MINE, WAITS, TELL, SLEEP, WAKE, DONE, AGAIN, ARRIVE, LEFT, BUSY, LOST };

/* The word. */
byte count, top, owner;
bit closing, died, watched;

/* The records. */
mtype state[ROOM];
byte at[ROOM], gen[ROOM], older[ROOM], older_gen[ROOM];
bit rang[ROOM]; /* since the bell was last read by who waits there */

/* The kernel, and fate. */
bit asleep[ROOM], dead[ROOM], stopped[ROOM], buried[ROOM], through[ROOM];
byte kills = KILLS, stops = STOPS, agent_kills = AGENT_KILLS, closes = CLOSES, lapses = LAPSES;
bit expired;

/* What the agent has been asked, has noted and has answered. */
bit asked[ROOM];
byte give_to, give_count, granted[ROOM];
bit granted_died[ROOM];
bit wanted;   /* by another host */
byte drained; /* 1: its release is proposed; 2: a new delegation came, with the row's word of deaths */
bit row_died;

/* What is promised. */
byte inside, last_count;
bit died_owed, may_have_died;

/* What may happen to an actor before each of its operations: killed, stopped for ever, followed by another agent. */
#if KILLS > 0
#define OR_KILLED(who) :: who != AGENT && kills > 0 -> goto killed
#else
#define OR_KILLED(who)
#endif
#if STOPS > 0
#define OR_STOPPED(who) :: who != AGENT && stops > 0 -> goto halted
#else
#define OR_STOPPED(who)
#endif
#if AGENT_KILLS > 0
#define OR_FOLLOWED(who) :: who == AGENT && agent_kills > 0 -> goto followed
#else
#define OR_FOLLOWED(who)
#endif
#define FATE(who) if :: skip OR_KILLED(who) OR_STOPPED(who) OR_FOLLOWED(who) fi

/* What an actor has in hand; as it is at first wherever it means nothing: fewer states. */
#define EMPTY_HANDED \
	s = 0; c = 0; g = 0; x = 0; x_gen = 0; y = 0; y_gen = 0; drop = 0; \
	w_count = 0; w_top = 0; w_owner = 0; w_closing = 0; w_died = 0; w_watched = 0

#define UNCHANGED (count == w_count && top == w_top && owner == w_owner && closing == w_closing && died == w_died && watched == w_watched)
#define SAME_STATE(r, s, c, g) (state[r] == s && at[r] == c && gen[r] == g)

#define WORD_READ \
	w_count = count; w_top = top; w_owner = owner; w_closing = closing; w_died = died; w_watched = watched

/* (w_owner, w_count) to the one of record `r`. */
#define HANDED(to, r) \
	count = w_count + 1; top = (w_top == r -> 0 : w_top); \
	closing = (w_owner == AGENT || to == AGENT -> 0 : w_closing); \
	died = (w_owner == AGENT -> w_died : 0); owner = to; watched = 0

#define SURRENDERED(t, d) \
	count = w_count + 1; top = t; owner = AGENT; closing = 0; died = d; watched = 0

#define LINKED(a, b) (older[a] == b && older_gen[a] == gen[b])
#define BETWEEN(a) (LINKED(top, a) && LINKED(a, me))
#define IN_NO_LINE (top != me && !LINKED(top, me) && !BETWEEN(1) && !BETWEEN(2) && !BETWEEN(3))
#ifdef GONE_SOON
#define OUT_OF_LINE (owner == NOBODY || count >= at[me] + 2)
#else
#define OUT_OF_LINE IN_NO_LINE
#endif
#define MAY_WATCH(t, o) (t == 0 && o != AGENT)

/* ---- a session ---- */

inline gate_take() {
	atomic { FATE(me); WORD_READ; }
	atomic {
		FATE(me);
		if
		:: w_owner == NOBODY && UNCHANGED -> owner = me; count = w_count + 1; k = count; told = died; next = MINE
		:: else -> next = AGAIN
		fi
	}
}

inline gate_free() {
	atomic {
		FATE(me);
		if
		:: owner == me && count == k && top == 0 && !closing && !died -> owner = NOBODY; next = DONE
		:: else -> next = AGAIN
		fi
	}
}

/* To whom looks at the word. */
inline gate_hand() {
	atomic { FATE(me); WORD_READ; next = AGAIN; }
	atomic {
		FATE(me);
		if
		:: w_owner == me && w_count == k && w_watched && !w_closing && UNCHANGED ->
			count = w_count + 1; owner = w_top; top = 0; died = 0; watched = 0; next = DONE
		:: else
		fi
	}
}

inline watch_no_more() {
	atomic { FATE(me); watches = 0; at_push = 0; if :: state[me] == GATE_RECORD_WATCH -> state[me] = GATE_RECORD_WAIT :: else fi; }
}

inline gate_arrive() {
	if
	:: !taken ->
		atomic {
			FATE(me);
			/* Whether to watch is asked again when it is pushed. */
			s = state[me]; c = at[me]; g = gen[me]; next = DONE; watches = MAY_WATCH(top, owner);
			if
			:: s == GATE_RECORD_FREE
			:: s == GATE_RECORD_OUT && (owner == NOBODY || count != c)
			:: s == GATE_RECORD_CANCELLED || (s == GATE_RECORD_LAPSED && !IN_NO_LINE) -> next = WAITS; watches = 0
			:: s == GATE_RECORD_LAPSED && IN_NO_LINE -> g++
			:: s == GATE_RECORD_GONE && OUT_OF_LINE -> g++
			:: else -> next = BUSY; watches = 0
			fi
		}
		if
		:: next != BUSY ->
			atomic {
				FATE(me);
				if
				:: state[me] == s && at[me] == c -> state[me] = (watches -> GATE_RECORD_WATCH : GATE_RECORD_WAIT); at[me] = 0; gen[me] = g
				:: else -> next = AGAIN; watches = 0
				fi;
				taken = (next == DONE)
			}
		:: else
		fi
	:: else -> next = DONE
	fi;
	if
	:: next == DONE ->
		atomic { FATE(me); WORD_READ; }
		if
		:: w_owner == NOBODY ->
			atomic {
				FATE(me);
				if
				:: UNCHANGED ->
					owner = me; count = w_count + 1; k = count; told = died; next = MINE; taken = 0;
					state[me] = GATE_RECORD_FREE; gen[me]++; watches = 0
				:: else -> next = AGAIN
				fi
			}
		:: else ->
			if
			:: watches && !MAY_WATCH(w_top, w_owner) -> watch_no_more()
			:: else
			fi;
			atomic { FATE(me); older[me] = w_top; older_gen[me] = gen[w_top]; }
			atomic {
				FATE(me);
				if
				:: UNCHANGED -> top = me; watched = watches; at_push = (watches -> w_count : 0); next = WAITS; taken = 0
				:: else -> next = AGAIN
				fi
			}
		fi
	:: else
	fi
}

/* CHOSEN(c): he who was chosen need not wait for the releaser's swap. */
inline chosen() {
	atomic { FATE(me); WORD_READ; next = DONE; }
	if
	:: w_owner == me && w_count == c
#ifndef NO_HELP
	:: w_owner != NOBODY && w_count + 1 == c ->
		atomic {
			FATE(me);
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
			FATE(me);
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
		FATE(me);
		if
		:: !SAME_STATE(me, GATE_RECORD_LAPSED, c, g) -> next = AGAIN
		:: else ->
			at[me] = 0;
			if
			:: !IN_NO_LINE -> state[me] = GATE_RECORD_WAIT; next = AGAIN
			:: else -> state[me] = GATE_RECORD_FREE; gen[me]++; next = ARRIVE
			fi
		fi
	}
}

/* Who watches: was he handed the gate by the word alone? If not, he watches no more. */
inline watch() {
	next = DONE;
	if
	:: watches ->
		atomic { FATE(me); WORD_READ; }
		if
		:: w_watched && w_top == me -> atomic { FATE(me); if :: UNCHANGED -> watched = 0 :: else -> next = AGAIN fi; }
		:: !(w_watched && w_top == me) && w_owner == me && w_count == at_push + 1 ->
			atomic { FATE(me); s = state[me]; c = at[me]; g = gen[me]; }
			atomic {
				FATE(me);
				if
				:: s != GATE_RECORD_WATCH && s != GATE_RECORD_LAPSED
				:: (s == GATE_RECORD_WATCH || s == GATE_RECORD_LAPSED) && SAME_STATE(me, s, c, g) ->
					state[me] = GATE_RECORD_FREE; at[me] = 0; gen[me]++; k = w_count; told = w_died; next = MINE; watches = 0; at_push = 0
				:: else -> next = AGAIN
				fi
			}
		:: else
		fi;
		if
		:: next == DONE -> watch_no_more()
		:: else
		fi
	:: else
	fi
}

inline gate_look() {
	watch();
	if
	:: next == DONE -> look_at_record()
	:: else
	fi
}

inline look_at_record() {
	atomic { FATE(me); rang[me] = 0; }
	atomic { FATE(me); s = state[me]; c = at[me]; g = gen[me]; }
	if
	:: s == GATE_RECORD_WAIT ->
		atomic {
			FATE(me);
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
	watch();
	if
	:: next == DONE -> cancel_record()
	:: else
	fi
}

inline cancel_record() {
	atomic { FATE(me); s = state[me]; c = at[me]; g = gen[me]; next = SLEEP; }
	if
	:: s == GATE_RECORD_CHOSEN -> chosen()
	:: s == GATE_RECORD_LAPSED -> lapsed(); if :: next == ARRIVE -> next = LEFT :: else fi
	:: else -> assert(s == GATE_RECORD_WAIT || s == GATE_RECORD_SLEEP)
	fi;
	if
	:: next == SLEEP ->
		atomic {
			FATE(me);
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

inline oldest(who) {
	atomic { FATE(who); x = w_top; x_gen = gen[x]; s = state[x]; c = at[x]; next = DONE; }
	do
	:: atomic { FATE(who); y = older[x]; y_gen = older_gen[x]; }
	   atomic {
		  FATE(who);
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
	atomic { FATE(who); WORD_READ; next = (owner == who && count == k -> DONE : LOST); }
	if
	:: next == LOST
	:: next == DONE && w_top == 0 -> atomic { FATE(who); if :: UNCHANGED -> LEFT_ALONE :: else -> next = AGAIN fi }
	:: else ->
		oldest(who);
#ifndef ONE_LOOK
		if
		:: next == DONE -> atomic { FATE(who); WORD_READ; next = (owner == who && count == k -> DONE : LOST); }
		:: else
		fi;
#endif
		if
		:: next != DONE
		:: next == DONE && s == GATE_RECORD_CANCELLED ->
			atomic { FATE(who); if :: SAME_STATE(x, s, c, x_gen) -> state[x] = GATE_RECORD_GONE; at[x] = k :: else fi; next = AGAIN; }
		:: next == DONE && s == GATE_RECORD_GONE ->
			next = AGAIN;
			if
			:: w_top == x ->
				atomic { FATE(who); if :: UNCHANGED -> LEFT_ALONE :: else fi }
				drop = (next != AGAIN -> GATE_RECORD_OUT : 0)
			:: else -> drop = GATE_RECORD_OUT
			fi;
			atomic { FATE(who); if :: drop && SAME_STATE(x, s, c, x_gen) -> state[x] = drop; at[x] = k; gen[x]++ :: else fi; drop = 0; }
		:: next == DONE && (s == GATE_RECORD_FREE || s == GATE_RECORD_OUT) -> assert(false)
		:: next == DONE && who != AGENT && w_closing -> /* no passing on: the agent has it, and its line */
			atomic { FATE(who); if :: UNCHANGED -> SURRENDERED(w_top, 0); next = TELL :: else -> next = AGAIN fi }
		:: else ->
			atomic {
				FATE(who);
				if
				:: SAME_STATE(x, s, c, x_gen) -> state[x] = GATE_RECORD_CHOSEN; at[x] = k + 1; next = WAKE
				:: else -> next = AGAIN
				fi
			}
			if
			:: next == WAKE ->
#ifndef LATE_WAKE
				atomic { FATE(who); rang[x] = 1; }
				atomic { FATE(who); asleep[x] = 0; }
#endif
				do
				:: atomic { FATE(who); WORD_READ; next = (owner == who && count == k -> AGAIN : DONE); }
				   if
				   :: next == DONE -> break
				   :: else -> atomic { FATE(who); if :: UNCHANGED -> HANDED(x, x); next = DONE; break :: else fi }
				   fi
				od
#ifdef LATE_WAKE
				;
				atomic { FATE(who); rang[x] = 1; }
				atomic { FATE(who); asleep[x] = 0; }
#endif
			:: else
			fi
		fi
	fi
}

inline gate_decline() {
	atomic { FATE(me); WORD_READ; next = (owner == me && count == k -> AGAIN : LOST); }
	if
	:: next == AGAIN ->
		atomic {
			FATE(me);
			if
			:: UNCHANGED -> SURRENDERED(w_top, w_died); next = TELL
			:: else
			fi
		}
	:: else
	fi
}

proctype session(byte turns)
{
	byte w_count, w_top, w_owner, c, g, k, x, x_gen, y, y_gen;
	byte at_push;
	bit w_closing, w_died, w_watched, taken, told, watches;
	mtype s, next, drop;
turn:
	atomic {
		EMPTY_HANDED; k = 0; told = 0; next = 0; rang[me] = 0;
		if
		:: turns == 0 -> through[me] = 1; goto end
		:: turns != 0 && (ASKS >> me & 1) -> turns--; goto ask
		:: else -> turns--
		fi
	}
	gate_take();
	atomic { EMPTY_HANDED; if :: next == MINE -> next = 0; goto check :: else -> next = 0 fi }
arrive:
	gate_arrive();
	atomic {
		EMPTY_HANDED;
		if
		:: next == MINE -> next = 0; goto check
		:: next == AGAIN -> next = 0; goto arrive
		:: next == BUSY -> next = 0 /* until the record can be used */
		:: else -> next = 0; goto look
		fi
	}
	if
	:: atomic { state[me] != GATE_RECORD_GONE && state[me] != GATE_RECORD_OUT || owner == NOBODY || (state[me] == GATE_RECORD_GONE && OUT_OF_LINE) || (state[me] == GATE_RECORD_OUT && count != at[me]) -> goto arrive }
	OR_KILLED(me)
	OR_STOPPED(me)
	fi;
look:
	gate_look(); /* at once, or when the word has changed: who looks may be slow */
	atomic {
		EMPTY_HANDED;
		if
		:: next == MINE -> next = 0; goto check
		:: next == AGAIN -> next = 0; goto look
		:: next == ARRIVE -> next = 0; goto arrive
		:: else -> next = 0
		fi
	}
	atomic { FATE(me); if :: !rang[me] -> asleep[me] = 1 :: else -> goto look fi }
	if
	:: atomic { !asleep[me] -> goto look }
	:: atomic { CANCELS >> me & 1 -> asleep[me] = 0 }
	OR_KILLED(me)
	OR_STOPPED(me)
	fi;
leave:
	gate_cancel();
	atomic {
		EMPTY_HANDED;
		if
		:: next == MINE -> next = 0; goto check
		:: next == LEFT -> goto turn
		:: else -> next = 0; goto leave
		fi
	}
ask:
	atomic { FATE(me); asked[me] = 1; }
	if
	:: atomic { granted[me] -> k = granted[me]; told = granted_died[me]; granted[me] = 0; granted_died[me] = 0 }
	OR_KILLED(me)
	OR_STOPPED(me)
	fi;
check:
	atomic {
		FATE(me);
		if
		:: !expired && owner == me && count == k ->
			assert(inside == 0 && !drained);
			assert(k > last_count);
			assert(told || !died_owed);
			assert(!told || may_have_died);
			inside = me; last_count = k; died_owed = 0; told = 0
		:: else -> goto decline
		fi
	}
	atomic { FATE(me); if :: inside == me -> inside = 0 :: else fi }
	gate_free();
	atomic { if :: next == DONE -> goto turn :: else fi }
	gate_hand();
	atomic { EMPTY_HANDED; if :: next == DONE -> next = 0; goto turn :: else -> next = 0 fi }
release:
	gate_release(me);
	atomic {
		EMPTY_HANDED;
		if
		:: next == AGAIN -> next = 0; goto release
		:: next == LOST -> assert(LAPSES > 0); goto turn
		:: else -> goto turn
		fi
	}
decline:
	gate_decline();
	atomic {
		EMPTY_HANDED;
		if
		:: next == AGAIN -> next = 0; goto decline
		:: else -> assert(LAPSES > 0); goto turn
		fi
	}
killed:
	atomic {
		kills--; dead[me] = 1; asleep[me] = 0; rang[me] = 0; may_have_died = 1;
		if :: inside == me -> inside = 0; died_owed = 1 :: else fi;
		goto rest
	}
halted:
	atomic { stops--; stopped[me] = 1; goto rest }
followed:
	assert(false);
rest:
	atomic { EMPTY_HANDED; k = 0; told = 0; next = 0; taken = 0; turns = 0; watches = 0; at_push = 0; }
end:
	false
}

#include "gate_agent.pml"

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
		run agent()
	}
}
