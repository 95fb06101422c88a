/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: see table.h. Shape and arithmetic, then the writer. Readers stand in table_read.c, the check
 * of everything in table_check.c.
 *
 * Where a row can be, and what a reader who still stands on it sees:
 *
 *   free --insert: key, value, then the chain--> linked --remove: unlink, version, key_len, seq--> free
 *
 * From the moment a removal has raised the version, whoever came over that chain starts over; so
 * from then on the row, its cells and its `next` may be anything.
 */
#include "table_rows.h"
#include "../lib/mutant.h"

/* ---- shape ---- */

struct shape { /* byte offsets */
	uint64_t buckets, rows, cells, waits, hosts, terms, slots, sessions, claims, end;
	uint32_t n_buckets, n_records, records_each;
};

/* Fourteen chains for every nine rows: who finds his in a full table has met a third of another one before. */
static uint32_t buckets_for(uint32_t rows)
{
	return (2 * rows + 8) / 9;
}

static struct shape shape_of(const struct table_capacity *c)
{
	struct shape s = { .n_buckets = buckets_for(c->rows) };

	if (c->sessions)
		s.records_each = MIN(GATE_RECORDS_EACH, GATE_RECORDS_MAX / c->sessions);
	s.n_records = c->sessions * s.records_each;

	s.buckets = align_up(sizeof(struct tables), 64);
	s.rows = align_up(s.buckets + (uint64_t)s.n_buckets * sizeof(struct table_bucket), 64);
	/* Index 0 means none: one more of each. */
	s.cells = align_up(s.rows + ((uint64_t)c->rows + 1) * sizeof(struct table_row), 64);
	s.waits = align_up(s.cells + ((uint64_t)c->cells + 1) * KEY_CELL, 64);
	s.hosts = align_up(s.waits + ((uint64_t)c->waits + 1) * sizeof(struct table_wait), 64);
	s.terms = align_up(s.hosts + (uint64_t)HOSTS_MAX * sizeof(struct host_row), 64);
	s.slots = align_up(s.terms + ((uint64_t)c->gates + 1) * sizeof(struct gate_terms), 64);
	s.sessions = align_up(s.slots + ((uint64_t)s.n_records + 1) * sizeof(uint16_t), 64);
	s.claims = align_up(s.sessions + ((uint64_t)c->sessions + 1) * sizeof(struct session_row), 64);
	s.end = align_up(s.claims + ((uint64_t)c->claims + 1) * sizeof(struct claim_row), 4096);
	return s;
}

static bool capacity_fits(const struct table_capacity *c)
{
	return c->rows >= 1 && c->rows <= TABLE_ROWS_MAX && c->cells >= 1 && c->cells <= TABLE_ROWS_MAX &&
	       c->waits >= 1 && c->waits <= TABLE_ROWS_MAX && c->gates <= TABLE_ROWS_MAX && c->sessions <= SESSIONS_MAX &&
	       c->claims <= TABLE_ROWS_MAX;
}

struct table_capacity table_capacity_for(uint32_t rows)
{
	rows = MIN(MAX(rows, 1u), TABLE_ROWS_MAX);
	return (struct table_capacity){ .rows = rows, .cells = MAX(rows / 4, 1u), .waits = rows };
}

uint64_t tables_size(const struct table_capacity *capacity)
{
	ASSERT(capacity_fits(capacity));
	return shape_of(capacity).end;
}

uint32_t tables_records(const struct table_capacity *capacity)
{
	return shape_of(capacity).n_records;
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
	t->n_gates = capacity->gates;
	t->n_sessions = capacity->sessions;
	t->n_records = s.n_records;
	t->records_each = s.records_each;
	t->terms_at = s.terms;
	t->slots_at = s.slots;
	t->sessions_at = s.sessions;
	t->n_claims = capacity->claims;
	t->claims_at = s.claims;

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

	c = (struct table_capacity){ .rows = t->n_rows, .cells = t->n_cells, .waits = t->n_waits, .gates = t->n_gates, .sessions = t->n_sessions, .claims = t->n_claims };
	if (!capacity_fits(&c) || t->n_hosts != HOSTS_MAX)
		return "a capacity is out of range";
	s = shape_of(&c);
	if (t->segment.size != s.end || size < s.end)
		return "the segment's size does not fit its capacities";
	if (t->n_buckets != s.n_buckets || t->buckets_at != s.buckets || t->rows_at != s.rows ||
	    t->cells_at != s.cells || t->waits_at != s.waits || t->hosts_at != s.hosts ||
	    t->n_records != s.n_records || t->records_each != s.records_each || t->terms_at != s.terms || t->slots_at != s.slots ||
	    t->sessions_at != s.sessions || t->claims_at != s.claims)
		return "an offset does not fit the capacities";
	if (t->self >= t->n_hosts)
		return "the host's id is out of range";
	if (!name_ends(t->cluster) || !name_ends(t->space))
		return "a name does not end";
	return NULL;
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
	for (uint32_t i = *chain_head(t, k.hash); i; i = tables_row(t, i)->next) {
		row_prefetch(tables_row(t, i));
		if (row_has_key(t, tables_row(t, i), &k))
			return i;
	}
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
	uint32_t *head = chain_head(t, k.hash);

	key_words_pad(&k);
	pool_take(&rows, u, row->next);
	ASSERT(row->key_len == 0);
	SET(u, row->queue_head, 0);
	SET(u, row->queue_tail, 0);
	row_write_key(t, u, row, &k);
	row_show(u, row, &(struct lock_value){ 0 });
	SET_RELEASE(u, row->key_len, len); /* from here on table_read_row shows it */
	SET_RELEASE(u, row->next, *head);
	SET_RELEASE(u, *head, i); /* from here on table_read does */
	return i;
}

