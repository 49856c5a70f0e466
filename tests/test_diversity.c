/*
 * Pairs before density: what makes a pair different, and the order that follows.
 */
#include "rig/diversity.h"
#include "rig/err.h"
#include "rig/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RELEASES_MAX 12
#define TRANSITIONS_MAX (RELEASES_MAX * RELEASES_MAX)

static uint64_t rng = 88172645463325252u;

static size_t random_below(size_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (size_t)(rng >> 16) % n;
}

struct spec {
	const char *bootloader; /* NULL: none */
	size_t pages;
	int data_format;
	bool reverts;
};

/* Releases 1.0.0 … n.0.0, all updates allowed and all the others refused. */
struct fixture {
	struct manifest manifest;
	struct plan plan;
	size_t pages[RELEASES_MAX];
	size_t order[TRANSITIONS_MAX];
	size_t count;
};

static void make(struct fixture *f, const struct spec *specs, size_t n)
{
	json_t *releases = json_array(), *json;
	struct err e;

	*f = (struct fixture){.count = 0};
	for (size_t i = 0; i < n; i++) {
		char version[32];

		snprintf(version, sizeof(version), "%zu.0.0", i + 1);
		json_array_append_new(releases,
			json_pack("{s:s, s:i, s:b, s:{s:s, s:s*}}", "version", version,
				"data_format", specs[i].data_format, "reverts", specs[i].reverts,
				"images", "application", "/a", "bootloader", specs[i].bootloader));
		f->pages[i] = specs[i].pages;
	}
	json = json_pack("{s:s, s:o}", "product", "demo", "releases", releases);
	assert_non_null(json);
	assert_int_equal(manifest_init(&f->manifest, json, &e), 0);
	json_decref(json);
	assert_int_equal(plan_init(&f->plan, &f->manifest, NULL, 0, &e), 0);
}

static void clear(struct fixture *f)
{
	plan_finish(&f->plan);
	manifest_finish(&f->manifest);
}

/* All transitions of a kind, or of every kind (-1), in their diverse order. */
static void order(struct fixture *f, int kind)
{
	struct err e;

	f->count = 0;
	for (size_t i = 0; i < f->plan.transition_count; i++)
		if (kind < 0 || f->plan.transitions[i].kind == (enum transition_kind)kind)
			f->order[f->count++] = i;
	assert_int_equal(diversity_order(&f->plan, f->pages, f->order, f->count, &e), 0);
}

static void assert_why(struct fixture *f, const char *key, const char *expected)
{
	char text[160];

	for (size_t i = 0; i < f->plan.transition_count; i++)
		if (strcmp(f->plan.transitions[i].key, key) == 0) {
			diversity_why(&f->plan, f->pages, i, text, sizeof(text));
			assert_string_equal(text, expected);
			return;
		}
	fail_msg("no transition %s", key);
}

static void says_what_makes_a_pair_different(void **state)
{
	static const struct spec specs[] = {
		{"/b1", 5, 1, false},
		{"/b1", 4, 1, false},
		{"/b1", 7, 1, false},
		{"/b2", 4, 2, false},
		{"/b2", 9, 2, true},
	};
	struct fixture f;

	(void)state;
	make(&f, specs, 5);
	assert_why(&f, "1.0.0:2.0.0", "smaller");
	assert_why(&f, "1.0.0:3.0.0", "larger, skips 1");
	assert_why(&f, "1.0.0:4.0.0",
		"smaller, bootloader changes, data format changes, skips 2, first to last");
	assert_why(&f, "2.0.0:4.0.0", "as large, bootloader changes, data format changes, skips 1");
	assert_why(&f, "1.0.0:5.0.0", "larger, bootloader changes, data format changes, skips 3");
	assert_why(&f, "4.0.0:5.0.0", "larger");
	assert_why(&f, "4.0.0:1.0.0", "larger, bootloader changes, data format changes, skips 2");
	clear(&f);
}

