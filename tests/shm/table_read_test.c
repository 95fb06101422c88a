/* SPDX-License-Identifier: Apache-2.0 */
/* Readers of a table, also stopped at any of their instructions while the writer goes on. */
#define _GNU_SOURCE /* step.h: register names */
#include "table_space.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../shm/state/lock_table.h"
#include "step.h"

/* ---- readers ---- */

Test(table_read, readers_are_refused_while_a_copy_is_installed)
{
	struct space s = space_new();
	uint32_t len, row = table_insert(s.t, &s.undo, "a", 1);
	struct lock_value v;
	char key[KEY_MAX];

	s.t->ready = 0;
	cr_assert_eq(table_read(s.t, "a", 1, &v), -ENETUNREACH);
	cr_assert_eq(table_read_row(s.t, row, key, &len, &v), -ENETUNREACH);
}

Test(table_read, a_reader_gives_up_while_things_are_put_right_and_leaves_its_outputs_alone)
{
	struct space s = space_new();
	uint32_t len = 12345, row = table_insert(s.t, &s.undo, "a", 1);
	struct lock_value v = value_of(3);
	char key[KEY_MAX] = "untouched";

	s.t->recoveries = 1;
	cr_assert_eq(table_read(s.t, "a", 1, &v), -EAGAIN);
	cr_assert_eq(table_read_row(s.t, row, key, &len, &v), -EAGAIN);
	cr_assert(value_is(&v, 3));
	cr_assert_eq(len, 12345);
	cr_assert_str_eq(key, "untouched");

	table_recover(s.t, &s.undo); /* the successor of one who died at it */
	cr_assert_eq(table_read(s.t, "a", 1, &v), 0);
	cr_assert_eq(s.t->recoveries, 2);
}

/* What is asked for ahead is a hint: right, old or nonsense, the answer is that of table_read(). */
Test(table_read, who_asks_ahead_for_the_gate_reads_the_same)
{
	struct space s = space_new();
	struct key a = key_in_chain(0, 0, 0), long_key = key_in_chain(1, 0, 255), absent = key_in_chain(0, 3, 0);
	struct gate gates[2] = { 0 };
	struct lock_value v;

	insert_with(&s, &a, 7);
	insert_with(&s, &long_key, 8);
	for (uint32_t hint = 0; hint < 4; hint++) {
		*tables_near(s.t, key_hash(a.bytes, a.len)) = hint == 3 ? UINT32_MAX : hint;
		cr_assert_eq(table_read_ahead(s.t, a.bytes, a.len, gates, &v), 1);
		cr_assert(value_is(&v, 7));
		cr_assert_eq(table_read_ahead(s.t, long_key.bytes, long_key.len, gates, &v), 1);
		cr_assert(value_is(&v, 8));
		cr_assert_eq(table_read_ahead(s.t, absent.bytes, absent.len, gates, &v), 0);
	}
	s.t->recoveries = 1;
	cr_assert_eq(table_read_ahead(s.t, a.bytes, a.len, gates, &v), -EAGAIN);
}

Test(table_read, torn_chains_end_in_eagain_and_touch_nothing_outside)
{
	struct space s = space_new();
	struct key a = key_in_chain(0, 0, 0), long_key = key_in_chain(1, 0, 255), absent = key_in_chain(0, 3, 0);
	uint32_t row = insert(&s, &a), long_row = insert(&s, &long_key);
	struct lock_value v;

	tables_row(s.t, row)->next = row; /* a ring */
	cr_assert_eq(look_up(s.t, &absent, &v), -EAGAIN);
	tables_row(s.t, row)->next = UINT32_MAX;
	cr_assert_eq(look_up(s.t, &absent, &v), -EAGAIN);
	*head_of_chain(s.t, 0) = UINT32_MAX;
	cr_assert_eq(look_up(s.t, &a, &v), -EAGAIN);
	tables_row(s.t, long_row)->cell[1] = UINT32_MAX;
	cr_assert_eq(look_up(s.t, &long_key, &v), 0);
}

