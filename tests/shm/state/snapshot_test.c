/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot: the agreed part goes over whole, or is refused. */
#include <criterion/criterion.h>

#include "../../../shm/state/snapshot_records.h"
#include "state.h"

static struct state from, to;
static unsigned char *bytes;
static uint64_t len;

/* Tables in which every list has something: free and used rows, cells and waits, and deaths. */
static void fill(struct state *s, uint64_t seed, unsigned steps)
{
	for (unsigned i = 0; i < steps; i++) {
		struct command c = state_random(s, &seed, 6, 16);

		state_apply(s, &c);
	}
}

/* Two share a lock for which somebody waits, and another has an owner for whom somebody waits. */
static bool some_share(void)
{
	unsigned shared = 0, owned = 0;

	for (uint32_t i = 1; i <= from.tables->agreed.rows_high; i++) {
		struct lock_value v = table_value(from.tables, i);

		if (!tables_row(from.tables, i)->key_len || !v.waiting)
			continue;
		shared += v.holders > 1;
		owned += v.mode == LOCK_MODE_EX;
	}
	return shared && owned;
}

static void up(void)
{
	uint64_t seed = 1;

	state_init(&from, 12, 8, 16);
	state_init(&to, 12, 8, 16);
	do {
		const struct agreed *a = &from.tables->agreed;

		fill(&from, ++seed, 50);
		if (a->rows_free && a->cells_free && a->waits_free && a->cells_used > 1 && a->waits_used > 2 && a->died_count > 1 &&
		    some_share())
			break;
	} while (true);
	len = snapshot_size(from.tables);
	bytes = malloc(snapshot_room(from.tables) + 8);
	cr_assert_eq(snapshot_write(from.tables, bytes, snapshot_room(from.tables)), len);
}

static void down(void)
{
	free(bytes);
	state_release(&from);
	state_release(&to);
}

TestSuite(snapshot, .init = up, .fini = down);

/* A liar: changes the bytes and makes the hash right again. */
static void rehash(unsigned char *at, uint64_t n)
{
	struct writer w = writer_on(at + n - HASH_BYTES, HASH_BYTES);

	uint64_t hashed = 0;

	put_u64(&w, snapshot_hash_on(SNAPSHOT_MAGIC, at, &hashed, n - HASH_BYTES, n - HASH_BYTES));
}

static struct snapshot_view view(void)
{
	struct snapshot_view v;

	cr_assert_null(snapshot_open(to.tables, bytes, len, &v));
	return v;
}

static void lie(uint64_t at, uint64_t value, size_t size, const char *what)
{
	unsigned char kept[8];
	struct writer w = writer_on(bytes + at, size);

	memcpy(kept, bytes + at, size);
	put_uint(&w, value, size);
	cr_assert_neq(memcmp(kept, bytes + at, size), 0, "%s: the lie is the truth", what);
	rehash(bytes, len);
	cr_assert_not_null(snapshot_verify(to.tables, bytes, len), "%s", what);
	memcpy(bytes + at, kept, size);
	rehash(bytes, len);
	cr_assert_null(snapshot_verify(to.tables, bytes, len));
}

Test(snapshot, the_copy_is_equal)
{
	state_copy(&to, &from);
	state_check(&to);
	cr_assert_eq(snapshot_state_hash(to.tables), snapshot_state_hash(from.tables));
}

Test(snapshot, the_copy_goes_on_as_the_original)
{
	uint64_t random = 9;

	state_copy(&to, &from);
	for (unsigned i = 0; i < 500; i++) {
		struct command c = state_random(&from, &random, 6, 16);

		state_apply(&from, &c);
		state_apply(&to, &c);
		cr_assert_eq(snapshot_state_hash(to.tables), snapshot_state_hash(from.tables));
	}
}