/* Takes the row out of its chain by one store, and then raises the version. */
static void row_unlink(struct tables *t, struct undo *u, uint32_t i)
{
	struct table_row *row = tables_row(t, i);
	uint64_t hash = row_hash(t, row);
	uint32_t *version = &tables_bucket(t, hash)->version, *link = chain_head(t, hash);

	while (*link && *link != i)
		link = &tables_row(t, *link)->next;
	ASSERT(*link);
	SET_RELEASE(u, *link, row->next);
	SET_RELEASE(u, *version, *version + 1);
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
	struct table_row *row = tables_row(t, i);

	ASSERT(i >= 1 && i <= t->agreed.rows_high && row->key_len != 0);
	row_show(u, row, value);
	if (!value->gate)
		return;
	uint32_t *near = tables_near(t, row_hash(t, row));
	if (*near != value->gate)
		SET_RELEASE(u, *near, value->gate);
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
	table_wait_set(t, u, i, &(struct table_wait){ 0 });
	return i;
}

void table_wait_set(struct tables *t, struct undo *u, uint32_t i, const struct table_wait *to)
{
	uint64_t words[sizeof(*to) / 8];

	ASSERT(i >= 1 && i <= t->n_waits);
	memcpy(words, to, sizeof(words));
	store_words(u, (uint64_t *)tables_wait(t, i), words, ARRAY_LEN(words));
}

void table_wait_free(struct tables *t, struct undo *u, uint32_t i)
{
	struct pool waits = pool_of_waits(t);

	table_wait_set(t, u, i, &(struct table_wait){ .next = *waits.free });
	pool_give(&waits, u, i);
}

void table_show_claim(struct tables *t, uint32_t i, uint32_t gen, uint32_t slot, unsigned shown, uint8_t mode, uint64_t hash,
		      uint64_t since_ns)
{
	struct claim_row *row = tables_claim(t, i);

	ASSERT(i >= 1 && i <= t->n_claims && slot <= SESSIONS_MAX);
	atom_store_relaxed(&t->claims_shown, t->claims_shown + (shown != 0) - (row->word != 0));
	atom_store_release(&row->word, (uint64_t)0);
	if (!shown)
		return;
	/* With release: who meets this in the row's former life also finds its word changed. */
	atom_store_release(&row->since_ns, since_ns);
	atom_store_release(&row->word, claim_word(hash, gen, slot, shown, mode));
	if (i > t->claims_high)
		atom_store_release(&t->claims_high, i);
}

bool table_recover(struct tables *t, struct undo *u)
{
	bool any;

	/* Odd already: a successor died at this. The loads of readers pair with the release stores of
	 * the rollback: who sees a word that was put back also sees this one odd. */
	atom_store_release(&t->recoveries, t->recoveries | 1);
	any = undo_rollback(u);
	atom_store_release(&t->recoveries, t->recoveries + !MUTANT(251));
	return any;
}

void table_rebuild_bucket(struct tables *t, uint32_t b)
{
	struct table_bucket *bucket = tables_buckets(t) + b;

	for (uint32_t chain = 0; chain < BUCKET_CHAINS; chain++)
		atom_store_release(&bucket->head[chain], 0u);
	atom_store_release(&bucket->version, bucket->version + 1);
}

void table_rebuild_row(struct tables *t, uint32_t i)
{
	struct table_row *row = tables_row(t, i);
	uint32_t *head;

	if (row->key_len == 0)
		return;
	head = chain_head(t, row_hash(t, row));
	atom_store_release(&row->next, *head);
	atom_store_release(head, i);
}

/* To the next even number: for who began before ready was 0 and ends when it is 1 again. */
void table_rebuilt(struct tables *t)
{
	atom_store_release(&t->recoveries, (t->recoveries | 1) + 1);
}

void table_rebuild(struct tables *t)
{
	for (uint32_t b = 0; b < t->n_buckets; b++)
		table_rebuild_bucket(t, b);
	for (uint32_t i = 1; i <= t->agreed.rows_high; i++)
		table_rebuild_row(t, i);
	table_rebuilt(t);
}
