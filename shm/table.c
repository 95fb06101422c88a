/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: see table.h. First shape and arithmetic, then the writer, then the readers, at the end the
 * check of everything.
 *
 * Where a row can be, and what a reader who still stands on it sees:
 *
 *   free --insert: key, value, then the chain--> linked --remove: unlink, version, key_len, seq--> free
 *
 * From the moment a removal has raised the version, whoever came over that chain starts over; so
 * from then on the row, its cells and its `next` may be anything.
 */
#include "table.h"

#include <errno.h>

#include "atom.h"

#define KEY_INLINE_WORDS (KEY_INLINE / 8)
#define KEY_CELL_WORDS (KEY_CELL / 8)
#define KEY_WORDS (KEY_INLINE_WORDS + KEY_CELLS * KEY_CELL_WORDS)

_Static_assert(KEY_WORDS * 8 >= KEY_MAX, "the longest key has room");

/* Looks a reader takes before it answers -EAGAIN: some ten microseconds of bad luck. */
#define READ_TRIES 256u

/* ---- a key as words: padded with zeros, so that equal keys are equal words ---- */

struct key_words {
	uint64_t hash;
	uint32_t len;
	uint64_t words[KEY_WORDS];
};

static bool key_words_init(struct key_words *k, const void *key, uint32_t len)
{
	if (len == 0 || len > KEY_MAX)
		return false;
	*k = (struct key_words){ .hash = hash_bytes(0, key, len), .len = len };
	memcpy(k->words, key, len);
	return true;
}

static uint32_t key_cells(uint32_t len)
{
	return len <= KEY_INLINE ? 0 : (len - KEY_INLINE + KEY_CELL - 1) / KEY_CELL;
}

/* ---- shape ---- */

struct shape { /* byte offsets */
	uint64_t buckets, rows, cells, waits, hosts, end;
	uint32_t n_buckets;
};

/* A bucket for each row, or nearly two: chains of one, mostly. */
static uint32_t buckets_for(uint32_t rows)
{
	uint32_t n = 1;

	while (n < rows)
		n *= 2;
	return n;
}

static struct shape shape_of(const struct table_capacity *c)
{
	struct shape s = { .n_buckets = buckets_for(c->rows) };

	s.buckets = align_up(sizeof(struct tables), 64);
	s.rows = align_up(s.buckets + (uint64_t)s.n_buckets * sizeof(table_bucket), 64);
	/* Index 0 means none: one more of each. */
	s.cells = align_up(s.rows + ((uint64_t)c->rows + 1) * sizeof(struct table_row), 64);
	s.waits = align_up(s.cells + ((uint64_t)c->cells + 1) * KEY_CELL, 64);
	s.hosts = align_up(s.waits + ((uint64_t)c->waits + 1) * sizeof(struct table_wait), 64);
	s.end = align_up(s.hosts + (uint64_t)HOSTS_MAX * sizeof(struct host_row), 4096);
	return s;
}

static bool capacity_fits(const struct table_capacity *c)
{
	return c->rows >= 1 && c->rows <= TABLE_ROWS_MAX && c->cells >= 1 && c->cells <= TABLE_ROWS_MAX &&
	       c->waits >= 1 && c->waits <= TABLE_ROWS_MAX;
}

struct table_capacity table_capacity_for(uint32_t rows)
{
	rows = MIN(MAX(rows, 1u), TABLE_ROWS_MAX);
	return (struct table_capacity){ .rows = rows, .cells = rows, .waits = MIN(2 * rows, TABLE_ROWS_MAX) };
}

uint64_t tables_size(const struct table_capacity *capacity)
{
	ASSERT(capacity_fits(capacity));
	return shape_of(capacity).end;
}

