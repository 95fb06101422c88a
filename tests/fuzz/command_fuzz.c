/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command_fuzz: the input is read as a value of the log, and as a snapshot (once as it is, once with
 * its hash put right). A command that decodes encodes to the same bytes; a snapshot that verifies can
 * be installed, written and verified again; and on what was installed every command can be applied.
 */
#include "../../lib/base.h"
#include "../../shm/state/apply.h"
#include "../../shm/state/snapshot.h"
#include "../../shm/state/snapshot_records.h"

#define BYTES_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct tables *empty_tables(void)
{
	static const struct table_capacity capacity = { .rows = 3, .cells = 3, .waits = 3 };
	static struct tables *t;

	if (!t)
		t = aligned_alloc(4096, tables_size(&capacity));
	memset(t, 0, tables_size(&capacity));
	tables_format(t, &capacity, "fuzz", 1);
	return t;
}

/* All that a liar can do is to let a key stand twice. */
static bool sound(const struct tables *t)
{
	const char *wrong = table_check(t);

	ASSERT(!wrong || strstr(wrong, "twice, or is not found"));
	return !wrong;
}

/* Makes the command the next one of its host, so that it gets somewhere. */
static void apply(struct tables *t, struct command *c, uint64_t slot)
{
	struct host_row *h = tables_host(t, c->host);
	struct effects effects;

	if (c->kind == COMMAND_HOST_UP) {
		c->host_up.expected = h->incarnation;
		if (c->host_up.heir_of % 2)
			c->host_up.heir_of = h->nonce;
	} else if (c->kind != COMMAND_FOUND) {
		c->incarnation = h->incarnation;
		c->number = command_numbered(c->kind) ? h->last_number + 1 : 0;
		c->row = c->kind == COMMAND_SWEEP ? h->sweep : c->row;
	}
	apply_command(t, NULL, c, slot, &effects);
}

static void read_commands(struct tables *t, const uint8_t *bytes, size_t len)
{
	struct reader r = reader_on(bytes, len);
	unsigned char again[COMMAND_BYTES_MAX];
	struct command c;
	size_t from = 0;

	for (uint64_t slot = 1; command_decode(&r, &c); slot++) {
		struct writer w = writer_on(again, sizeof(again));

		command_encode(&w, &c);
		ASSERT(w.ok && w.len == r.at - from);
		ASSERT(memcmp(again, bytes + from, w.len) == 0);
		from = r.at;
		apply(t, &c, slot);
		ASSERT(sound(t));
	}
	ASSERT(!r.ok);
}

/* True when it was taken and makes sense. */
static bool read_snapshot(struct tables *t, const uint8_t *bytes, size_t len)
{
	static uint64_t again[BYTES_MAX / 4];
	uint64_t size;

	if (snapshot_verify(t, bytes, len))
		return false;
	snapshot_install(t, bytes, len);
	size = snapshot_size(t);
	ASSERT(size == len);
	ASSERT(snapshot_write(t, again, sizeof(again)) == size);
	ASSERT(!snapshot_verify(t, again, size));
	return sound(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static unsigned char right[BYTES_MAX];
	struct tables *t = empty_tables();
	size_t split;

	read_commands(t, bytes, len);
	read_snapshot(empty_tables(), bytes, len);

	/* Its length in the first two bytes, the snapshot, then commands. */
	if (len < 2)
		return 0;
	split = (size_t)bytes[0] | (size_t)bytes[1] << 8;
	bytes += 2;
	len -= 2;
	if (split < HASH_BYTES || split > MIN(len, sizeof(right)))
		return 0;
	memcpy(right, bytes, split);
	struct writer w = writer_on(right + split - HASH_BYTES, HASH_BYTES);

	uint64_t hashed = 0;

	put_u64(&w, snapshot_hash_on(SNAPSHOT_MAGIC, right, &hashed, split - HASH_BYTES, split - HASH_BYTES));
	t = empty_tables();
	if (read_snapshot(t, right, split))
		read_commands(t, bytes + split, len - split);
	return 0;
}