static void what_is_not_known_makes_no_difference(void **state)
{
	static const struct spec specs[] = {
		{NULL, 0, 0, false},
		{"/b1", 4, 1, false},
		{"/b2", 0, 0, false},
	};
	struct fixture f;

	(void)state;
	make(&f, specs, 3);
	assert_why(&f, "1.0.0:2.0.0", "");
	assert_why(&f, "2.0.0:3.0.0", "bootloader changes");
	clear(&f);
}

static void a_release_that_reverts_is_not_skipped(void **state)
{
	static const struct spec specs[] = {
		{NULL, 1, 1, false},
		{NULL, 1, 1, true},
		{NULL, 1, 1, false},
	};
	struct fixture f;

	(void)state;
	make(&f, specs, 3);
	assert_why(&f, "1.0.0:3.0.0", "as large, first to last");
	assert_why(&f, "3.0.0:1.0.0", "as large");
	clear(&f);
}

static void a_text_too_long_is_cut(void **state)
{
	static const struct spec specs[] = {{"/b1", 5, 1, false}, {"/b2", 4, 2, false}};
	struct fixture f;
	char text[20];

	(void)state;
	make(&f, specs, 2);
	for (size_t size = 1; size <= sizeof(text); size++) {
		memset(text, '?', sizeof(text));
		diversity_why(&f.plan, f.pages, 0, text, size);
		assert_int_equal(strlen(text), size - 1);
		assert_memory_equal(text, "smaller, bootloader", size - 1);
	}
	clear(&f);
}

static void the_demo_begins_with_first_to_last(void **state)
{
	static const struct spec specs[] = {
		{"/b", 5, 1, false},
		{"/b", 4, 1, false},
		{"/b", 7, 1, false},
		{"/b", 4, 2, false},
		{"/b", 4, 2, true},
	};
	static const char *const upgrades[] = {"1.0.0:4.0.0", "2.0.0:4.0.0", "2.0.0:3.0.0",
		"3.0.0:4.0.0", "1.0.0:3.0.0", "1.0.0:2.0.0"};
	struct fixture f;

	(void)state;
	make(&f, specs, 5);
	order(&f, TRANSITION_UPGRADE);
	assert_int_equal(f.count, 6);
	for (size_t i = 0; i < 6; i++)
		assert_string_equal(f.plan.transitions[f.order[i]].key, upgrades[i]);
	clear(&f);
}

/* --- against the words ------------------------------------------------------------------------ */

#define WORDS_MAX 8

/* The classes of a pair as words, from what is said of it. */
struct words {
	char list[WORDS_MAX][32];
	size_t count;
};

static void add_word(struct words *w, const char *word)
{
	assert_true(w->count < WORDS_MAX);
	snprintf(w->list[w->count++], sizeof(w->list[0]), "%s", word);
}

static struct words words_of(const struct fixture *f, size_t transition)
{
	struct words w = {.count = 0};
	char text[160], *at = text;
	bool skips = false;

	diversity_why(&f->plan, f->pages, transition, text, sizeof(text));
	while (*at) {
		char *end = strstr(at, ", "), *next = end ? end + 2 : at + strlen(at);

		if (end)
			*end = '\0';
		if (strncmp(at, "skips ", 6) == 0) {
			skips = true;
			at = strcmp(at, "skips 1") == 0 ? "skips one" : "skips more";
		}
		add_word(&w, at);
		at = next;
	}
	if (!skips)
		add_word(&w, "skips none");
	add_word(&w, transition_kind_name(f->plan.transitions[transition].kind));
	return w;
}

/* What a pair adds to the sets of words and of pairs of words: {words, pairs of words}. */
static void count_new(const json_t *seen, const struct words *w, size_t adds[2])
{
	adds[0] = adds[1] = 0;
	for (size_t i = 0; i < w->count; i++) {
		adds[0] += !json_object_get(seen, w->list[i]);
		for (size_t k = 0; k < w->count; k++) {
			char both[80];

			snprintf(both, sizeof(both), "%s+%s", w->list[i], w->list[k]);
			adds[1] += i < k && !json_object_get(seen, both);
		}
	}
}