void tables_format(struct tables *t, const struct table_capacity *capacity, const char *cluster, uint16_t self)
{
	ASSERT(capacity_fits(capacity));
	struct shape s = shape_of(capacity);

	t->segment.version = LAYOUT_VERSION;
	t->segment.kind = SEGMENT_TABLES;
	t->segment.size = s.end;

	memcpy(t->cluster, cluster, strnlen(cluster, NAME_BYTES - 1));
	memcpy(t->space, "default", sizeof("default"));
	t->cluster_id = hash_bytes(0, t->cluster, strlen(t->cluster));
	t->self = self;
	t->n_buckets = s.n_buckets;
	t->n_rows = capacity->rows;
	t->n_cells = capacity->cells;
	t->n_waits = capacity->waits;
	t->n_hosts = HOSTS_MAX;
	t->buckets_at = s.buckets;
	t->rows_at = s.rows;
	t->cells_at = s.cells;
	t->waits_at = s.waits;
	t->hosts_at = s.hosts;

	t->deadline_ns = NEVER;
	t->deadline_boot_ns = NEVER;
	for (uint32_t host = 0; host < HOSTS_MAX; host++)
		tables_host(t, host)->sweep = HOST_SWEPT; /* no older incarnation, nothing left of it */
	t->ready = 1;
	atom_store_release(&t->segment.magic, SEGMENT_MAGIC);
}

static bool name_ends(const char name[NAME_BYTES])
{
	return memchr(name, '\0', NAME_BYTES) != NULL;
}

const char *tables_verify(const struct tables *t, uint64_t size)
{
	struct table_capacity c;
	struct shape s;

	if (size < sizeof(*t))
		return "the segment is too small";
	if (atom_load_acquire(&t->segment.magic) != SEGMENT_MAGIC)
		return "the segment is not one of paxshm, or was never finished";
	if (t->segment.version != LAYOUT_VERSION)
		return "the segment is of another layout version";
	if (t->segment.kind != SEGMENT_TABLES)
		return "the segment is of another kind";

	c = (struct table_capacity){ .rows = t->n_rows, .cells = t->n_cells, .waits = t->n_waits };
	if (!capacity_fits(&c) || t->n_hosts != HOSTS_MAX)
		return "a capacity is out of range";
	s = shape_of(&c);
	if (t->segment.size != s.end || size < s.end)
		return "the segment's size does not fit its capacities";
	if (t->n_buckets != s.n_buckets || t->buckets_at != s.buckets || t->rows_at != s.rows ||
	    t->cells_at != s.cells || t->waits_at != s.waits || t->hosts_at != s.hosts)
		return "an offset does not fit the capacities";
	if (t->self >= t->n_hosts)
		return "the host's id is out of range";
	if (!name_ends(t->cluster) || !name_ends(t->space))
		return "a name does not end";
	return NULL;
}

/* ---- buckets and rows, for both sides ---- */

static uint32_t bucket_head(table_bucket b)
{
	return (uint32_t)b;
}

static uint32_t bucket_version(table_bucket b)
{
	return (uint32_t)(b >> 32);
}

static table_bucket bucket_of(uint32_t version, uint32_t head)
{
	return (table_bucket)version << 32 | head;
}

/* The word of the key that row shows at place i; 0 where a torn row points nowhere. */
static uint64_t row_key_word(const struct tables *t, const struct table_row *row, uint32_t i)
{
	uint32_t cell;

	if (i < KEY_INLINE_WORDS)
		return atom_load_acquire(&row->key[i]);
	i -= KEY_INLINE_WORDS;
	cell = atom_load_acquire(&row->cell[i / KEY_CELL_WORDS]);
	return cell <= t->n_cells ? atom_load_acquire(tables_cell(t, cell) + i % KEY_CELL_WORDS) : 0;
}

static bool row_has_key(const struct tables *t, const struct table_row *row, const struct key_words *k)
{
	if (atom_load_acquire(&row->hash) != k->hash || atom_load_acquire(&row->key_len) != k->len)
		return false;
	for (uint32_t i = 0; i < (k->len + 7) / 8; i++)
		if (row_key_word(t, row, i) != k->words[i])
			return false;
	return true;
}

static void row_copy_value(const struct table_row *row, uint32_t seq, struct lock_value *ret)
{
	uint64_t words[LOCK_VALUE_WORDS];

	for (uint32_t i = 0; i < LOCK_VALUE_WORDS; i++)
		words[i] = atom_load_acquire(&row->value[seq & 1][i]); /* pairs with row_show */
	memcpy(ret, words, sizeof(*ret));
}

/* ---- the writer ---- */

/* A pool: the indices 1 .. high were ever in use; free ones are linked through their own memory. */
struct pool {
	uint32_t *high, *free, *used, capacity;
};

static struct pool pool_of_rows(struct tables *t)
{
	return (struct pool){ &t->agreed.rows_high, &t->agreed.rows_free, &t->agreed.rows_used, t->n_rows };
}