Test(table_read, rows_are_read_one_by_one)
{
	struct space s = space_new();
	struct key a = key_in_chain(0, 0, 0), b = key_in_chain(1, 0, 255);
	struct lock_value v;
	char key[KEY_MAX];
	uint32_t len;

	insert_with(&s, &a, 1);
	insert_with(&s, &b, 2);
	cr_assert_eq(table_read_row(s.t, 2, key, &len, &v), 1);
	cr_assert_eq(len, 255);
	cr_assert_eq(memcmp(key, b.bytes, 255), 0);
	cr_assert(value_is(&v, 2));
	table_remove(s.t, &s.undo, 1);
	cr_assert_eq(table_read_row(s.t, 1, key, &len, &v), 0);
	cr_assert_eq(table_read_row(s.t, 0, key, &len, &v), 0);
	cr_assert_eq(table_read_row(s.t, ROWS + 1, key, &len, &v), 0);
}

/* ---- a reader that is stopped at any of its instructions while the writer goes on ---- */

struct outcome { /* of one look */
	int rc;
	struct lock_value value;
	char row_key[KEY_MAX];
	uint32_t row_len;
	struct table_wait holders[4];
	struct claim_seen claim;
};

static struct {
	struct space s;
	struct key key, other, moved;
	uint32_t row;
	void (*meanwhile)(void); /* what the writer does while the reader is stopped */
	unsigned long stride;    /* stop the reader at every so many instructions; 0: at each */
	volatile bool in_child;
	volatile bool bad; /* a child met with a bad outcome: `*shown`, after instruction `at` */
	unsigned long at;
	unsigned long until; /* not 0: only so many of its instructions */
	struct outcome got, *shown;
} stage;

static void stage_read(void)
{
	stage.got.rc = look_up(stage.s.t, &stage.key, &stage.got.value);
}

static void stage_read_row(void)
{
	stage.got.rc =
		table_read_row(stage.s.t, stage.row, stage.got.row_key, &stage.got.row_len, &stage.got.value);
}

/* At each instruction a child is forked off; the writer acts in the child's copy of the memory, and
 * the reader goes on there. */
static void stage_look(unsigned long n)
{
	pid_t pid;
	int status;

	if (stage.bad || n % (STEP_STRIDE * MAX(stage.stride, 1ul)) || (stage.until && n > stage.until))
		return;
	pid = fork();
	if (pid == 0) {
		stage.in_child = true;
		step_end();
		stage.meanwhile();
		return;
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status)) {
		stage.bad = true;
		stage.at = n;
	}
}

static void stage_init(void)
{
	stage.s = space_new_in(MAP_PRIVATE);
	stage.shown = shared_memory(sizeof(*stage.shown));
}

/* Plays `read` with `meanwhile` at each of its instructions; `good` judges every outcome. */
static void stage_play(void (*read)(void), void (*meanwhile)(void), bool (*good)(void))
{
	unsigned long n;

	if (!STEP_WORKS)
		cr_skip_test("single steps need x86-64 and no ThreadSanitizer");
	stage.meanwhile = meanwhile;
	read(); /* once, for the dynamic linker */
	n = step_through(read, stage_look);
	if (stage.in_child) {
		*stage.shown = stage.got;
		_exit(!good());
	}
	cr_assert(!stage.bad, "stopped at instruction %lu of %lu: answer %d, value %llu", stage.at, n, stage.shown->rc,
		  (unsigned long long)stage.shown->value.delegation);
	cr_assert_gt(n, 50, "the steps were really taken");
}

static bool found_whole(void)
{
	return stage.got.rc == 1 && value_is_whole(&stage.got.value);
}

/* The row before the wanted one moves to another chain: a reader who stands on it is led astray. */
static void move_the_row_before(void)
{
	table_remove(stage.s.t, NULL, find(&stage.s, &stage.other));
	table_insert(stage.s.t, NULL, stage.moved.bytes, stage.moved.len);
}

Test(table_read, a_reader_whose_way_is_moved_to_another_chain_still_finds_its_key)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	stage.other = key_in_chain(0, 1, 0);
	stage.moved = key_in_chain(1, 0, 0);
	insert_with(&stage.s, &stage.key, 7); /* the end of the chain */
	insert_with(&stage.s, &stage.other, 8);
	struct key head = key_in_chain(0, 2, 0);
	insert_with(&stage.s, &head, 9); /* the other one leaves from the middle */
	undo_commit(&stage.s.undo);
	stage_play(stage_read, move_the_row_before, found_whole);
}

/* The writer, too, is stopped anywhere: images of the memory at each of its saves, and at the end. */
#define IMAGES 100u
#define IMAGE_BYTES 8192u

static struct {
	unsigned n, from;
	unsigned char bytes[IMAGES][IMAGE_BYTES];
} images;

static void take_image(void *context)
{
	(void)context;
	cr_assert_lt(images.n, IMAGES);
	memcpy(images.bytes[images.n++], stage.s.t, stage.s.used_bytes);
}