static void see_words(json_t *seen, const struct words *w)
{
	for (size_t i = 0; i < w->count; i++) {
		json_object_set_new(seen, w->list[i], json_true());
		for (size_t k = 0; k < w->count; k++) {
			char both[80];

			snprintf(both, sizeof(both), "%s+%s", w->list[i], w->list[k]);
			json_object_set_new(seen, both, json_true());
		}
	}
}

/* The one to take next by trying all that are left, the first in the plan of equal ones. */
static size_t best_left(const struct fixture *f, const bool *taken, const json_t *seen, bool *none)
{
	size_t best = SIZE_MAX, most[2] = {0, 0}, adds[2];

	for (size_t i = 0; i < f->plan.transition_count; i++) {
		struct words w;

		if (taken[i])
			continue;
		w = words_of(f, i);
		count_new(seen, &w, adds);
		if (best != SIZE_MAX &&
			(adds[0] < most[0] || (adds[0] == most[0] && adds[1] <= most[1])))
			continue;
		best = i;
		memcpy(most, adds, sizeof(most));
	}
	*none = most[0] + most[1] == 0;
	return best;
}

static void assert_greedy(const struct fixture *f)
{
	bool taken[TRANSITIONS_MAX] = {false}, none;
	json_t *seen = json_object();

	assert_int_equal(f->count, f->plan.transition_count);
	for (size_t i = 0; i < f->count; i++) {
		size_t best = best_left(f, taken, seen, &none);
		struct words w;

		if (none) {
			json_object_clear(seen);
			best = best_left(f, taken, seen, &none);
		}
		assert_int_equal(f->order[i], best);
		taken[best] = true;
		w = words_of(f, best);
		see_words(seen, &w);
	}
	json_decref(seen);
}

static void next_is_always_what_adds_the_most(void **state)
{
	static const char *const bootloaders[] = {NULL, "/b1", "/b2"};

	(void)state;
	for (unsigned round = 0; round < 40; round++) {
		size_t n = 1 + random_below(6);
		struct spec specs[RELEASES_MAX];
		struct fixture f;

		for (size_t i = 0; i < n; i++)
			specs[i] = (struct spec){bootloaders[random_below(3)], random_below(4),
				(int)random_below(3), random_below(5) == 0};
		make(&f, specs, n);
		order(&f, -1);
		assert_greedy(&f);
		clear(&f);
	}
}

static void many_pairs_are_ordered_anew_once_everything_was_seen(void **state)
{
	struct spec specs[RELEASES_MAX];
	size_t begins = 0, seen = 0;
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < RELEASES_MAX; i++)
		specs[i] = (struct spec){"/b", 4 + i % 3, i < 6 ? 1 : 2, false};
	make(&f, specs, RELEASES_MAX);
	order(&f, TRANSITION_UPGRADE);
	assert_int_equal(f.count, RELEASES_MAX * (RELEASES_MAX - 1) / 2);
	/* not all from the first release one after the other: of the first third, few are */
	for (size_t i = 0; i < f.count / 3; i++) {
		begins += f.plan.transitions[f.order[i]].from == 0;
		seen |= (size_t)1 << f.plan.transitions[f.order[i]].from;
	}
	assert_true(begins <= f.count / 6);
	assert_true(seen > 1);
	clear(&f);
}

static void nothing_is_ordered_as_nothing(void **state)
{
	static const struct spec specs[] = {{NULL, 1, 1, false}};
	struct fixture f;

	(void)state;
	make(&f, specs, 1);
	order(&f, -1);
	assert_int_equal(f.count, 0);
	clear(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_makes_a_pair_different),
		cmocka_unit_test(what_is_not_known_makes_no_difference),
		cmocka_unit_test(a_release_that_reverts_is_not_skipped),
		cmocka_unit_test(a_text_too_long_is_cut),
		cmocka_unit_test(the_demo_begins_with_first_to_last),
		cmocka_unit_test(next_is_always_what_adds_the_most),
		cmocka_unit_test(many_pairs_are_ordered_anew_once_everything_was_seen),
		cmocka_unit_test(nothing_is_ordered_as_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
