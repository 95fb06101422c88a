/* SPDX-License-Identifier: Apache-2.0 */
/* table, the readers' side: any process, any time, beside a writer who may be dead. See table.h. */
#include "table_rows.h"

#include <errno.h>

/* Looks a reader takes before it answers -EAGAIN: some ten microseconds of bad luck. */
#define READ_TRIES 256u

enum look { LOOK_AGAIN,
	    LOOK_FOUND,
	    LOOK_NOTHING };

/* Where the holders go, if anybody wants them. */
struct holders {
	struct table_wait *at;
	uint32_t cap;
};

/* The holders that a value leads to, which may be torn or old: the caller looks at its row's seq afterwards. An entry
 * is freed only when another value is shown, with release: who meets one that was finds another seq. */
static bool copy_holders(const struct tables *t, const struct lock_value *v, const struct holders *h)
{
	uint32_t i = v->holder;

	if (h->cap == 0)
		return true;
	for (uint32_t n = 0; n < v->holders; n++) {
		struct table_wait w;
		uint64_t words[sizeof(w) / 8];

		if (i == 0 || i > t->n_waits)
			return false;
		for (unsigned word = 0; word < ARRAY_LEN(words); word++)
			words[word] = atom_load_acquire((const uint64_t *)tables_wait(t, i) + word); /* pairs with table_wait_set */
		memcpy(&w, words, sizeof(w));
		if (n < h->cap)
			h->at[n] = w;
		i = w.next;
	}
	return i == 0;
}

/* NULL: nobody wants them. */
static inline void gate_prefetch(const struct tables *t, const struct gate *gates, uint32_t gate)
{
	if (gates && gate <= t->n_gates) {
		/* Loads, not prefetches: those are dropped while the page tables are walked for others. */
		(void)atom_load_relaxed(&gates[gate].word);
		(void)atom_load_relaxed(&tables_terms(t, gate)->delegation);
	}
}

/* One walk along the chain of a key. Any index may be torn, so each is checked; and a walk that was
 * led into another chain ends when it sees the version move. */
static inline enum look look_up(const struct tables *t, const struct key_words *k, struct lock_value *ret, const struct holders *h, uint32_t *ret_row)
{
	const struct table_bucket *bucket = tables_bucket(t, k->hash);
	uint32_t version = atom_load_acquire(&bucket->version); /* before the head */
	enum look found = LOOK_NOTHING;
	uint32_t steps = 0;

	for (uint32_t i = atom_load_acquire(&bucket->head[bucket_chain(k->hash)]); i;) {
		const struct table_row *row;
		uint32_t seq;

		if (i > t->n_rows || steps++ > t->n_rows)
			return LOOK_AGAIN;
		row = tables_row(t, i);
		row_prefetch(row);
		seq = atom_load_acquire(&row->seq);
		if (row_has_key(t, row, k)) {
			row_copy_value(row, seq, ret);
			if (!copy_holders(t, ret, h) || atom_load_acquire(&row->seq) != seq)
				return LOOK_AGAIN;
			*ret_row = i;
			found = LOOK_FOUND;
			break;
		}
		i = atom_load_acquire(&row->next);
		if (atom_load_acquire(&bucket->version) != version)
			return LOOK_AGAIN;
	}
	/* The version has not moved: every row on the way was in this chain all the time. */
	return atom_load_acquire(&bucket->version) == version ? found : LOOK_AGAIN;
}

/* ---- keys of two words: most are, and a loop over words in memory costs more than the words do ---- */

struct short_look {
	uint64_t first, second, hash;
	uint32_t len;
	uint64_t value[LOCK_VALUE_WORDS]; /* nobody takes its address, so it need not lie in memory */
};