static void show_image(unsigned i)
{
	memcpy(stage.s.t, images.bytes[i], stage.s.used_bytes);
}

static void go_on_to_the_end(void)
{
	show_image(images.n - 1);
}

static void play_with_writer_at_every_save(void)
{
	cr_assert_leq(stage.s.used_bytes, IMAGE_BYTES);
	images.n = 0;
	stage.s.undo.probe = take_image;
	table_remove(stage.s.t, &stage.s.undo, find(&stage.s, &stage.other));
	table_insert(stage.s.t, &stage.s.undo, stage.moved.bytes, stage.moved.len);
	take_image(NULL);
	cr_assert_gt(images.n, 20);
	stage.stride = 5;
	for (unsigned i = 0; i + 1 < images.n; i++) {
		show_image(i);
		stage_play(stage_read, go_on_to_the_end, found_whole);
	}
}

static void stage_a_chain(bool other_is_head)
{
	struct key head = key_in_chain(0, 2, 0), neighbour = key_in_chain(1, 1, 0);

	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	stage.other = key_in_chain(0, 1, 0);
	stage.moved = key_in_chain(1, 0, 0);
	insert_with(&stage.s, &neighbour, 6);
	insert_with(&stage.s, &stage.key, 7);
	insert_with(&stage.s, &stage.other, 8);
	if (!other_is_head)
		insert_with(&stage.s, &head, 9);
	undo_commit(&stage.s.undo);
}

Test(table_read, reader_and_writer_stopped_anywhere_when_a_row_leaves_from_the_middle, .timeout = 120)
{
	stage_a_chain(false);
	play_with_writer_at_every_save();
}

Test(table_read, reader_and_writer_stopped_anywhere_when_a_row_leaves_from_the_head, .timeout = 120)
{
	stage_a_chain(true);
	play_with_writer_at_every_save();
}

static void set_twice(void)
{
	uint32_t row = find(&stage.s, &stage.key);
	struct lock_value a = value_of(100), b = value_of(201);

	table_set(stage.s.t, NULL, row, &a);
	table_set(stage.s.t, NULL, row, &b);
}

Test(table_read, a_reader_never_sees_parts_of_two_values)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage_play(stage_read, set_twice, found_whole);
}

static void recover(void)
{
	table_recover(stage.s.t, &stage.s.undo);
}

Test(table_read, a_reader_who_stands_on_a_row_that_is_taken_back_still_finds_its_key)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	stage.other = key_in_chain(0, 1, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	insert_with(&stage.s, &stage.other, 8); /* and here the writer died */
	stage_play(stage_read, recover, found_whole);
}

/* The successor takes the set back and sets anew: the same seq, another value. */
static void recover_and_set(void)
{
	struct lock_value v = value_of(300);

	table_recover(stage.s.t, &stage.s.undo);
	table_set(stage.s.t, NULL, find(&stage.s, &stage.key), &v);
}

Test(table_read, a_reader_is_not_fooled_by_a_seq_that_was_taken_back_and_given_again)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	set(&stage.s, find(&stage.s, &stage.key), 8); /* and here the writer died */
	stage_play(stage_read, recover_and_set, found_whole);
}

static void replace_long_key(void)
{
	table_remove(stage.s.t, NULL, find(&stage.s, &stage.key));
	table_insert(stage.s.t, NULL, stage.moved.bytes, stage.moved.len);
}

static bool found_or_gone(void)
{
	return stage.got.rc == 0 || found_whole();
}

Test(table_read, a_long_key_whose_cells_are_used_again_is_found_whole_or_not_at_all)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 255);
	stage.moved = key_in_chain(0, 1, 255);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage_play(stage_read, replace_long_key, found_or_gone);
}

static void install_elsewhere(void)
{
	struct tables *t = stage.s.t;
	struct table_row *row = tables_row(t, stage.row);

	/* As a snapshot does: the row gets another key, then everything is linked anew. */
	atom_store_seq_cst(&t->ready, 0);
	memset(row->key, 0, sizeof(row->key));
	memcpy(row->key, stage.moved.bytes, stage.moved.len);
	row->key_len = stage.moved.len;
	for (unsigned i = 0; i < 2; i++) {
		struct lock_value v = value_of(500);
		memcpy(row->value[i], &v, sizeof(v));
	}
	table_rebuild(t);
	atom_store_seq_cst(&t->ready, 1);
}