Test(snapshot, whatever_stood_there_before_is_gone)
{
	struct state empty;

	state_init(&empty, 12, 8, 16);
	state_copy(&from, &empty);
	state_check(&from);
	cr_assert_eq(snapshot_state_hash(from.tables), snapshot_state_hash(empty.tables));
	state_copy(&from, &to);
	fill(&from, 99, 300);
	state_check(&from);
	state_release(&empty);
}

Test(snapshot, a_copy_of_a_copy_is_the_same_bytes)
{
	uint64_t room = snapshot_room(from.tables);
	unsigned char *again = malloc(room);

	state_copy(&to, &from);
	cr_assert_eq(snapshot_size(to.tables), len);
	snapshot_write(to.tables, again, room);
	cr_assert_eq(memcmp(again, bytes, len), 0);
	free(again);
}

Test(snapshot, tables_are_not_ready_until_the_caller_says_so)
{
	cr_assert_eq(to.tables->ready, 1);
	snapshot_install(to.tables, bytes, len);
	cr_assert_eq(to.tables->ready, 0);
}

Test(snapshot, full_tables_need_no_more_than_is_said)
{
	static const struct table_capacity capacity = { .rows = 12, .cells = 8, .waits = 16 };
	struct agreed *a = &from.tables->agreed;
	struct agreed kept = *a;

	a->rows_high = 12;
	a->cells_high = 8;
	a->waits_high = 16;
	for (uint32_t host = 1; host < HOSTS_MAX; host++)
		tables_host(from.tables, host)->incarnation = 1;
	cr_assert_eq(snapshot_size(from.tables), snapshot_size_max(&capacity));
	cr_assert_eq(snapshot_room(from.tables), snapshot_room_max(&capacity));
	*a = kept;
}

Test(snapshot, a_lock_takes_as_much_room_as_the_manual_says)
{
	struct table_capacity c = table_capacity_for(1u << 20);
	uint64_t each = snapshot_room_max(&c) >> 20;

	cr_assert_eq(each, 181, "%zu: and paxshmd.conf(5) says how many, and a quarter of it for the tail", (size_t)each);
}

Test(snapshot, installed_again_after_a_death_in_the_middle_it_is_whole)
{
	uint32_t high = from.tables->agreed.rows_high;

	state_copy(&to, &from);
	/* As far as somebody else's rows, counts and links go, anything may stand there. */
	fill(&to, 5, 400);
	to.tables->agreed.died_head = high;
	to.tables->agreed.cells_free = 1;
	to.tables->ready = 0;
	snapshot_install(to.tables, bytes, len);
	state_check(&to);
	cr_assert_eq(snapshot_state_hash(to.tables), snapshot_state_hash(from.tables));
}

Test(snapshot, who_watched_a_row_sees_that_it_changed)
{
	uint32_t seq = tables_row(from.tables, 1)->seq;

	state_copy(&from, &from);
	cr_assert_neq(tables_row(from.tables, 1)->seq, seq);
}

Test(snapshot, a_hosts_own_view_is_its_own)
{
	struct table_row *row;
	struct lock_value v;
	uint32_t i = 1;

	while (!tables_row(from.tables, i)->key_len)
		i++;
	v = table_value(from.tables, i);
	v.gate = 4711;
	uint64_t hash = snapshot_state_hash(from.tables);

	table_set(from.tables, NULL, i, &v);
	strcpy(tables_host(from.tables, 2)->name, "hostb");
	tables_host(from.tables, 2)->linked = 1;
	tables_host(from.tables, 2)->role = HOST_VOTER;
	cr_assert_eq(snapshot_state_hash(from.tables), hash);

	strcpy(tables_host(to.tables, 2)->name, "mine");
	tables_host(to.tables, 2)->role = HOST_OBSERVER;
	state_copy(&to, &from);
	cr_assert_str_eq(tables_host(to.tables, 2)->name, "mine");
	cr_assert_eq(tables_host(to.tables, 2)->role, HOST_OBSERVER);
	cr_assert_eq(tables_host(to.tables, 2)->linked, 0);
	row = tables_row(to.tables, i);
	cr_assert_neq(row->key_len, 0);
	cr_assert_eq(table_value(to.tables, i).gate, 0);
}