/* As look_up(). */
static inline __attribute__((always_inline)) enum look look_up_short(const struct tables *t, const struct gate *gates, struct short_look *k)
{
	const struct table_bucket *bucket = tables_bucket(t, k->hash);
	uint32_t version = atom_load_acquire(&bucket->version); /* before the head */
	uint32_t chain = bucket_chain(k->hash), steps = 0;

	for (uint32_t i = atom_load_acquire(&bucket->head[chain]); i;) {
		const struct table_row *row = tables_row(t, i);

		if (i > t->n_rows || steps++ > t->n_rows)
			return LOOK_AGAIN;
		row_prefetch_short(row);
		if (steps == 1)
			gate_prefetch(t, gates, atom_load_relaxed(&bucket->near[chain]));
		uint32_t seq = atom_load_acquire(&row->seq);
		/* A row's key is padded with zeros; cells of longer keys have another length. */
		if (atom_load_acquire(&row->key[0]) == k->first && atom_load_acquire(&row->key[1]) == k->second &&
		    atom_load_acquire(&row->key_len) == k->len) {
#pragma GCC unroll 8
			for (uint32_t word = 0; word < LOCK_VALUE_WORDS; word++)
				k->value[word] = atom_load_acquire(&row->value[seq & 1][word]); /* pairs with row_show */
			if (atom_load_acquire(&row->seq) != seq || atom_load_acquire(&bucket->version) != version)
				return LOOK_AGAIN;
			return LOOK_FOUND;
		}
		i = atom_load_acquire(&row->next);
		if (atom_load_acquire(&bucket->version) != version)
			return LOOK_AGAIN;
	}
	return atom_load_acquire(&bucket->version) == version ? LOOK_NOTHING : LOOK_AGAIN;
}

static enum look look_at_row(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
			     struct lock_value *ret, const struct holders *h)
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
	if (!copy_holders(t, ret, h))
		return LOOK_AGAIN;
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

/* As table_read_ahead(), for 1 to KEY_SHORT bytes. */
static inline __attribute__((always_inline)) int read_short(const struct tables *t, const void *key, uint32_t len, const struct gate *gates, struct lock_value *ret_value)
{
	struct short_look k;

	k.len = len;
	key_short_words(key, len, &k.first, &k.second);
	k.hash = key_short_hash(k.first, k.second, len);
	for (unsigned tries = 0; tries < READ_TRIES; tries++, atom_pause()) {
		uint32_t recoveries;
		int rc = look_begins(t, &recoveries);

		if (rc == -ENETUNREACH)
			return rc;
		if (rc < 0)
			continue;

		enum look found = look_up_short(t, gates, &k);

		if (found == LOOK_AGAIN || !look_holds(t, recoveries))
			continue;
		if (found != LOOK_FOUND)
			return 0;
#pragma GCC unroll 8
		for (uint32_t word = 0; word < LOCK_VALUE_WORDS; word++)
			atom_store_relaxed((value_word *)ret_value + word, k.value[word]);
		return 1;
	}
	return -EAGAIN;
}

/* A call of its own: what it has on the stack would cost those who look for a short key. */
static __attribute__((noinline)) int read_key(const struct tables *t, const void *key, uint32_t len, struct lock_value *ret_value,
					      const struct holders *h)
{
	struct lock_value value;
	struct key_words k;
	uint32_t row;

	if (!key_words_init(&k, key, len))
		return 0;
	for (unsigned tries = 0; tries < READ_TRIES; tries++, atom_pause()) {
		uint32_t recoveries;
		int rc = look_begins(t, &recoveries);

		if (rc == -ENETUNREACH)
			return rc;
		if (rc < 0)
			continue;

		enum look found = look_up(t, &k, &value, h, &row);

		if (found == LOOK_AGAIN || !look_holds(t, recoveries))
			continue;
		if (found == LOOK_FOUND)
			value_copy(ret_value, &value);
		return found == LOOK_FOUND;
	}
	return -EAGAIN;
}

int table_read(const struct tables *t, const void *key, uint32_t len, struct lock_value *ret_value)
{
	return len - 1 < KEY_SHORT ? read_short(t, key, len, NULL, ret_value) : read_key(t, key, len, ret_value, &(const struct holders){ 0 });
}

/* Who has a longer key has many other lines to wait for. */
int table_read_ahead(const struct tables *t, const void *key, uint32_t len, const struct gate *gates, struct lock_value *ret_value)
{
	return len - 1 < KEY_SHORT ? read_short(t, key, len, gates, ret_value) : table_read(t, key, len, ret_value);
}

int table_read_holders(const struct tables *t, const void *key, uint32_t len, struct lock_value *ret_value,
		       struct table_wait *ret_holders, uint32_t cap)
{
	return read_key(t, key, len, ret_value, &(const struct holders){ ret_holders, cap });
}