static bool row_fits_its_key(void)
{
	struct key *k = stage.got.value.delegation == 7 ? &stage.key : &stage.moved;

	if (stage.got.rc == 0)
		return true;
	return stage.got.rc == 1 && stage.got.row_len == k->len && memcmp(stage.got.row_key, k->bytes, k->len) == 0 &&
	       (stage.got.value.delegation == 0 || value_is_whole(&stage.got.value));
}

Test(table_read, a_reader_of_a_row_who_slept_through_an_installation_starts_over)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	stage.moved = key_in_chain(1, 1, 0);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage.row = 1;
	stage_play(stage_read_row, install_elsewhere, row_fits_its_key);
}

static void use_row_again(void)
{
	uint32_t row;
	struct lock_value v = value_of(8);

	table_remove(stage.s.t, NULL, find(&stage.s, &stage.key));
	row = table_insert(stage.s.t, NULL, stage.moved.bytes, stage.moved.len);
	table_set(stage.s.t, NULL, row, &v);
}

Test(table_read, a_reader_of_a_row_never_mixes_its_lives)
{
	stage_init();
	stage.key = key_in_chain(0, 0, 0);
	stage.moved = key_in_chain(1, 0, 70);
	insert_with(&stage.s, &stage.key, 7);
	undo_commit(&stage.s.undo);
	stage.row = 1;
	stage_play(stage_read_row, use_row_again, row_fits_its_key);
}

/* ---- those who share a lock ---- */

#define SHARED "shared"

/* Step by step; behind each, what readers may see of it. What is freed by one is used again by the next. */
static const struct step {
	uint16_t host;
	uint8_t mode;                          /* it asks in this mode; 0: it releases */
	bool other;                            /* another lock */
	uint64_t holders[4], next_base, owner; /* delegations of who shares the lock afterwards, or of its owner */
} steps[] = {
	{ 1, LOCK_MODE_PR, false, { 1 }, 1, 0 },
	{ 2, LOCK_MODE_PR, false, { 1, 2 }, 2, 0 },
	{ 3, LOCK_MODE_PR, false, { 1, 2, 3 }, 3, 0 },
	{ 2, 0, false, { 1, 3 }, 3, 0 }, /* from the middle of the list */
	{ 5, LOCK_MODE_PR, true, { 1, 3 }, 3, 0 },
	{ 4, LOCK_MODE_PR, false, { 1, 3, 5 }, 4, 0 },
	{ 4, 0, false, { 1, 3 }, 4, 0 }, /* its head */
	{ 2, LOCK_MODE_PR, false, { 1, 3, 6 }, 5, 0 },
	{ 1, 0, false, { 3, 6 }, 5, 0 }, /* its end */
	{ 6, LOCK_MODE_EX, false, { 3, 6 }, 5, 0 },
	{ 2, 0, false, { 3 }, 5, 0 },
	{ 3, 0, false, { 0 }, 5, 7 }, /* to the owner */
	{ 1, LOCK_MODE_PR, false, { 0 }, 5, 7 },
	{ 2, LOCK_MODE_PR, false, { 0 }, 5, 7 },
	{ 6, 0, false, { 8, 9 }, 7, 0 }, /* and to two at once */
};

static void take_step(const struct step *step)
{
	const struct lock_request q = { .host = step->host, .incarnation = 1, .mode = step->mode };
	const char *key = step->other ? "other" : SHARED;
	uint32_t row = table_find(stage.s.t, key, (uint32_t)strlen(key));
	struct lock_hold hold = { 0 };

	if (step->mode) {
		lock_table_acquire(stage.s.t, &stage.s.undo, &q, key, (uint32_t)strlen(key), &row);
		return;
	}
	cr_assert(lock_table_hold(stage.s.t, row, step->host, &hold));
	lock_table_release(stage.s.t, &stage.s.undo, step->host, key, (uint32_t)strlen(key), hold.delegation, 0, false, &row);
}

static void read_shared(void)
{
	stage.got.rc = table_read_holders(stage.s.t, SHARED, strlen(SHARED), &stage.got.value, stage.got.holders, 4);
}

static void read_shared_row(void)
{
	stage.got.rc = table_read_row_holders(stage.s.t, 1, stage.got.row_key, &stage.got.row_len, &stage.got.value,
					      stage.got.holders, 4);
}