Test(snapshot, the_hash_sees_every_agreed_field)
{
	uint64_t hash = snapshot_state_hash(from.tables);
	struct agreed *a = &from.tables->agreed;
	uint32_t i = 1;

	a->applied++;
	cr_assert_neq(snapshot_state_hash(from.tables), hash);
	a->applied--;
	tables_host(from.tables, 2)->last_number++;
	cr_assert_neq(snapshot_state_hash(from.tables), hash);
	tables_host(from.tables, 2)->last_number--;
	tables_host(from.tables, 2)->down ^= 1;
	cr_assert_neq(snapshot_state_hash(from.tables), hash);
	tables_host(from.tables, 2)->down ^= 1;
	a->leads++;
	cr_assert_neq(snapshot_state_hash(from.tables), hash);
	a->leads--;
	while (!tables_row(from.tables, i)->key_len)
		i++;
	struct lock_value v = table_value(from.tables, i);

	v.base++;
	table_set(from.tables, NULL, i, &v);
	cr_assert_neq(snapshot_state_hash(from.tables), hash);
	v.base--;
	table_set(from.tables, NULL, i, &v);
	cr_assert_eq(snapshot_state_hash(from.tables), hash);
}

Test(snapshot, the_hash_does_not_depend_on_chains)
{
	uint64_t hash = snapshot_state_hash(from.tables);

	table_rebuild(from.tables);
	cr_assert_eq(snapshot_state_hash(from.tables), hash);
}

Test(snapshot, who_is_down_and_who_leads_go_over)
{
	struct command zombie;

	state_up(&from, 3);
	state_leads(&from, from.tables->agreed.leads + 1);
	zombie = state_command(&from, COMMAND_HOST_DOWN, 3);
	state_up(&from, 2);
	state_down(&from, 2);
	state_leads(&from, zombie.ballot + 1);
	state_copy(&to, &from);
	cr_assert_eq(host_table_alive(to.tables, 2), 0);
	cr_assert_eq(tables_host(to.tables, 2)->incarnation, tables_host(from.tables, 2)->incarnation);
	cr_assert_eq(to.tables->agreed.leads, zombie.ballot + 1);
	state_apply(&to, &zombie);
	cr_assert_neq(host_table_alive(to.tables, 3), 0, "void here as it is there");

	state_up(&from, 2);
	state_copy(&to, &from);
	cr_assert_eq(host_table_alive(to.tables, 2), tables_host(from.tables, 2)->incarnation);
}

/* ---- refusals ---- */

Test(snapshot, cut_short_or_too_long_it_is_refused)
{
	for (uint64_t cut = 0; cut < len; cut++)
		cr_assert_not_null(snapshot_verify(to.tables, bytes, cut));
	memset(bytes + len, 0, 8);
	cr_assert_not_null(snapshot_verify(to.tables, bytes, len + 1));
	cr_assert_null(snapshot_verify(to.tables, bytes, len));
}

Test(snapshot, each_bit_that_turns_is_seen)
{
	for (uint64_t i = 0; i < len; i++) {
		bytes[i] ^= 1u << (i % 8);
		cr_assert_not_null(snapshot_verify(to.tables, bytes, len), "byte %lu", i);
		bytes[i] ^= 1u << (i % 8);
	}
}

Test(snapshot, other_capacities_are_refused)
{
	struct state other;

	state_init(&other, 13, 8, 16);
	cr_assert_str_eq(snapshot_verify(other.tables, bytes, len), "other capacities");
	state_release(&other);
	state_init(&other, 12, 9, 16);
	cr_assert_str_eq(snapshot_verify(other.tables, bytes, len), "other capacities");
	state_release(&other);
	state_init(&other, 12, 8, 17);
	cr_assert_str_eq(snapshot_verify(other.tables, bytes, len), "other capacities");
	state_release(&other);
}