int table_read_row(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
		   struct lock_value *ret_value)
{
	return table_read_row_holders(t, i, ret_key, ret_len, ret_value, NULL, 0);
}

int table_read_row_holders(const struct tables *t, uint32_t i, void *ret_key, uint32_t *ret_len,
			   struct lock_value *ret_value, struct table_wait *ret_holders, uint32_t cap)
{
	const struct holders h = { ret_holders, cap };
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

		enum look found = look_at_row(t, i, key, &key_len, &value, &h);

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

/* Entries change while a slot is applied, and `changing` is odd then. Each index may be torn. */
static uint32_t look_at_queue(const struct tables *t, uint32_t row, struct table_wait *ret, uint32_t max)
{
	uint32_t n = 0, at = atom_load_acquire(&tables_row(t, row)->queue_head);

	while (at && at <= t->n_waits && n < HOSTS_MAX) { /* a host stands in it once */
		const struct table_wait *wait = tables_wait(t, at);

		if (n < max) {
			ret[n].incarnation = atom_load_acquire(&wait->incarnation);
			ret[n].next = 0;
			ret[n].host = atom_load_acquire(&wait->host);
			ret[n].mode = atom_load_acquire(&wait->mode);
		}
		n++;
		at = atom_load_acquire(&wait->next);
	}
	return n;
}

int table_read_queue(const struct tables *t, const void *key, uint32_t len, struct table_wait *ret, uint32_t max)
{
	struct lock_value value;
	struct key_words k;

	if (!key_words_init(&k, key, len))
		return 0;
	for (unsigned tries = 0; tries < READ_TRIES; tries++, atom_pause()) {
		uint64_t changing = atom_load_acquire(&t->changing);
		uint32_t recoveries, row = 0, n = 0;
		int rc = look_begins(t, &recoveries);

		if (rc == -ENETUNREACH)
			return rc;
		if (rc < 0 || changing & 1)
			continue;

		enum look found = look_up(t, &k, &value, &(const struct holders){ 0 }, &row);

		if (found == LOOK_FOUND && value.delegation) /* else the words are the died list's */
			n = look_at_queue(t, row, ret, max);
		if (found != LOOK_AGAIN && look_holds(t, recoveries) && atom_load_acquire(&t->changing) == changing)
			return (int)n;
	}
	return -EAGAIN;
}

/* ---- claims ---- */

static bool read_claim(const struct claim_row *row, uint64_t hash, enum claim_shown shown, struct claim_seen *ret)
{
	uint64_t word = atom_load_acquire(&row->word); /* pairs with table_show_claim, as the next one does */

	if ((word >> 4 & 0xf) != shown || word >> 32 != (uint32_t)hash)
		return false;
	ret->since_ns = atom_load_acquire(&row->since_ns);
	ret->slot = word >> 8 & 0xfff;
	ret->shown = shown;
	ret->mode = word & 0xf;
	return atom_load_acquire(&row->word) == word;
}

/* Puts it where its age says, behind those of the same age; the youngest falls out when there is no room. */
static void insert_claim(struct claim_seen *ret, uint32_t n, uint32_t max, const struct claim_seen *c)
{
	uint32_t at = MIN(n, max);

	while (at && ret[at - 1].since_ns > c->since_ns)
		at--;
	if (at == max)
		return;
	memmove(&ret[at + 1], &ret[at], (MIN(n, max - 1) - at) * sizeof(*ret));
	ret[at] = *c;
}

uint32_t table_read_claims(const struct tables *t, const void *key, uint32_t len, enum claim_shown shown, struct claim_seen *ret,
			   uint32_t max)
{
	uint32_t high = MIN(atom_load_acquire(&t->claims_high), t->n_claims), n = 0;
	uint64_t hash = claim_hash(key, len);
	struct claim_seen c;

	if (!atom_load_relaxed(&t->claims_shown)) /* in general: then there is nothing to look through */
		return 0;
	for (uint32_t i = 1; i <= high; i++)
		if (read_claim(tables_claim(t, i), hash, shown, &c))
			insert_claim(ret, n++, max, &c);
	return n;
}