static struct pool pool_of_cells(struct tables *t)
{
	return (struct pool){ &t->agreed.cells_high, &t->agreed.cells_free, &t->agreed.cells_used, t->n_cells };
}

static struct pool pool_of_waits(struct tables *t)
{
	return (struct pool){ &t->agreed.waits_high, &t->agreed.waits_free, &t->agreed.waits_used, t->n_waits };
}

static uint32_t pool_left(const struct pool *p)
{
	return p->capacity - *p->used;
}

/* What pool_take will answer next: the caller looks up where its free link leads. */
static uint32_t pool_next(const struct pool *p)
{
	return *p->free ? *p->free : *p->high + 1;
}

/* Takes the index that pool_next named. `link` is its free link. */
static void pool_take(struct pool *p, struct undo *u, uint32_t link)
{
	if (*p->free)
		SET_RELEASE(u, *p->free, link);
	else
		SET_RELEASE(u, *p->high, *p->high + 1);
	ASSERT(*p->high <= p->capacity);
	SET_RELEASE(u, *p->used, *p->used + 1);
}

/* Gives an index back whose free link the caller has set to *p->free. */
static void pool_give(struct pool *p, struct undo *u, uint32_t i)
{
	ASSERT(i >= 1 && i <= *p->high && *p->used > 0);
	SET_RELEASE(u, *p->free, i);
	SET_RELEASE(u, *p->used, *p->used - 1);
}

uint32_t table_find(const struct tables *t, const void *key, uint32_t len)
{
	struct key_words k;

	if (!key_words_init(&k, key, len))
		return 0;
	for (uint32_t i = bucket_head(*tables_bucket(t, k.hash)); i; i = tables_row(t, i)->next)
		if (row_has_key(t, tables_row(t, i), &k))
			return i;
	return 0;
}

/* Fills the hidden copy and shows it. Each word with release: a reader who meets one of them in a
 * copy that it still takes for the shown one also finds the seq that an earlier call raised. */
static void row_show(struct undo *u, struct table_row *row, const struct lock_value *value)
{
	uint64_t words[LOCK_VALUE_WORDS], *hidden = row->value[(row->seq + 1) & 1];

	memcpy(words, value, sizeof(words));
	undo_save(u, hidden, sizeof(words));
	for (uint32_t i = 0; i < LOCK_VALUE_WORDS; i++)
		atom_store_release(&hidden[i], words[i]);
	SET_RELEASE(u, row->seq, row->seq + 1);
}

static void store_words(struct undo *u, uint64_t *to, const uint64_t *words, uint32_t n)
{
	undo_save(u, to, n * 8);
	for (uint32_t i = 0; i < n; i++)
		atom_store_release(&to[i], words[i]);
}

/* Takes cells for what does not fit into the row, and writes the key. */
static void row_write_key(struct tables *t, struct undo *u, struct table_row *row, const struct key_words *k)
{
	struct pool cells = pool_of_cells(t);
	const uint64_t *rest = k->words + KEY_INLINE_WORDS;

	SET_RELEASE(u, row->hash, k->hash);
	store_words(u, row->key, k->words, KEY_INLINE_WORDS);
	for (uint32_t c = 0; c < KEY_CELLS; c++, rest += KEY_CELL_WORDS) {
		uint32_t i = 0;

		if (c < key_cells(k->len)) {
			i = pool_next(&cells);
			pool_take(&cells, u, (uint32_t)*tables_cell(t, i));
			store_words(u, tables_cell(t, i), rest, KEY_CELL_WORDS);
		}
		SET_RELEASE(u, row->cell[c], i);
	}
}

static void row_free_cells(struct tables *t, struct undo *u, struct table_row *row, uint32_t n)
{
	struct pool cells = pool_of_cells(t);

	for (uint32_t c = n; c-- > 0;) { /* last first: they are taken again in the same order */
		SET_RELEASE(u, *tables_cell(t, row->cell[c]), (uint64_t)*cells.free);
		pool_give(&cells, u, row->cell[c]);
		SET_RELEASE(u, row->cell[c], 0);
	}
}

