/* SPDX-License-Identifier: Apache-2.0 */
/*
 * actions: what a step wants done, in order.
 *
 * Room for it is made once. What programs can bring about by writing where they must not - lines in the log, sleepers to be
 * roused - and what the network may lose anyway has a share of the room, and what is beyond its share is left out of the
 * step. All else is bounded by the calls that programs have.
 */
#include "inside.h"

#include <limits.h>
#include <stdarg.h>

#define SENDS_MAX 65536u
#define ENDS_EACH 4u   /* of a session: closed, banned, the answer to its close, and one to spare */
#define OTHERS_MAX 64u /* hellos, bad peers */

/* Each host may go down in a step, and each session end. */
static unsigned logs_max(const struct agent_limits *l)
{
	return HOSTS_MAX + l->sessions + 256;
}

/* Of the others there are no more than programs have calls, and sessions and peers have ends. */
static unsigned limit_of(const struct agent *a, enum agent_action_kind kind)
{
	switch (kind) {
	case ACTION_SEND: return SENDS_MAX;
	case ACTION_ROUSE: return GATE_RECORDS_MAX;
	case ACTION_LOG: return logs_max(&a->config.limits);
	case ACTION_FATAL: return 1; /* the first says it */
	default: return UINT_MAX;
	}
}

unsigned actions_max(const struct agent_limits *l)
{
	/* A call that waits is answered once, and so is a request, of which a step takes no more than twice what a ring holds. */
	unsigned answers = l->sessions * (RING_CALLS + 2 * RING_REQUESTS);

	return answers + ENDS_EACH * l->sessions + OTHERS_MAX + SENDS_MAX + GATE_RECORDS_MAX + logs_max(l) + 1;
}

void actions_begin(struct agent *a)
{
	a->n_actions = 0;
	a->out_len = 0;
	memset(a->n_kind, 0, sizeof(a->n_kind));
	a->nonsense_said = 0;
}

struct agent_action *agent_act(struct agent *a, enum agent_action_kind kind)
{
	struct agent_action *action = &a->actions[a->n_actions];

	if (a->n_kind[kind] == limit_of(a, kind))
		return NULL;
	ASSERT(a->n_actions < a->max_actions);
	a->n_kind[kind]++;
	a->n_actions++;
	*action = (struct agent_action){ .kind = kind };
	return action;
}

static const char *format_text(struct agent *a, const char *format, va_list args)
{
	char *text = (char *)a->out + a->out_len;
	size_t room = MIN(a->out_cap - a->out_len, (size_t)512);
	int n = room ? vsnprintf(text, room, format, args) : -1;

	if (n < 0)
		return "";
	a->out_len += MIN((size_t)n + 1, room);
	return text;
}

void agent_log(struct agent *a, uint8_t level, const char *format, ...)
{
	struct agent_action *action = agent_act(a, ACTION_LOG);
	va_list args;

	if (!action)
		return;
	va_start(args, format);
	action->level = level;
	action->text = format_text(a, format, args);
	va_end(args);
}

void agent_fatal(struct agent *a, const char *format, ...)
{
	struct agent_action *action = agent_act(a, ACTION_FATAL);
	va_list args;

	if (!action)
		return;
	va_start(args, format);
	action->text = format_text(a, format, args);
	va_end(args);
}

static void send_bytes(struct agent *a, uint16_t to, int len)
{
	struct agent_action *action;

	/* No room in this step: lost, as the network may lose it. */
	if (len < 0 || !(action = agent_act(a, ACTION_SEND)))
		return;
	action->to = to;
	action->bytes = a->out + a->out_len;
	action->len = (size_t)len;
	a->out_len += (size_t)len;
}

void agent_send_paxos(struct agent *a, uint16_t to, const struct paxos_message *m)
{
	send_bytes(a, to, wire_put_paxos(a->out + a->out_len, a->out_cap - a->out_len, m));
}

struct writer agent_frame_begin(struct agent *a, enum agent_word word)
{
	struct writer w = writer_on(a->body, BODY_BYTES);

	put_u8(&w, (uint8_t)word);
	return w;
}

void agent_frame_send(struct agent *a, uint16_t to, const struct writer *w)
{
	ASSERT(w->ok);
	send_bytes(a, to, wire_put_agent(a->out + a->out_len, a->out_cap - a->out_len, w->bytes, w->len));
}
