/* SPDX-License-Identifier: Apache-2.0 */
/* What happened, one line an event, for a person who follows one seed. */
#include <stdarg.h>

#include "sim.h"

typedef unsigned long long ull;

void trace(struct sim *s, const char *format, ...)
{
	va_list args;

	if (!s->options.trace)
		return;
	printf("%11.6f  ", (double)s->now_ns / 1e9);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

const char *trace_key(const struct key *k)
{
	static char text[4][40];
	static unsigned turn;
	char *out = text[turn++ % 4];
	unsigned n = 0;

	for (uint32_t i = 0; i < k->len && n + 4 < sizeof(text[0]) - 12; i++)
		n += (unsigned)(k->bytes[i] > ' ' && k->bytes[i] < 127 ? sprintf(out + n, "%c", k->bytes[i]) : sprintf(out + n, "\\x%02x", k->bytes[i]));
	if (k->len > 20)
		sprintf(out + n, "..(%u)%02x", k->len, k->bytes[k->len - 1]);
	else
		out[n] = 0;
	return out;
}

static size_t say_commands(char *out, size_t cap, const unsigned char *bytes, size_t len)
{
	struct reader r = reader_on(bytes, len);
	struct command c;
	size_t n = 0;

	while (reader_left(&r) && n < cap && command_decode(&r, &c)) {
		struct key k = { .len = c.key_len };

		memcpy(k.bytes, c.key, c.key_len);
		n += (size_t)snprintf(out + n, cap - n, " %s(%u#%llu%s%s%s)", command_name(c.kind), c.host, (ull)c.number,
				      c.key_len ? " " : "", trace_key(&k), c.flags ? " *" : "");
	}
	return MIN(n, cap);
}

static void say_paxos(char *out, size_t cap, const void *frame, size_t len)
{
	static const char *const names[] = { "?", "prevote", "prevoted", "prepare", "promise", "accept", "accepted", "refused", "learn", "beat", "beaten", "fetch" };
	static const char *const kinds[] = { "?", "noop", "leads", "commands" };
	struct paxos_message m;
	struct paxos_entry entries[PAXOS_WINDOW_MAX];
	size_t n;

	if (wire_get_paxos(frame, len, &m, entries, WIRE_FRAME_MAX) < 0) {
		snprintf(out, cap, "paxos, undecodable");
		return;
	}
	n = (size_t)snprintf(out, cap, "%s ballot %llx promised %llx chosen %llu slot %llu%s", names[m.kind < ARRAY_LEN(names) ? m.kind : 0],
			     (ull)m.ballot, (ull)m.promised, (ull)m.chosen, (ull)m.slot, m.flag ? " flag" : "");
	for (uint32_t i = 0; i < m.n_entries && n < cap; i++) {
		n += (size_t)snprintf(out + n, cap - n, " [%llu@%llx %s", (ull)m.entries[i].slot, (ull)m.entries[i].ballot,
				      kinds[m.entries[i].kind < ARRAY_LEN(kinds) ? m.entries[i].kind : 0]);
		if (n < cap && m.entries[i].kind == PAXOS_COMMANDS)
			n += say_commands(out + n, cap - n, m.entries[i].bytes, m.entries[i].len);
		if (n < cap)
			n += (size_t)snprintf(out + n, cap - n, "]");
	}
}

static void say_agent(char *out, size_t cap, const void *frame, size_t len)
{
	static const char *const words[] = { "?", "commands", "ask", "tell", "chunk", "have", "renew", "renewed", "index", "indexed" };
	const unsigned char *bytes;
	size_t n, size;

	if (wire_get_agent(frame, len, &bytes, &size) < 0 || !size) {
		snprintf(out, cap, "agent, undecodable");
		return;
	}
	n = (size_t)snprintf(out, cap, "%s, %zu bytes", words[bytes[0] < ARRAY_LEN(words) ? bytes[0] : 0], size);
	if (bytes[0] == 1)
		say_commands(out + n, cap - n, bytes + 1, size - 1);
}

void trace_frame(struct sim *s, const char *what, uint16_t from, uint16_t to, const void *bytes, size_t len)
{
	char text[1024] = "";

	if (!s->options.trace)
		return;
	if (wire_type_of(bytes) == WIRE_PAXOS)
		say_paxos(text, sizeof(text), bytes, len);
	else
		say_agent(text, sizeof(text), bytes, len);
	trace(s, "%u %s %u  %s", from, what, to, text);
}

void trace_request(struct sim *s, const struct client *c, const struct ring_request *r)
{
	static const char *const ops[] = { "?", "acquire", "release", "cancel", "holder", "close", "lead", "gate" };
	struct key k = { .len = r->key_len };

	if (!s->options.trace)
		return;
	memcpy(k.bytes, r->key, r->key_len);
	trace(s, "program %u of host %u asks: %s %s, call %d%s%s%s%s, target %u", c->id, c->host, ops[r->op], trace_key(&k), (int)r->call,
	      r->flags & REQUEST_TRY ? ", try" : "", r->flags & REQUEST_RETURN ? ", return" : "",
	      r->flags & REQUEST_LINEARIZABLE ? ", linearizable" : "", r->op == REQUEST_ACQUIRE && r->mode == LOCK_MODE_PR ? ", shared" : "", r->target);
}

/* What the agent's memory says about a call: claim, line, and which of its commands are under way. */
static size_t describe_claim(const struct sim *s, const struct client *c, const struct thread *t, char *ret, size_t cap)
{
	static const char *const claim_states[] = { "free", "waiting", "given", "owner", "asking" };
	static const char *const line_states[] = { "idle", "tried", "asked", "cancelling", "ours" };
	const unsigned char *base = s->host[c->host].memory.private;
	const struct private_memory *p = s->host[c->host].memory.private;
	const struct session_record *record = (const struct session_record *)(base + p->sessions_at) + c->slot;
	const struct claim *claim = (const struct claim *)(base + p->claims_at) + record->call_claim[t->call];
	const struct line *line = (const struct line *)(base + p->lines_at) + claim->line;

	if (!c->kept || !t->pushed || !record->call_claim[t->call])
		return 0;
	return (size_t)snprintf(ret, cap, " <claim %u %s, stage %u, number %llu; line %u %s, queued %u, given %u, number %llu; commands %llu .. %llu>",
				record->call_claim[t->call], claim_states[claim->state % 5], claim->stage, (unsigned long long)claim->number,
				claim->line, line_states[line->state % 5], line->queued, line->given, (unsigned long long)line->number,
				(unsigned long long)p->first_number, (unsigned long long)p->next_number - 1);
}

/* Where it stands at a gate. */
static size_t describe_gate(const struct sim *s, const struct client *c, const struct thread *t, char *ret, size_t cap)
{
	const struct host *h = &s->host[c->host];
	struct gate_view v = gates_view(h);
	uint64_t word = v.gates[t->gate].word, state = v.records[t->place.record].state;
	const struct private_memory *p = h->memory.private;
	const struct line *line = (const struct line *)((const unsigned char *)p + p->lines_at) + t->gate;

	return (size_t)snprintf(ret, cap, " <step %u, gate %u: count %u, top %u, owner %u, flags %u; record %u: gen %u, state %u, count %u; line state %u>",
				t->step, t->gate, gate_count(word), gate_top(word), gate_owner(word), gate_flags(word), t->place.record,
				(unsigned)(state >> 36), gate_record_state(state), (uint32_t)state, line->state);
}

/* What keeps its session from ending. */
static size_t describe_session(const struct sim *s, const struct client *c, char *ret, size_t cap)
{
	const struct host *h = &s->host[c->host];
	const struct private_memory *p = h->memory.private;
	const struct session_record *record = (const struct session_record *)((const unsigned char *)p + p->sessions_at) + c->slot;
	struct gate_view v = gates_view(h);
	uint32_t each = h->memory.tables->records_each;
	size_t n = (size_t)snprintf(ret, cap, " session state %u, claims %u, swept to %u;", record->state, record->claims, record->sweep_at);

	for (uint32_t r = (c->slot - 1) * each + 1; c->slot && r <= c->slot * each && n < cap; r++) {
		const struct gate_record *at = &v.records[r];
		uint64_t word = at->gate && at->gate <= v.n_gates ? v.gates[at->gate].word : 0;

		if (gate_record_state(at->state) != GATE_RECORD_FREE && gate_record_state(at->state) != GATE_RECORD_OUT)
			n += (size_t)snprintf(ret + n, cap - n, " record %u state %u gate %u (top %u, owner %u);", r, gate_record_state(at->state), at->gate,
					      gate_top(word), gate_owner(word));
	}
	return n;
}

void client_describe(const struct sim *s, const struct client *c, char *ret, size_t cap)
{
	static const char *const client_states[] = { "free", "opening", "open", "closed", "dead" };
	static const char *const thread_states[] = { "idle", "waits", "at the gate", "holds", "releases", "leaves", "asks", "closes" };
	size_t n = (size_t)snprintf(ret, cap, "program %u on host %u, session %u, %s%s%s:", c->id, c->host, c->slot,
				    client_states[c->state], c->closing ? ", closing" : "", c->kept ? "" : ", not kept");

	if (c->kept && n < cap)
		n += describe_session(s, c, ret + n, cap - n);
	for (unsigned i = 0; i < c->n_threads && n < cap; i++) {
		const struct thread *t = &c->thread[i];

		n += (size_t)snprintf(ret + n, cap - n, " thread %u %s %s (call %u, flags %u%s%s%s%s%s);", i, thread_states[t->state],
				      t->key ? trace_key(&s->key[t->key]) : "", t->call, t->flags, t->pushed ? "" : ", not pushed",
				      t->told ? ", told" : "", t->taken ? ", taken" : "", t->cancelled ? ", cancelled" : "",
				      t->asleep ? ", asleep" : "");
		if (n < cap)
			n += describe_claim(s, c, t, ret + n, cap - n);
		if (n < cap && (t->state == THREAD_GATE || t->state == THREAD_RELEASES))
			n += describe_gate(s, c, t, ret + n, cap - n);
	}
}