uint32_t table_insert(struct tables *t, struct undo *u, const void *key, uint32_t len)
{
	struct pool rows = pool_of_rows(t), cells = pool_of_cells(t);
	struct key_words k;
	bool fits = key_words_init(&k, key, len);

	ASSERT(fits);
	ASSERT(table_find(t, key, len) == 0);
	if (pool_left(&rows) == 0 || pool_left(&cells) < key_cells(len))
		return 0;

	uint32_t i = pool_next(&rows);
	struct table_row *row = tables_row(t, i);
	table_bucket *bucket = tables_bucket(t, k.hash);

	pool_take(&rows, u, row->next);
	ASSERT(row->key_len == 0);
	SET(u, row->queue_head, 0);
	SET(u, row->queue_tail, 0);
	row_write_key(t, u, row, &k);
	row_show(u, row, &(struct lock_value){ 0 });
	SET_RELEASE(u, row->key_len, len); /* from here on table_read_row shows it */
	SET_RELEASE(u, row->next, bucket_head(*bucket));
	SET_RELEASE(u, *bucket, bucket_of(bucket_version(*bucket), i)); /* from here on table_read does */
	return i;
}

/* Takes the row out of its chain by one store, and then raises the version. */
static void row_unlink(struct tables *t, struct undo *u, uint32_t i)
{
	struct table_row *row = tables_row(t, i);
	table_bucket *bucket = tables_bucket(t, row->hash);
	uint32_t head = bucket_head(*bucket), before = head;

	if (head == i) { /* both at once */
		SET_RELEASE(u, *bucket, bucket_of(bucket_version(*bucket) + 1, row->next));
		return;
	}
	while (before && tables_row(t, before)->next != i)
		before = tables_row(t, before)->next;
	ASSERT(before);
	SET_RELEASE(u, tables_row(t, before)->next, row->next);
	SET_RELEASE(u, *bucket, bucket_of(bucket_version(*bucket) + 1, head));
}

void table_remove(struct tables *t, struct undo *u, uint32_t i)
{
	struct pool rows = pool_of_rows(t);
	struct table_row *row = tables_row(t, i);
	uint32_t n_cells = key_cells(row->key_len);

	ASSERT(i >= 1 && i <= t->agreed.rows_high);
	ASSERT(row->key_len != 0);
	row_unlink(t, u, i);
	/* For table_read_row, which comes over no chain: seq rises before the key changes. */
	SET_RELEASE(u, row->key_len, 0);
	SET_RELEASE(u, row->seq, row->seq + 1);
	row_free_cells(t, u, row, n_cells);
	SET_RELEASE(u, row->next, *rows.free);
	pool_give(&rows, u, i);
}

struct lock_value table_value(const struct tables *t, uint32_t i)
{
	const struct table_row *row = tables_row(t, i);
	struct lock_value value;

	row_copy_value(row, row->seq, &value);
	return value;
}

void table_set(struct tables *t, struct undo *u, uint32_t i, const struct lock_value *value)
{
	ASSERT(i >= 1 && i <= t->agreed.rows_high && tables_row(t, i)->key_len != 0);
	row_show(u, tables_row(t, i), value);
}

/* The whole words of the key, and of them the first `len` bytes. */
static void row_copy_key(const struct tables *t, const struct table_row *row, uint32_t len, void *ret_key)
{
	uint64_t words[KEY_WORDS];

	for (uint32_t i = 0; i < (len + 7) / 8; i++)
		words[i] = row_key_word(t, row, i);
	memcpy(ret_key, words, len);
}

uint32_t table_key(const struct tables *t, uint32_t i, void *ret_key)
{
	const struct table_row *row = tables_row(t, i);
	uint32_t len = row->key_len;

	ASSERT(len <= KEY_MAX);
	if (len)
		row_copy_key(t, row, len, ret_key);
	return len;
}

uint32_t table_wait_new(struct tables *t, struct undo *u)
{
	struct pool waits = pool_of_waits(t);

	if (pool_left(&waits) == 0)
		return 0;

	uint32_t i = pool_next(&waits);
	struct table_wait *wait = tables_wait(t, i);

	pool_take(&waits, u, wait->next);
	SET(u, *wait, (struct table_wait){ 0 });
	return i;
}

void table_wait_free(struct tables *t, struct undo *u, uint32_t i)
{
	struct pool waits = pool_of_waits(t);

	SET(u, *tables_wait(t, i), (struct table_wait){ .next = *waits.free });
	pool_give(&waits, u, i);
}