Test(snapshot, another_layout_version_is_refused)
{
	lie(8, LAYOUT_VERSION + 1, 4, "version");
	lie(0, 1, 8, "magic");
}

/* Rows by what they are. */
static uint32_t row_which(const struct snapshot_view *v, bool (*is)(const struct row_record *r))
{
	for (uint32_t i = 1; i <= v->extent.rows; i++) {
		struct row_record r = snapshot_row(v, i);

		if (is(&r))
			return i;
	}
	cr_assert_fail("no such row");
	return 0;
}

static bool is_free(const struct row_record *r) { return !r->key_len; }
static bool is_died(const struct row_record *r) { return r->key_len && !r->value.delegation; }
static bool is_waited_for(const struct row_record *r) { return r->value.waiting != 0 && r->value.mode == LOCK_MODE_EX; }
static bool is_shared(const struct row_record *r) { return r->value.holders > 1 && r->value.waiting; }
static bool has_cells(const struct row_record *r) { return r->cell[0] != 0; }
static bool is_held(const struct row_record *r) { return r->value.mode == LOCK_MODE_EX; }

static uint64_t row_at(const struct snapshot_view *v, bool (*is)(const struct row_record *r))
{
	return v->extent.rows_at + (uint64_t)(row_which(v, is) - 1) * ROW_BYTES;
}

#define ROW_NEXT 4
#define ROW_HEAD 8
#define ROW_TAIL 12
#define ROW_CELL 16
#define ROW_VALUE (28 + KEY_INLINE)

Test(snapshot, agreed_counts_must_fit)
{
	struct snapshot_view v = view();
	uint64_t at = HEAD_BYTES + 6 * 8 + 4;
	const uint32_t high[] = { v.extent.rows, v.extent.cells, v.extent.waits };
	const uint32_t died[] = { v.agreed.died_head, v.agreed.died_tail, v.agreed.died_count };

	for (unsigned pool = 0; pool < 3; pool++, at += 12) {
		lie(at, high[pool] + 1, 4, "high-water mark");
		lie(at, UINT32_MAX, 4, "high-water mark");
		lie(at + 4, high[pool] + 1, 4, "free list's head");
		lie(at + 4, 0, 4, "free list's head");
		lie(at + 8, high[pool] + 1, 4, "used");
		lie(at + 8, 0, 4, "used");
	}
	for (unsigned i = 0; i < 3; i++) {
		lie(at + 4 * i, UINT32_MAX, 4, "died list");
		lie(at + 4 * i, died[i] - 1, 4, "died list");
	}
}

Test(snapshot, hosts_must_fit)
{
	struct snapshot_view v = view();
	uint64_t at = v.extent.hosts_at;

	lie(HEAD_BYTES - 4, HOSTS_MAX, 4, "number of hosts");
	lie(at, 0, 2, "host 0");
	lie(at, HOSTS_MAX, 2, "a host too high");
	lie(at, snapshot_host(&v, 1).host, 2, "a host twice");
	lie(at + 2, 0, 8, "incarnation");
	lie(at + 26, 0, 4, "sweep");
	lie(at + 26, 13, 4, "sweep");
	lie(at + 30, 2, 1, "neither up nor down");
}

