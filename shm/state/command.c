/* SPDX-License-Identifier: Apache-2.0 */
#include "command.h"

/* kind, host, incarnation, number; then at most what RELEASE has: delegation, used, flags, key. */
_Static_assert(1 + 2 + 8 + 8 + 8 + 4 + 1 + 1 + KEY_MAX <= COMMAND_BYTES_MAX, "a command fits");

#define COMMAND_HEAD offsetof(struct command, key)

static bool kind_known(uint8_t kind)
{
	return kind >= COMMAND_FOUND && kind <= COMMAND_SWEEP;
}

static bool kind_has_key(uint8_t kind)
{
	return kind == COMMAND_ACQUIRE || kind == COMMAND_RELEASE || kind == COMMAND_CANCEL;
}

static uint8_t kind_flags(uint8_t kind)
{
	switch (kind) {
	case COMMAND_ACQUIRE:
		return COMMAND_TRY;
	case COMMAND_RELEASE:
		return COMMAND_DIED;
	default:
		return 0;
	}
}

bool command_numbered(uint8_t kind)
{
	return kind == COMMAND_ACQUIRE || kind == COMMAND_RELEASE || kind == COMMAND_CANCEL;
}

bool command_is_leaders(uint8_t kind)
{
	return kind == COMMAND_FOUND || kind == COMMAND_HOST_DOWN || kind == COMMAND_SWEEP;
}

/* What both ends hold a command to. A peer's bytes that fail are refused; a command of our own that
 * fails must not be proposed. */
static bool command_valid(const struct command *c)
{
	if (!kind_known(c->kind) || c->host == 0 || c->host >= HOSTS_MAX)
		return false;
	if ((c->number != 0) != command_numbered(c->kind))
		return false;
	if (c->flags & ~kind_flags(c->kind))
		return false;
	if (kind_has_key(c->kind) != (c->key_len != 0))
		return false;
	if (c->kind == COMMAND_ACQUIRE ? c->mode != LOCK_MODE_EX && c->mode != LOCK_MODE_PR : c->mode != 0)
		return false;
	if (c->kind == COMMAND_RELEASE)
		return c->release.used <= LOCK_RANGE;
	if (c->kind == COMMAND_FOUND)
		return c->found.history != 0;
	return true;
}

void command_encode(struct writer *w, const struct command *c)
{
	ASSERT(command_valid(c));
	put_u8(w, c->kind);
	put_u16(w, c->host);
	put_u64(w, c->incarnation);
	put_u64(w, c->number);
	switch (c->kind) {
	case COMMAND_FOUND:
		put_u64(w, c->found.history);
		put_u32(w, c->found.rows);
		put_u32(w, c->found.cells);
		put_u32(w, c->found.waits);
		break;
	case COMMAND_HOST_UP:
		put_u64(w, c->host_up.nonce);
		put_u64(w, c->host_up.expected);
		put_u64(w, c->host_up.heir_of);
		break;
	case COMMAND_HOST_DOWN:
		put_u64(w, c->ballot);
		break;
	case COMMAND_SWEEP:
		put_u32(w, c->row);
		break;
	case COMMAND_RELEASE:
		put_u64(w, c->release.delegation);
		put_u32(w, c->release.used);
		break;
	}
	if (kind_flags(c->kind))
		put_u8(w, c->flags);
	if (c->kind == COMMAND_ACQUIRE)
		put_u8(w, c->mode);
	if (kind_has_key(c->kind)) {
		put_u8(w, c->key_len);
		put_bytes(w, c->key, c->key_len);
	}
}

static void key_decode(struct reader *r, struct command *c)
{
	uint8_t len = get_u8(r);
	const unsigned char *key = get_bytes(r, len);

	if (!key)
		return;
	c->key_len = len;
	memcpy(c->key, key, len);
}

bool command_decode(struct reader *r, struct command *ret)
{
	struct command c; /* its key is not cleared: it is written as far as it is read */

	memset(&c, 0, COMMAND_HEAD);
	c.kind = get_u8(r);
	c.host = get_u16(r);
	c.incarnation = get_u64(r);
	c.number = get_u64(r);
	switch (c.kind) {
	case COMMAND_FOUND:
		c.found.history = get_u64(r);
		c.found.rows = get_u32(r);
		c.found.cells = get_u32(r);
		c.found.waits = get_u32(r);
		break;
	case COMMAND_HOST_UP:
		c.host_up.nonce = get_u64(r);
		c.host_up.expected = get_u64(r);
		c.host_up.heir_of = get_u64(r);
		break;
	case COMMAND_HOST_DOWN:
		c.ballot = get_u64(r);
		break;
	case COMMAND_SWEEP:
		c.row = get_u32(r);
		break;
	case COMMAND_RELEASE:
		c.release.delegation = get_u64(r);
		c.release.used = get_u32(r);
		break;
	}
	if (kind_flags(c.kind))
		c.flags = get_u8(r);
	if (c.kind == COMMAND_ACQUIRE)
		c.mode = get_u8(r);
	if (kind_has_key(c.kind))
		key_decode(r, &c);
	if (!r->ok || !command_valid(&c)) {
		r->ok = false;
		return false;
	}
	memcpy(ret, &c, COMMAND_HEAD + c.key_len);
	return true;
}

const char *command_name(uint8_t kind)
{
	static const char *const names[] = {
		[COMMAND_FOUND] = "found",
		[COMMAND_HOST_UP] = "host-up",
		[COMMAND_ACQUIRE] = "acquire",
		[COMMAND_RELEASE] = "release",
		[COMMAND_CANCEL] = "cancel",
		[COMMAND_HOST_DOWN] = "host-down",
		[COMMAND_SWEEP] = "sweep",
	};

	return kind_known(kind) ? names[kind] : "unknown";
}