bool table_recover(struct tables *t, struct undo *u)
{
	bool any;

	/* Odd already: a successor died at this. The loads of readers pair with the release stores of
	 * the rollback: who sees a word that was put back also sees this one odd. */
	atom_store_release(&t->recoveries, t->recoveries | 1);
	any = undo_rollback(u);
	atom_store_release(&t->recoveries, t->recoveries + 1);
	return any;
}

void table_rebuild(struct tables *t)
{
	for (uint32_t b = 0; b < t->n_buckets; b++) {
		table_bucket *bucket = tables_bucket(t, b);

		atom_store_release(bucket, bucket_of(bucket_version(*bucket) + 1, 0));
	}
	for (uint32_t i = 1; i <= t->agreed.rows_high; i++) {
		struct table_row *row = tables_row(t, i);
		table_bucket *bucket = tables_bucket(t, row->hash);

		if (row->key_len == 0)
			continue;
		atom_store_release(&row->next, bucket_head(*bucket));
		atom_store_release(bucket, bucket_of(bucket_version(*bucket), i));
	}
	/* To the next even number: for who began before ready was 0 and ends when it is 1 again. */
	atom_store_release(&t->recoveries, (t->recoveries | 1) + 1);
}

/* ---- readers ---- */

enum look { LOOK_AGAIN,
	    LOOK_FOUND,
	    LOOK_NOTHING };

/* One walk along the chain of a key. Any index may be torn, so each is checked; and a walk that was
 * led into another chain ends when it sees the version move. */
static enum look look_up(const struct tables *t, const struct key_words *k, struct lock_value *ret)
{
	const table_bucket *bucket = tables_bucket(t, k->hash);
	table_bucket first = atom_load_acquire(bucket);
	enum look found = LOOK_NOTHING;
	uint32_t steps = 0;

	for (uint32_t i = bucket_head(first); i;) {
		const struct table_row *row;
		uint32_t seq;

		if (i > t->n_rows || steps++ > t->n_rows)
			return LOOK_AGAIN;
		row = tables_row(t, i);
		seq = atom_load_acquire(&row->seq);
		if (row_has_key(t, row, k)) {
			row_copy_value(row, seq, ret);
			if (atom_load_acquire(&row->seq) != seq)
				return LOOK_AGAIN;
			found = LOOK_FOUND;
			break;
		}
		i = atom_load_acquire(&row->next);
		if (bucket_version(atom_load_acquire(bucket)) != bucket_version(first))
			return LOOK_AGAIN;
	}
	/* The version has not moved: every row on the way was in this chain all the time. */
	return bucket_version(atom_load_acquire(bucket)) == bucket_version(first) ? found : LOOK_AGAIN;
}

static enum look look_at_row(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
			     struct lock_value *ret)
{
	const struct table_row *row = tables_row(t, i);
	uint32_t seq = atom_load_acquire(&row->seq);
	uint32_t len = atom_load_acquire(&row->key_len);

	if (len == 0)
		return LOOK_NOTHING;
	if (len > KEY_MAX)
		return LOOK_AGAIN;
	row_copy_key(t, row, len, ret_key);
	row_copy_value(row, seq, ret);
	*ret_len = len;
	return atom_load_acquire(&row->seq) == seq ? LOOK_FOUND : LOOK_AGAIN;
}

/* Whether looks may be taken now: 0, or -EAGAIN or -ENETUNREACH; and the state to compare afterwards. */
static int look_begins(const struct tables *t, uint32_t *ret_recoveries)
{
	if (!atom_load_acquire(&t->ready))
		return -ENETUNREACH;
	*ret_recoveries = atom_load_acquire(&t->recoveries);
	return *ret_recoveries & 1 ? -EAGAIN : 0;
}

/* Whether nobody put things right or installed a copy meanwhile. */
static bool look_holds(const struct tables *t, uint32_t recoveries)
{
	return atom_load_acquire(&t->ready) && atom_load_acquire(&t->recoveries) == recoveries;
}