static bool fits_step(const struct step *step)
{
	const struct lock_value *v = &stage.got.value;
	unsigned n = 0;

	if (v->base != 1 + step->next_base * LOCK_SHARED_RANGE)
		return false;
	if (step->owner && (v->mode != LOCK_MODE_EX || v->delegation != step->owner))
		return false;
	while (n < 4 && step->holders[n])
		n++;
	for (unsigned i = 0; i < n && v->holders == n; i++) {
		const struct table_wait *w = &stage.got.holders[n - 1 - i];

		if (w->delegation != step->holders[i] || w->mode != LOCK_MODE_PR || w->incarnation != 1 || w->base >= v->base)
			return false;
	}
	return v->holders == n;
}

/* What is shown is what stood there after one of the steps. */
static bool shared_as_it_was(void)
{
	for (unsigned i = 0; i < ARRAY_LEN(steps) && stage.got.rc == 1; i++)
		if (fits_step(&steps[i]))
			return true;
	return false;
}

static void stage_shared(unsigned from)
{
	stage_init();
	for (uint16_t host = 1; host <= 6; host++) {
		tables_host(stage.s.t, host)->incarnation = 1;
		tables_host(stage.s.t, host)->sweep = HOST_SWEPT;
	}
	for (unsigned i = 0; i < from; i++) {
		take_step(&steps[i]);
		undo_commit(&stage.s.undo);
	}
}

Test(table_read, the_holders_are_those_of_one_instant)
{
	struct lock_value v;
	struct table_wait one;

	stage_shared(1);
	for (unsigned i = 1; i < ARRAY_LEN(steps); i++) {
		take_step(&steps[i]);
		read_shared();
		cr_assert(fits_step(&steps[i]), "step %u", i);
		read_shared_row();
		cr_assert(fits_step(&steps[i]), "step %u", i);
		assert_sound(stage.s.t);
	}
	cr_assert_eq(table_read_holders(stage.s.t, SHARED, strlen(SHARED), &v, &one, 1), 1);
	cr_assert_eq(v.holders, 2, "there are more than were asked for");
	cr_assert_eq(one.delegation, 9);
}

Test(table_read, torn_lists_of_holders_end_in_eagain)
{
	struct lock_value v;
	uint32_t row;

	stage_shared(3);
	row = table_find(stage.s.t, SHARED, strlen(SHARED));
	v = table_value(stage.s.t, row);
	tables_wait(stage.s.t, v.holder)->next = v.holder; /* a ring */
	read_shared();
	cr_assert_eq(stage.got.rc, -EAGAIN);
	tables_wait(stage.s.t, v.holder)->next = UINT32_MAX;
	read_shared();
	cr_assert_eq(stage.got.rc, -EAGAIN);
	tables_wait(stage.s.t, v.holder)->next = 0;
	read_shared();
	cr_assert_eq(stage.got.rc, -EAGAIN);
	cr_assert_eq(table_read(stage.s.t, SHARED, strlen(SHARED), &v), 1, "who does not ask for them does not mind");
}

static unsigned next_step;

/* The writer goes on while the reader stands still, as far as entries are used again. */
static void take_three_steps(void)
{
	for (unsigned i = next_step; i < MIN(next_step + 3, (unsigned)ARRAY_LEN(steps)); i++) {
		take_step(&steps[i]);
		undo_commit(&stage.s.undo);
	}
}

Test(table_read, a_reader_of_holders_stopped_anywhere_sees_those_of_one_instant, .timeout = 120)
{
	stage_shared(3);
	stage.stride = 7;
	for (next_step = 3; next_step < ARRAY_LEN(steps); next_step++) {
		stage_play(read_shared, take_three_steps, shared_as_it_was);
		stage_play(read_shared_row, take_three_steps, shared_as_it_was);
		take_step(&steps[next_step]);
		undo_commit(&stage.s.undo);
	}
}

static bool shared_or_busy(void)
{
	return shared_as_it_was() || stage.got.rc == -EAGAIN;
}

/* And with the writer stopped at any of its saves before. */
Test(table_read, reader_and_writer_of_holders_stopped_anywhere, .timeout = 120)
{
	stage_shared(3);
	stage.stride = 11;
	stage.until = 900; /* some looks: while the writer stands still in the midst of it, each ends alike */
	for (next_step = 3; next_step < ARRAY_LEN(steps); next_step++) {
		images.n = 0;
		stage.s.undo.probe = take_image;
		take_step(&steps[next_step]);
		stage.s.undo.probe = NULL;
		undo_commit(&stage.s.undo);
		take_image(NULL);
		for (unsigned i = 0; i + 1 < images.n; i++) {
			show_image(i);
			stage_play(read_shared, go_on_to_the_end, shared_or_busy);
		}
		show_image(images.n - 1);
	}
}

