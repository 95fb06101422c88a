/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: see wire.h. One writer and one reader for each body, kept side by side; what the reader
 * accepts is exactly what the writer can produce.
 */
#include "wire.h"

#include <errno.h>

#include "../lib/base.h"

#define LENGTH_SIZE 4u /* of the length itself, which it does not count */

int wire_frame_length(const void *bytes, size_t len)
{
	struct reader r = reader_on(bytes, len);
	uint32_t follows;
	uint8_t version;

	if (len < LENGTH_SIZE)
		return 0;
	follows = get_u32(&r);
	if (follows < WIRE_HEADER - LENGTH_SIZE || follows > WIRE_FRAME_MAX - LENGTH_SIZE)
		return -EMSGSIZE;
	if (len < WIRE_HEADER)
		return 0;
	version = get_u8(&r);
	if (version < WIRE_VERSION_OLDEST || version > WIRE_VERSION)
		return -EPROTO;
	return (int)(LENGTH_SIZE + follows);
}

enum wire_type wire_type_of(const void *frame)
{
	return ((const unsigned char *)frame)[WIRE_HEADER - 1];
}

/* ---- the header around a body ---- */

static struct writer frame_begin(void *buf, size_t cap, enum wire_type type)
{
	struct writer w = writer_on(buf, MIN(cap, WIRE_FRAME_MAX));

	put_u32(&w, 0); /* the length: known at the end */
	put_u8(&w, WIRE_VERSION);
	put_u8(&w, (uint8_t)type);
	return w;
}

static int frame_end(struct writer *w)
{
	struct writer length = writer_on(w->bytes, LENGTH_SIZE);

	if (!w->ok)
		return -EMSGSIZE;
	put_u32(&length, (uint32_t)(w->len - LENGTH_SIZE));
	return (int)w->len;
}

/* A reader on the body; not ok when the header is not that of a whole frame of this type. */
static struct reader body_of(const void *frame, size_t len, enum wire_type type)
{
	int whole = wire_frame_length(frame, len);
	struct reader r = reader_on(frame, len);

	if (whole <= 0 || (size_t)whole != len || wire_type_of(frame) != type)
		r.ok = false;
	get_bytes(&r, WIRE_HEADER);
	return r;
}

/* A truth value has one encoding for each truth. */
static bool get_bool(struct reader *r)
{
	uint8_t value = get_u8(r);

	if (value > 1)
		r->ok = false;
	return value == 1;
}

/* ---- hello ---- */

int wire_put_hello(void *buf, size_t cap, const struct wire_hello *hello)
{
	struct writer w = frame_begin(buf, cap, WIRE_HELLO);

	_Static_assert(WIRE_HELLO_SIZE == WIRE_HEADER + 4 + 3 * 8 + 2 * 2 + 1 + 8, "the hello of protocol.md");
	ASSERT(hello->from != 0);
	put_u32(&w, WIRE_MAGIC);
	put_u64(&w, hello->cluster_id);
	put_u64(&w, hello->history);
	put_u64(&w, hello->voters_id);
	put_u16(&w, hello->from);
	put_u16(&w, hello->to);
	put_u8(&w, hello->votes);
	put_u64(&w, hello->nonce);
	return frame_end(&w);
}

int wire_get_hello(const void *frame, size_t len, struct wire_hello *ret)
{
	struct reader r = body_of(frame, len, WIRE_HELLO);

	if (get_u32(&r) != WIRE_MAGIC)
		return -EPROTO;
	*ret = (struct wire_hello){ 0 };
	ret->cluster_id = get_u64(&r);
	ret->history = get_u64(&r);
	ret->voters_id = get_u64(&r);
	ret->from = get_u16(&r);
	ret->to = get_u16(&r);
	ret->votes = get_bool(&r);
	ret->nonce = get_u64(&r);
	return reader_done(&r) && ret->from != 0 ? 0 : -EPROTO;
}

/* ---- Paxos ---- */

/* How many entries a message of this kind carries. */
static bool entries_fit(uint8_t kind, uint32_t n)
{
	switch (kind) {
	case PAXOS_ACCEPT:
	case PAXOS_LEARN:
		return n == 1;
	case PAXOS_PROMISE:
		return n <= PAXOS_WINDOW_MAX;
	default:
		return n == 0;
	}
}

static void put_entry(struct writer *w, const struct paxos_entry *entry)
{
	put_u64(w, entry->slot);
	put_u64(w, entry->ballot);
	put_u8(w, entry->kind);
	put_u32(w, entry->len);
	put_bytes(w, entry->bytes, entry->len);
}

static void get_entry(struct reader *r, struct paxos_entry *ret, uint32_t value_max)
{
	ret->slot = get_u64(r);
	ret->ballot = get_u64(r);
	ret->kind = get_u8(r);
	ret->len = get_u32(r);
	if (ret->kind < PAXOS_NOOP || ret->kind > PAXOS_COMMANDS || ret->len > value_max)
		r->ok = false;
	ret->bytes = get_bytes(r, ret->len);
}

int wire_put_paxos(void *buf, size_t cap, const struct paxos_message *message)
{
	struct writer w = frame_begin(buf, cap, WIRE_PAXOS);

	ASSERT(message->kind >= PAXOS_PREVOTE && message->kind <= PAXOS_MOVE);
	ASSERT(entries_fit(message->kind, message->n_entries));
	put_u8(&w, message->kind);
	put_u8(&w, message->flag);
	put_u64(&w, message->ballot);
	put_u64(&w, message->promised);
	put_u64(&w, message->chosen);
	put_u64(&w, message->slot);
	put_u64(&w, message->life);
	put_u64(&w, message->stamp);
	put_u16(&w, (uint16_t)message->n_entries);
	for (uint32_t i = 0; i < message->n_entries; i++)
		put_entry(&w, &message->entries[i]);
	return frame_end(&w);
}

int wire_get_paxos(const void *frame, size_t len, struct paxos_message *ret,
		   struct paxos_entry entries[PAXOS_WINDOW_MAX], uint32_t value_max)
{
	struct reader r = body_of(frame, len, WIRE_PAXOS);

	*ret = (struct paxos_message){ .entries = entries };
	ret->kind = get_u8(&r);
	ret->flag = get_bool(&r);
	ret->ballot = get_u64(&r);
	ret->promised = get_u64(&r);
	ret->chosen = get_u64(&r);
	ret->slot = get_u64(&r);
	ret->life = get_u64(&r);
	ret->stamp = get_u64(&r);
	ret->n_entries = get_u16(&r);
	if (!r.ok || ret->kind < PAXOS_PREVOTE || ret->kind > PAXOS_MOVE || !entries_fit(ret->kind, ret->n_entries))
		return -EPROTO;
	for (uint32_t i = 0; i < ret->n_entries; i++)
		get_entry(&r, &entries[i], value_max);
	return reader_done(&r) ? 0 : -EPROTO;
}

/* ---- what agents say to each other beside Paxos ---- */

int wire_put_agent(void *buf, size_t cap, const void *bytes, size_t len)
{
	struct writer w = frame_begin(buf, cap, WIRE_AGENT);

	put_bytes(&w, bytes, len);
	return frame_end(&w);
}

int wire_get_agent(const void *frame, size_t len, const unsigned char **ret_bytes, size_t *ret_len)
{
	struct reader r = body_of(frame, len, WIRE_AGENT);

	if (!r.ok)
		return -EPROTO;
	*ret_len = reader_left(&r);
	*ret_bytes = get_bytes(&r, *ret_len);
	return 0;
}