int table_read(const struct tables *t, const void *key, uint32_t len, struct lock_value *ret_value)
{
	struct lock_value value;
	struct key_words k;

	if (!key_words_init(&k, key, len))
		return 0;
	for (unsigned tries = 0; tries < READ_TRIES; tries++, atom_pause()) {
		uint32_t recoveries;
		int rc = look_begins(t, &recoveries);

		if (rc == -ENETUNREACH)
			return rc;
		if (rc < 0)
			continue;

		enum look found = look_up(t, &k, &value);

		if (found == LOOK_AGAIN || !look_holds(t, recoveries))
			continue;
		if (found == LOOK_FOUND)
			*ret_value = value;
		return found == LOOK_FOUND;
	}
	return -EAGAIN;
}

int table_read_row(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
		   struct lock_value *ret_value)
{
	unsigned char key[KEY_MAX];
	struct lock_value value;
	uint32_t key_len = 0;

	if (i == 0 || i > t->n_rows)
		return 0;
	for (unsigned tries = 0; tries < READ_TRIES; tries++, atom_pause()) {
		uint32_t recoveries;
		int rc = look_begins(t, &recoveries);

		if (rc == -ENETUNREACH)
			return rc;
		if (rc < 0)
			continue;

		enum look found = look_at_row(t, i, key, &key_len, &value);

		if (found == LOOK_AGAIN || !look_holds(t, recoveries))
			continue;
		if (found == LOOK_NOTHING)
			return 0;
		memcpy(ret_key, key, key_len);
		*ret_len = key_len;
		*ret_value = value;
		return 1;
	}
	return -EAGAIN;
}

/* ---- the check of everything ---- */

/* Counts indices and adds up their hashes: two sets with the same census are the same set, but for
 * odds of 2^-64. So no marks are needed to see that used and free ones are 1 .. high, each once. */
struct census {
	uint64_t n, sum;
};

static void census_add(struct census *c, uint32_t i)
{
	c->n++;
	c->sum += hash_mix(i);
}

static bool census_complete(const struct census *c, uint32_t high)
{
	struct census all = { 0 };

	for (uint32_t i = 1; i <= high; i++)
		census_add(&all, i);
	return c->n == all.n && c->sum == all.sum;
}

static const char *check_row(const struct tables *t, uint32_t i, struct census *cells)
{
	const struct table_row *row = tables_row(t, i);
	unsigned char key[KEY_MAX];

	if (row->key_len == 0 || row->key_len > KEY_MAX)
		return "a row in a chain has no key";
	for (uint32_t c = 0; c < KEY_CELLS; c++) {
		bool needed = c < key_cells(row->key_len);

		if (needed != (row->cell[c] != 0) || row->cell[c] > t->agreed.cells_high)
			return "a row's cells do not fit its key";
		if (needed)
			census_add(cells, row->cell[c]);
	}
	table_key(t, i, key);
	if (hash_bytes(0, key, row->key_len) != row->hash)
		return "a row's hash is not that of its key";
	return NULL;
}

/* Two rows of one chain with one key? The second one would never be found. */
static bool key_comes_again(const struct tables *t, uint32_t i)
{
	unsigned char key[KEY_MAX];
	uint32_t len = table_key(t, i, key);

	return table_find(t, key, len) != i;
}

static const char *check_chains(const struct tables *t, struct census *rows, struct census *cells)
{
	for (uint32_t b = 0; b < t->n_buckets; b++) {
		for (uint32_t i = bucket_head(*tables_bucket(t, b)); i; i = tables_row(t, i)->next) {
			const char *wrong;

			if (i > t->agreed.rows_high || rows->n >= t->agreed.rows_used)
				return "a chain leads astray";
			wrong = check_row(t, i, cells);
			if (wrong)
				return wrong;
			if (tables_bucket(t, tables_row(t, i)->hash) != tables_bucket(t, b))
				return "a row stands in another bucket's chain";
			census_add(rows, i);
		}
	}
	return rows->n == t->agreed.rows_used ? NULL : "the chains do not reach all rows in use";
}

static const char *check_keys(const struct tables *t)
{
	uint32_t in_use = 0;

	for (uint32_t i = 1; i <= t->agreed.rows_high; i++) {
		if (tables_row(t, i)->key_len == 0)
			continue;
		in_use++;
		if (key_comes_again(t, i))
			return "a key stands in the table twice, or is not found";
	}
	return in_use == t->agreed.rows_used ? NULL : "the number of rows in use is wrong";
}