static void recover_and_share_anew(void)
{
	table_recover(stage.s.t, &stage.s.undo);
	take_step(&(struct step){ .host = 5, .mode = LOCK_MODE_PR });
}

/* A release that is taken back, and the entry that it freed used in the same place by another. */
static bool shared_or_anew(void)
{
	const struct step anew = { .holders = { 1, 2, 3, 4 }, .next_base = 4 };

	return shared_as_it_was() || (stage.got.rc == 1 && fits_step(&anew));
}

Test(table_read, a_reader_of_holders_is_not_fooled_by_what_is_taken_back, .timeout = 120)
{
	stage_shared(3);
	take_step(&steps[3]); /* and here the writer died */
	stage_play(read_shared, recover_and_share_anew, shared_or_anew);
}

/* ---- claims ---- */

static void show(const struct space *s, uint32_t i, uint32_t gen, enum claim_shown shown, const char *key, uint64_t since_ns)
{
	table_show_claim(s->t, i, gen, (uint32_t)since_ns + 7, shown, LOCK_MODE_PR, claim_hash(key, 1), since_ns);
}

Test(table_read, claims_on_a_key_come_oldest_first_and_all_are_counted)
{
	struct space s = space_new();
	struct claim_seen seen[4] = { 0 };

	cr_assert_eq(table_read_claims(s.t, "k", 1, CLAIM_SHOWN_WAITS, seen, 4), 0);
	show(&s, 1, 0, CLAIM_SHOWN_WAITS, "k", 30);
	show(&s, 2, 0, CLAIM_SHOWN_SHARES, "k", 5);
	show(&s, 3, 0, CLAIM_SHOWN_WAITS, "k", 10);
	show(&s, 4, 0, CLAIM_SHOWN_WAITS, "k", 20);
	cr_assert_eq(table_read_claims(s.t, "k", 1, CLAIM_SHOWN_WAITS, seen, 4), 3);
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(seen[i].since_ns, 10 * (i + 1));
		cr_assert_eq(seen[i].slot, seen[i].since_ns + 7);
		cr_assert_eq(seen[i].mode, LOCK_MODE_PR);
	}
	memset(seen, 0, sizeof(seen));
	cr_assert_eq(table_read_claims(s.t, "k", 1, CLAIM_SHOWN_WAITS, seen, 2), 3);
	cr_assert_eq(seen[0].since_ns, 10);
	cr_assert_eq(seen[1].since_ns, 20);
	cr_assert_eq(seen[2].since_ns, 0, "no more than asked for");
	cr_assert_eq(table_read_claims(s.t, "k", 1, CLAIM_SHOWN_SHARES, NULL, 0), 1);
	cr_assert_eq(table_read_claims(s.t, "x", 1, CLAIM_SHOWN_WAITS, seen, 4), 0);
	table_show_claim(s.t, 3, 0, 0, 0, 0, 0, 0);
	cr_assert_eq(table_read_claims(s.t, "k", 1, CLAIM_SHOWN_WAITS, seen, 4), 2);
	cr_assert_eq(s.t->claims_shown, 3);
	cr_assert_eq(s.t->claims_high, 4);
	s.t->claims_high = UINT32_MAX; /* torn */
	cr_assert_eq(table_read_claims(s.t, "k", 1, CLAIM_SHOWN_WAITS, seen, 4), 2);
}

static void read_claims(void)
{
	stage.got.rc = (int)table_read_claims(stage.s.t, "k", 1, CLAIM_SHOWN_WAITS, &stage.got.claim, 1);
}

/* The same place, the same session: only the generation differs from what was there. */
static void use_claim_again(void)
{
	table_show_claim(stage.s.t, 1, 1, 9, 0, 0, 0, 0);
	table_show_claim(stage.s.t, 1, 2, 9, CLAIM_SHOWN_WAITS, LOCK_MODE_PR, claim_hash("x", 1), 77);
}

static bool claim_is_one(void)
{
	return stage.got.rc == 0 || (stage.got.claim.since_ns == 2 && stage.got.claim.slot == 9);
}

Test(table_read, a_reader_of_claims_stopped_anywhere_sees_one_claim)
{
	stage_init();
	show(&stage.s, 1, 1, CLAIM_SHOWN_WAITS, "k", 2);
	stage_play(read_claims, use_claim_again, claim_is_one);
}
