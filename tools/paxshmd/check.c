/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the agent's memory holds together: for tests, after every step of theirs. */
#include "inside.h"

static const char *check_claim(const struct agent *a, uint32_t i)
{
	const struct claim *c = &a->m.claims[i];

	if (c->line == 0 || c->line > a->m.p->lines_high || a->m.lines[c->line].key_len == 0)
		return "a claim on no line";
	if (a->m.sessions[c->session].state == SESSION_FREE)
		return "a claim of no session";
	if (c->state == CLAIM_GIVEN && a->m.lines[c->line].given != i)
		return "a claim that is given what its line gives to another";
	return NULL;
}

/* What programs see of it: nothing, or where it stands. */
static const char *check_claim_row(const struct agent *a, uint32_t i)
{
	const struct claim *c = &a->m.claims[i];
	const struct claim_row *row = tables_claim(a->tables, i);
	bool waits = c->state == CLAIM_WAITING && !(c->flags & REQUEST_TRY), shares = c->state == CLAIM_OWNER;
	unsigned shown = waits ? CLAIM_SHOWN_WAITS : shares ? CLAIM_SHOWN_SHARES
							    : 0;

	if (!a->rebuilt)
		return NULL; /* the predecessor's */
	if (!shown)
		return row->word ? "a claim that is shown and stands nowhere" : NULL;
	if (row->word != claim_word(a->m.lines[c->line].hash, c->gen, c->session, shown, (uint8_t)c->mode))
		return "a claim that is not shown as it is";
	return NULL;
}

static const char *check_line(const struct agent *a, uint32_t i)
{
	const struct line *l = &a->m.lines[i];
	uint32_t waiting = 0, blocking = 0, prev = 0;

	if (line_find(a, l->key, l->key_len, l->hash) != i)
		return "a line that is not found by its key";
	for (uint32_t c = l->head; c; prev = c, c = a->m.claims[c].next) {
		const struct claim *claim = &a->m.claims[c];

		if (claim->state != CLAIM_WAITING || claim->line != i || claim->prev != prev || waiting > a->m.p->claims_used)
			return "a broken queue";
		waiting++;
		blocking += !(claim->flags & REQUEST_TRY);
	}
	if (waiting != l->n_waiting || blocking != l->n_blocking || l->tail != prev)
		return "a queue that is counted wrong";
	for (uint32_t c = l->sharers; c; c = a->m.claims[c].next)
		if (a->m.claims[c].state != CLAIM_OWNER || a->m.claims[c].line != i)
			return "one who shares a lock and owns nothing";
	if (l->sharers && (l->state != LINE_OURS || l->mode != LOCK_MODE_PR || l->shared > LOCK_SHARED_RANGE))
		return "a lock that is shared without a delegation";
	if (l->given && (l->state != LINE_OURS || a->m.claims[l->given].state != CLAIM_GIVEN))
		return "a gift without a delegation";
	if ((l->state != LINE_OURS || l->mode != LOCK_MODE_EX) && gate_owner(atom_load_relaxed(&a->gates.gates[i].word)) != GATE_AGENT)
		return "a gate that is open without a delegation";
	if (a->rebuilt && (l->state == LINE_OURS && l->mode == LOCK_MODE_EX ? l->delegation : 0) != tables_terms(a->tables, i)->delegation)
		return "terms of another delegation";
	return NULL;
}

const char *agent_check(const struct agent *a)
{
	const struct private_memory *p = a->m.p;
	const char *wrong = NULL;
	uint32_t claims = 0, lines = 0, sessions = 0, shown = 0;

	for (uint32_t slot = 1; slot <= p->n_sessions; slot++) {
		if (a->m.sessions[slot].state == SESSION_FREE)
			continue;
		sessions++;
		for (uint32_t i = a->m.sessions[slot].claims; i && !wrong; i = a->m.claims[i].session_next) {
			claims++;
			wrong = a->m.claims[i].session == slot ? check_claim(a, i) : "a claim in another session's list";
		}
	}
	for (uint32_t i = 1; i <= p->n_claims && !wrong; i++) {
		wrong = check_claim_row(a, i);
		shown += tables_claim(a->tables, i)->word != 0;
	}
	if (!wrong && a->rebuilt && shown != a->tables->claims_shown)
		wrong = "claims that are shown are counted wrong";
	for (uint32_t i = 1; i <= p->lines_high && !wrong; i++) {
		if (a->m.lines[i].key_len == 0)
			continue;
		lines++;
		wrong = check_line(a, i);
	}
	if (!wrong && (claims != p->claims_used || lines != p->lines_used || sessions != p->sessions_used))
		wrong = "claims, lines or sessions are counted wrong";
	if (!wrong && p->next_number - p->first_number > COMMANDS_MAX)
		wrong = "more commands under way than there is room for";
	return wrong;
}