Test(snapshot, rows_must_fit)
{
	struct snapshot_view v = view();
	uint64_t held = row_at(&v, is_held), died = row_at(&v, is_died), freed = row_at(&v, is_free);

	lie(held, KEY_MAX + 1, 4, "key length");
	lie(held, 0, 4, "a row less");
	lie(held, 1, 4, "bytes behind the key");
	lie(freed, 5, 4, "a row more");
	lie(freed + ROW_NEXT, v.extent.rows + 1, 4, "free list out of range");
	lie(freed + ROW_NEXT, row_which(&v, is_free), 4, "free list in a circle");
	lie(held + ROW_VALUE, v.agreed.delegations + 1, 8, "delegation");
	lie(held + ROW_VALUE, 0, 8, "delegation 0");
	lie(held + ROW_VALUE + 16, 0, 8, "token 0");
	lie(held + ROW_VALUE + 16, UINT64_MAX, 8, "a token that wraps around");
	lie(HEAD_BYTES, UINT64_MAX, 8, "a slot that wraps around");
	lie(HEAD_BYTES + 8, 1, 8, "in the midst of a slot");
	lie(HEAD_BYTES + 3 * 8, UINT64_MAX, 8, "a floor that wraps around");
	lie(HEAD_BYTES + 4 * 8, UINT64_MAX, 8, "delegations that wrap around");
	lie(held + ROW_VALUE + 24, 0, 2, "host 0");
	lie(held + ROW_VALUE + 24, HOSTS_MAX, 2, "host");
	lie(held + ROW_VALUE + 27, 0x80, 1, "flags");
	lie(died + ROW_VALUE + 24, 1, 2, "a died row with a host");
	lie(died + ROW_VALUE + 27, 0, 1, "a died row without the flag");
	lie(died + ROW_VALUE + 28, 1, 4, "a died row with a queue");
	lie(died + ROW_HEAD, v.extent.rows + 1, 4, "died list out of range");
	lie(died + ROW_TAIL, row_which(&v, is_died), 4, "died list in a circle");
}

Test(snapshot, cells_belong_to_one_row)
{
	struct snapshot_view v = view();
	uint64_t row = row_at(&v, has_cells);
	struct row_record r = snapshot_row(&v, row_which(&v, has_cells));
	uint64_t cell = v.extent.cells_at + (uint64_t)(r.cell[0] - 1) * CELL_BYTES;
	uint64_t freed = v.extent.cells_at + (uint64_t)(v.agreed.cells_free - 1) * CELL_BYTES;

	lie(row + ROW_CELL, 0, 4, "no cell");
	lie(row + ROW_CELL, v.extent.cells + 1, 4, "cell out of range");
	lie(row + ROW_CELL, v.agreed.cells_free, 4, "a free cell");
	lie(row + ROW_CELL + 8, r.cell[0], 4, "a cell twice");
	lie(cell, 0, 4, "a cell without its row");
	lie(freed, 1, 4, "a free cell with a row");
	lie(freed + 4, v.agreed.cells_free, 4, "free cells in a circle");
}

Test(snapshot, queues_end_where_they_should)
{
	struct snapshot_view v = view();
	uint64_t row = row_at(&v, is_waited_for);
	struct row_record r = snapshot_row(&v, row_which(&v, is_waited_for));
	uint64_t wait = v.extent.waits_at + (uint64_t)(r.queue_head - 1) * WAIT_BYTES;
	uint64_t freed = v.extent.waits_at + (uint64_t)(v.agreed.waits_free - 1) * WAIT_BYTES;

	lie(row + ROW_HEAD, 0, 4, "no queue");
	lie(row + ROW_HEAD, v.extent.waits + 1, 4, "queue out of range");
	lie(row + ROW_TAIL, 0, 4, "tail");
	lie(row + ROW_VALUE + 28, r.value.waiting + 1, 4, "length");
	lie(row + ROW_VALUE + 28, r.value.waiting - 1, 4, "length");
	lie(row + ROW_VALUE + 28, UINT32_MAX, 4, "length");
	lie(wait, 0, 4, "an entry without its row");
	lie(wait + 4, r.queue_head, 4, "a queue in a circle");
	lie(wait + 8, 0, 2, "host 0");
	lie(wait + 8, HOSTS_MAX, 2, "host");
	lie(freed, 1, 4, "a free entry with a row");
	lie(freed + 4, v.agreed.waits_free, 4, "free entries in a circle");
}