static const char *check_free_rows(const struct tables *t, struct census *rows)
{
	for (uint32_t i = t->agreed.rows_free; i; i = tables_row(t, i)->next) {
		if (i > t->agreed.rows_high || rows->n >= t->agreed.rows_high)
			return "the free list of rows leads astray";
		if (tables_row(t, i)->key_len)
			return "a free row has a key";
		census_add(rows, i);
	}
	return census_complete(rows, t->agreed.rows_high) ? NULL : "rows are lost or in use twice";
}

static const char *check_free_cells(const struct tables *t, struct census *cells)
{
	if (cells->n != t->agreed.cells_used)
		return "the number of cells in use is wrong";
	for (uint32_t i = t->agreed.cells_free; i; i = (uint32_t)*tables_cell(t, i)) {
		if (i > t->agreed.cells_high || cells->n >= t->agreed.cells_high)
			return "the free list of cells leads astray";
		census_add(cells, i);
	}
	return census_complete(cells, t->agreed.cells_high) ? NULL : "cells are lost or in use twice";
}

static const char *check_queue(const struct tables *t, const struct table_row *row, uint32_t waiting,
			       struct census *waits)
{
	uint32_t n = 0, last = 0;

	for (uint32_t i = row->queue_head; i; last = i, i = tables_wait(t, i)->next) {
		if (i > t->agreed.waits_high || waits->n >= t->agreed.waits_used)
			return "a queue leads astray";
		census_add(waits, i);
		n++;
	}
	if (last != row->queue_tail)
		return "a queue's tail is not its last entry";
	return n == waiting ? NULL : "a queue has another length than its row says";
}

static bool on_died_list(const struct lock_value *value)
{
	return value->delegation == 0 && (value->flags & LOCK_DIED);
}

static const char *check_queues(const struct tables *t, struct census *waits)
{
	uint32_t died = 0;

	for (uint32_t i = 1; i <= t->agreed.rows_high; i++) {
		const struct table_row *row = tables_row(t, i);
		struct lock_value value = table_value(t, i);
		const char *wrong = NULL;

		if (row->key_len == 0)
			continue;
		if (!on_died_list(&value))
			wrong = check_queue(t, row, value.waiting, waits);
		else if (value.waiting)
			wrong = "a lock without a delegation has a queue";
		else
			died++;
		if (wrong)
			return wrong;
	}
	return died == t->agreed.died_count ? NULL : "the number of died rows is wrong";
}

static const char *check_free_waits(const struct tables *t, struct census *waits)
{
	if (waits->n != t->agreed.waits_used)
		return "the number of waits in use is wrong";
	for (uint32_t i = t->agreed.waits_free; i; i = tables_wait(t, i)->next) {
		if (i > t->agreed.waits_high || waits->n >= t->agreed.waits_high)
			return "the free list of waits leads astray";
		census_add(waits, i);
	}
	return census_complete(waits, t->agreed.waits_high) ? NULL : "waits are lost or in use twice";
}

static const char *check_died(const struct tables *t)
{
	uint32_t n = 0, older = 0;

	for (uint32_t i = t->agreed.died_head; i; older = i, i = tables_row(t, i)->queue_tail, n++) {
		struct lock_value value;

		if (i > t->agreed.rows_high || n >= t->agreed.died_count)
			return "the died list leads astray";
		value = table_value(t, i);
		if (tables_row(t, i)->key_len == 0 || !on_died_list(&value))
			return "a row in the died list has not died";
		if (tables_row(t, i)->queue_head != older)
			return "the died list does not lead back";
	}
	if (older != t->agreed.died_tail)
		return "the died list's tail is not its last row";
	return n == t->agreed.died_count ? NULL : "the died list has another length than it should";
}

const char *table_check(const struct tables *t)
{
	const struct agreed *a = &t->agreed;
	struct census rows = { 0 }, cells = { 0 }, waits = { 0 };
	const char *wrong;

	if (a->rows_high > t->n_rows || a->cells_high > t->n_cells || a->waits_high > t->n_waits)
		return "a high-water mark is above the capacity";
	wrong = check_chains(t, &rows, &cells);
	if (!wrong)
		wrong = check_keys(t);
	if (!wrong)
		wrong = check_free_rows(t, &rows);
	if (!wrong)
		wrong = check_free_cells(t, &cells);
	if (!wrong)
		wrong = check_queues(t, &waits);
	if (!wrong)
		wrong = check_free_waits(t, &waits);
	if (!wrong)
		wrong = check_died(t);
	return wrong;
}