Test(snapshot, those_who_share_fit_their_row)
{
	struct snapshot_view v = view();
	uint64_t row = row_at(&v, is_shared);
	struct row_record r = snapshot_row(&v, row_which(&v, is_shared));
	uint64_t holder = v.extent.waits_at + (uint64_t)(r.value.holder - 1) * WAIT_BYTES;
	uint64_t waits = v.extent.waits_at + (uint64_t)(r.queue_head - 1) * WAIT_BYTES;
	struct wait_record first = snapshot_wait(&v, r.value.holder), second = snapshot_wait(&v, first.next);

	lie(row + ROW_VALUE, first.delegation - 1, 8, "a later delegation than the row's last");
	lie(row + ROW_VALUE + 8, 1, 8, "an owner's life beside them");
	lie(row + ROW_VALUE + 16, first.base, 8, "tokens that are given come again");
	lie(row + ROW_VALUE + 24, 1, 2, "an owner beside them");
	lie(row + ROW_VALUE + 26, LOCK_MODE_EX, 1, "another mode");
	lie(row + ROW_VALUE + 26, 0, 1, "no mode");
	lie(row + ROW_VALUE + 30, 0, 2, "shared by nobody");
	lie(row + ROW_VALUE + 30, r.value.holders + 1u, 2, "more than there are");
	lie(row + ROW_VALUE + 30, r.value.holders - 1u, 2, "less than there are");
	lie(row + ROW_VALUE + 30, UINT16_MAX, 2, "more than all hosts");
	lie(row + ROW_VALUE + 32, 0, 4, "no first one");
	lie(row + ROW_VALUE + 32, v.extent.waits + 1, 4, "first one out of range");
	lie(row + ROW_VALUE + 32, r.queue_head, 4, "who waits as a holder");
	lie(row + ROW_HEAD, r.value.holder, 4, "a holder who waits");
	lie(holder, 0, 4, "without its row");
	lie(holder + 4, r.value.holder, 4, "in a circle");
	lie(holder + 8, second.host, 2, "a host twice");
	lie(holder + 8, snapshot_wait(&v, r.queue_head).host, 2, "a host that has it and waits");
	lie(holder + 8, HOSTS_MAX, 2, "host");
	lie(holder + 10, LOCK_MODE_EX, 1, "mode");
	lie(holder + 11, 0, 8, "incarnation");
	lie(holder + 19, 0, 8, "no delegation");
	lie(holder + 27, 0, 8, "no token");
	lie(holder + 27, UINT64_MAX - 5, 8, "tokens that wrap around");
	lie(waits + 10, 0, 1, "no mode that is waited for");
	lie(waits + 19, 1, 8, "who waits has a delegation");
}

Test(snapshot, the_hash_sees_who_shares)
{
	uint64_t hash = snapshot_state_hash(from.tables);
	struct snapshot_view v = view();
	struct row_record r = snapshot_row(&v, row_which(&v, is_shared));
	struct table_wait *w = tables_wait(from.tables, r.value.holder), kept = *w;

#define seen(change) \
	do { \
		change; \
		cr_assert_neq(snapshot_state_hash(from.tables), hash, #change); \
		*w = kept; \
	} while (0)
	seen(w->host ^= 1);
	seen(w->mode ^= 1);
	seen(w->incarnation ^= 1);
	seen(w->delegation ^= 1);
	seen(w->base ^= 1);
	cr_assert_eq(snapshot_state_hash(from.tables), hash);
}

Test(snapshot, what_is_taken_holds_together)
{
	uint64_t random = 3, taken = 0;
	unsigned char *liar = malloc(len);

	for (unsigned i = 0; i < 20000; i++) {
		memcpy(liar, bytes, len);
		for (unsigned n = 1 + (unsigned)(random_next(&random) % 2); n; n--)
			liar[random_next(&random) % len] = (unsigned char)(random_next(&random) % (n == 1 ? 256 : 16));
		rehash(liar, len);
		if (snapshot_verify(to.tables, liar, len))
			continue;
		taken++;
		snapshot_install(to.tables, liar, len);
		state_check(&to);
	}
	cr_assert_gt(taken, 1000);
	free(liar);
}
