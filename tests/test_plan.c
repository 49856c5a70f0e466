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

#define RELEASES_MAX 40

static uint64_t rng = 88172645463325252u;

static uint32_t next_random(void)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)(rng >> 16);
}

/* Releases 1.0.0 … n.0.0, three months apart from January 2020 on, under a policy in JSON. */
static struct manifest make_manifest(size_t n, const char *policy)
{
	json_t *releases = json_array(), *json;
	struct manifest m;
	json_error_t bad;
	struct err e;

	for (size_t i = 0; i < n; i++) {
		char version[64], date[64];

		snprintf(version, sizeof(version), "%zu.0.0", i + 1);
		snprintf(date, sizeof(date), "%04zu-%02zu-15", 2020 + i / 4, i % 4 * 3 + 1);
		json_array_append_new(releases,
			json_pack("{s:s, s:s, s:i, s:{s:s}}", "version", version, "date", date,
				"security_counter", (int)(i / 2), "images", "application", "/a"));
	}
	json = json_pack("{s:s, s:s, s:o, s:o}", "file", "r.lua", "product", "demo", "releases",
		releases, "policy", json_loads(policy, 0, &bad));
	assert_non_null(json);
	assert_int_equal(manifest_init(&m, json, &e), 0);
	json_decref(json);
	return m;
}

static struct plan make_plan(const struct manifest *m, const char *only)
{
	struct plan plan;
	struct err e;

	assert_int_equal(plan_init(&plan, m, &only, only ? 1 : 0, &e), 0);
	return plan;
}

static const struct transition *find(const struct plan *plan, const char *key)
{
	for (size_t i = 0; i < plan->transition_count; i++)
		if (strcmp(plan->transitions[i].key, key) == 0)
			return &plan->transitions[i];
	fail_msg("no transition %s", key);
	return NULL;
}

static void assert_decided(
	const struct plan *plan, const char *key, enum transition_kind kind, const char *reason)
{
	const struct transition *t = find(plan, key);

	assert_int_equal(t->kind, kind);
	assert_string_equal(t->reason, reason);
}

/* --- policy ---------------------------------------------------------------------------------- */

static void any_later_version_is_an_upgrade_and_an_earlier_one_is_refused(void **state)
{
	struct manifest m = make_manifest(4, "{}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_int_equal(plan.transition_count, 12);
	assert_decided(&plan, "1.0.0:2.0.0", TRANSITION_UPGRADE, "");
	assert_decided(&plan, "1.0.0:4.0.0", TRANSITION_UPGRADE, "");
	assert_decided(&plan, "4.0.0:1.0.0", TRANSITION_REFUSE, "policy: downgrade");
	assert_int_equal(find(&plan, "1.0.0:4.0.0")->path_count, 1);
	assert_int_equal(find(&plan, "1.0.0:4.0.0")->path[0], 3);
	assert_int_equal(find(&plan, "4.0.0:1.0.0")->path[0], 0);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void incremental_policy_takes_the_next_version_only(void **state)
{
	struct manifest m = make_manifest(4, "{\"updates\": \"incremental\"}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "1.0.0:2.0.0", TRANSITION_UPGRADE, "");
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_REFUSE,
		"policy: incremental updates, next is 2.0.0");
	assert_decided(&plan, "3.0.0:4.0.0", TRANSITION_UPGRADE, "");
	assert_int_equal(plan.trail_count, 1);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void a_window_of_months_counts_from_the_release_held(void **state)
{
	struct manifest m =
		make_manifest(4, "{\"updates\": \"window\", \"window\": {\"months\": 6}}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_UPGRADE, ""); /* to the day */
	assert_decided(&plan, "1.0.0:4.0.0", TRANSITION_REFUSE, "policy: window of 6 months");
	assert_decided(&plan, "2.0.0:4.0.0", TRANSITION_UPGRADE, "");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void a_window_of_versions_counts_releases(void **state)
{
	struct manifest m =
		make_manifest(4, "{\"updates\": \"window\", \"window\": {\"versions\": 1}}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "1.0.0:2.0.0", TRANSITION_UPGRADE, "");
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_REFUSE, "policy: window of 1 version");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void the_refuse_list_goes_before_everything(void **state)
{
	struct manifest m =
		make_manifest(4, "{\"refuse\": [[\"1.0.0\", \"3.0.0\"], [\"4.0.0\", \"1.0.0\"]], "
				 "\"via\": {\"1.0.0\": \"2.0.0\"}}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_REFUSE, "policy: refuse list");
	assert_decided(&plan, "4.0.0:1.0.0", TRANSITION_REFUSE, "policy: refuse list");
	assert_int_equal(find(&plan, "1.0.0:3.0.0")->path_count, 1);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void via_leads_through_every_stop(void **state)
{
	struct manifest m =
		make_manifest(6, "{\"via\": {\"1.0.0\": \"3.0.0\", \"3.0.0\": \"4.0.0\"}}");
	struct plan plan = make_plan(&m, NULL);
	const struct transition *t;

	(void)state;
	assert_decided(&plan, "1.0.0:2.0.0", TRANSITION_UPGRADE, "");
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_UPGRADE, "");
	assert_decided(&plan, "1.0.0:6.0.0", TRANSITION_UPGRADE_VIA, "policy: via 3.0.0");
	t = find(&plan, "1.0.0:6.0.0");
	assert_int_equal(t->path_count, 3);
	assert_int_equal(t->path[0], 2);
	assert_int_equal(t->path[1], 3);
	assert_int_equal(t->path[2], 5);
	assert_decided(&plan, "2.0.0:6.0.0", TRANSITION_UPGRADE, "");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void a_way_with_a_refused_leg_is_refused(void **state)
{
	struct manifest m = make_manifest(
		4, "{\"via\": {\"1.0.0\": \"2.0.0\"}, \"refuse\": [[\"2.0.0\", \"4.0.0\"]]}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "1.0.0:4.0.0", TRANSITION_REFUSE,
		"policy: refuse list (on the way at 2.0.0)");
	assert_int_equal(find(&plan, "1.0.0:4.0.0")->path_count, 1);
	assert_int_equal(find(&plan, "1.0.0:4.0.0")->path[0], 3);
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_UPGRADE_VIA, "policy: via 2.0.0");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void via_helps_over_a_window(void **state)
{
	struct manifest m =
		make_manifest(3, "{\"updates\": \"window\", \"window\": {\"versions\": 1}, "
				 "\"via\": {\"1.0.0\": \"2.0.0\"}}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_UPGRADE_VIA, "policy: via 2.0.0");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void a_downgrade_below_the_security_counter_is_refused_where_others_are_allowed(void **state)
{
	struct manifest m = make_manifest(4, "{\"downgrade\": true}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	assert_decided(&plan, "2.0.0:1.0.0", TRANSITION_DOWNGRADE, "");
	assert_decided(&plan, "3.0.0:1.0.0", TRANSITION_REFUSE, "security counter 0 is below 1");
	plan_finish(&plan);
	manifest_finish(&m);
}

static bool has(const struct plan *plan, const char *key)
{
	for (size_t i = 0; i < plan->transition_count; i++)
		if (strcmp(plan->transitions[i].key, key) == 0)
			return true;
	return false;
}

/* Every transition to or from the release at index, counted by kind. */
static void count_kinds(const struct plan *plan, size_t index, size_t *counts)
{
	for (int k = 0; k <= TRANSITION_REVERT; k++)
		counts[k] = 0;
	for (size_t i = 0; i < plan->transition_count; i++) {
		const struct transition *t = &plan->transitions[i];

		assert_int_not_equal(t->from, index);
		for (size_t k = 0; k + 1 < t->path_count; k++)
			assert_int_not_equal(t->path[k], index);
		if (t->to == index)
			counts[t->kind]++;
	}
}

static void a_release_that_reverts_is_updated_to_and_never_from(void **state)
{
	struct manifest m = make_manifest(4, "{}");
	size_t counts[TRANSITION_REVERT + 1];
	struct plan plan;

	(void)state;
	m.releases[2].reverts = true;
	plan = make_plan(&m, NULL);
	assert_int_equal(plan.transition_count, 3 * 2 + 3);
	count_kinds(&plan, 2, counts);
	assert_int_equal(counts[TRANSITION_REVERT], 2);
	assert_int_equal(counts[TRANSITION_REFUSE], 1);
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_REVERT, "manifest: 3.0.0 reverts");
	assert_decided(&plan, "4.0.0:3.0.0", TRANSITION_REFUSE, "policy: downgrade");
	assert_int_equal(transition_holds(find(&plan, "1.0.0:3.0.0")), 0);
	assert_int_equal(transition_holds(find(&plan, "1.0.0:4.0.0")), 3);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void a_refused_pair_stays_refused_where_the_release_reverts(void **state)
{
	struct manifest m = make_manifest(3, "{\"refuse\": [[\"1.0.0\", \"3.0.0\"]]}");
	struct plan plan;

	(void)state;
	m.releases[2].reverts = true;
	plan = make_plan(&m, NULL);
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_REFUSE, "policy: refuse list");
	assert_decided(&plan, "2.0.0:3.0.0", TRANSITION_REVERT, "manifest: 3.0.0 reverts");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void nothing_goes_back_to_a_release_that_reverts(void **state)
{
	struct manifest m = make_manifest(4, "{\"downgrade\": true}");
	struct plan plan;

	(void)state;
	m.releases[2].reverts = true;
	m.releases[3].security_counter = m.releases[2].security_counter;
	plan = make_plan(&m, NULL);
	assert_false(has(&plan, "4.0.0:3.0.0"));
	assert_true(has(&plan, "4.0.0:2.0.0"));
	plan_finish(&plan);
	m.releases[3].security_counter++;
	plan = make_plan(&m, NULL);
	assert_decided(&plan, "4.0.0:3.0.0", TRANSITION_REFUSE, "security counter 1 is below 2");
	plan_finish(&plan);
	manifest_finish(&m);
}

static void policy_counts_no_release_that_reverts(void **state)
{
	static const struct {
		const char *policy, *refused;
	} cases[] = {
		{"{\"updates\": \"incremental\"}", "policy: incremental updates, next is 3.0.0"},
		{"{\"updates\": \"window\", \"window\": {\"versions\": 1}}",
			"policy: window of 1 version"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct manifest m = make_manifest(5, cases[i].policy);
		struct plan plan;

		m.releases[1].reverts = m.releases[4].reverts = true;
		plan = make_plan(&m, NULL);
		assert_decided(&plan, "1.0.0:2.0.0", TRANSITION_REVERT, "manifest: 2.0.0 reverts");
		assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_UPGRADE, "");
		assert_decided(&plan, "1.0.0:4.0.0", TRANSITION_REFUSE, cases[i].refused);
		assert_decided(&plan, "1.0.0:5.0.0", TRANSITION_REFUSE, cases[i].refused);
		assert_decided(&plan, "4.0.0:5.0.0", TRANSITION_REVERT, "manifest: 5.0.0 reverts");
		plan_finish(&plan);
		manifest_finish(&m);
	}
}

static void where_via_leads_to_a_release_that_reverts_only_the_last_leg_is_tried(void **state)
{
	struct manifest m = make_manifest(4, "{\"via\": {\"1.0.0\": \"2.0.0\"}}");
	struct plan plan;

	(void)state;
	m.releases[3].reverts = true;
	plan = make_plan(&m, NULL);
	assert_false(has(&plan, "1.0.0:4.0.0"));
	assert_decided(&plan, "2.0.0:4.0.0", TRANSITION_REVERT, "manifest: 4.0.0 reverts");
	assert_decided(&plan, "1.0.0:3.0.0", TRANSITION_UPGRADE_VIA, "policy: via 2.0.0");
	plan_finish(&plan);
	manifest_finish(&m);
}

/* --- filters --------------------------------------------------------------------------------- */

static void filters_choose_transitions(void **state)
{
	struct manifest m = make_manifest(5, "{}");
	const char *both[] = {"1.0.0:*", "*:1.0.0"}, *same[] = {"1.0.0:2.0.0", "1.0.0:2.0.0"};
	struct plan plan;
	struct err e;

	(void)state;
	plan = make_plan(&m, "1.0.0:3.0.0");
	assert_int_equal(plan.transition_count, 1);
	assert_int_equal(plan.trail_count, 1);
	plan_finish(&plan);
	plan = make_plan(&m, "*:3.0.0");
	assert_int_equal(plan.transition_count, 4);
	plan_finish(&plan);
	plan = make_plan(&m, "*:*");
	assert_int_equal(plan.transition_count, 20);
	plan_finish(&plan);
	assert_int_equal(plan_init(&plan, &m, both, 2, &e), 0);
	assert_int_equal(plan.transition_count, 8);
	plan_finish(&plan);
	assert_int_equal(plan_init(&plan, &m, same, 2, &e), 0);
	assert_int_equal(plan.transition_count, 1);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void says_what_is_wrong_with_a_filter(void **state)
{
	static const struct {
		const char *only, *message;
	} cases[] = {
		{"1.0.0", "--only 1.0.0: expected FROM:TO, either may be \"*\""},
		{"1.0.0:2.0.0:3.0.0",
			"--only 1.0.0:2.0.0:3.0.0: expected FROM:TO, either may be \"*\""},
		{"1.0.0:9.0.0",
			"--only 1.0.0:9.0.0: r.lua has no release \"9.0.0\"; it has 1.0.0, 2.0.0"},
		{":2.0.0", "--only :2.0.0: r.lua has no release \"\"; it has 1.0.0, 2.0.0"},
		{"**:2.0.0", "--only **:2.0.0: r.lua has no release \"**\"; it has 1.0.0, 2.0.0"},
		{"1.0.0:1.0.0", "--only selects no transition of r.lua"},
	};
	struct manifest m = make_manifest(2, "{}");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct plan plan;
		struct err e;

		assert_int_equal(plan_init(&plan, &m, &cases[i].only, 1, &e), -ERR_USAGE);
		assert_string_equal(e.msg, cases[i].message);
		assert_null(plan.transitions);
	}
	manifest_finish(&m);
}

/* --- trails ---------------------------------------------------------------------------------- */

/* Every transition once, every step from what the board holds then. */
static void assert_trails_are_sound(const struct plan *plan)
{
	size_t *seen = calloc(plan->transition_count + 1, sizeof(*seen));

	assert_non_null(seen);
	for (size_t i = 0; i < plan->trail_count; i++) {
		size_t held = plan->trails[i].start;

		assert_true(plan->trails[i].step_count > 0);
		for (size_t k = 0; k < plan->trails[i].step_count; k++) {
			const struct transition *t = &plan->transitions[plan->trails[i].steps[k]];

			assert_int_equal(t->from, held);
			if (t->kind != TRANSITION_REFUSE && t->kind != TRANSITION_REVERT)
				held = t->to;
			seen[plan->trails[i].steps[k]]++;
		}
	}
	for (size_t i = 0; i < plan->transition_count; i++)
		assert_int_equal(seen[i], 1);
	free(seen);
}

static size_t root_of(const size_t *parent, size_t i)
{
	while (parent[i] != i)
		i = parent[i];
	return i;
}

/* The fewest flashes by the formula: per connected part, sum of max(0, out − in) or 1. */
static size_t fewest_flashes(const struct plan *plan)
{
	size_t n = plan->manifest->count, parent[RELEASES_MAX], sum = 0;
	long surplus[RELEASES_MAX] = {0}, need[RELEASES_MAX] = {0};
	bool moves[RELEASES_MAX] = {false}, alone[RELEASES_MAX] = {false};

	for (size_t i = 0; i < n; i++)
		parent[i] = i;
	for (size_t i = 0; i < plan->transition_count; i++) {
		const struct transition *t = &plan->transitions[i];

		if (t->kind == TRANSITION_REFUSE || t->kind == TRANSITION_REVERT) {
			alone[t->from] = true;
			continue;
		}
		moves[t->from] = moves[t->to] = true;
		surplus[t->from]++;
		surplus[t->to]--;
		parent[root_of(parent, t->from)] = root_of(parent, t->to);
	}
	for (size_t i = 0; i < n; i++)
		if (surplus[i] > 0)
			need[root_of(parent, i)] += surplus[i];
	for (size_t i = 0; i < n; i++)
		if (root_of(parent, i) == i && moves[i])
			sum += need[i] ? (size_t)need[i] : 1;
	for (size_t i = 0; i < n; i++)
		sum += alone[i] && !moves[i];
	return sum;
}

static void upgrades_need_a_quarter_of_the_square_of_flashes(void **state)
{
	(void)state;
	for (size_t n = 2; n <= 24; n++) {
		struct manifest m = make_manifest(n, "{}");
		struct plan plan = make_plan(&m, NULL);

		assert_int_equal(plan.transition_count, n * (n - 1));
		assert_int_equal(plan.trail_count, n * n / 4);
		assert_trails_are_sound(&plan);
		plan_finish(&plan);
		manifest_finish(&m);
	}
}

static void twenty_releases_need_100_flashes_instead_of_190(void **state)
{
	struct manifest m = make_manifest(20, "{}");
	struct plan plan = make_plan(&m, NULL);
	size_t upgrades = 0;

	(void)state;
	for (size_t i = 0; i < plan.transition_count; i++)
		upgrades += plan.transitions[i].kind == TRANSITION_UPGRADE;
	assert_int_equal(upgrades, 190);
	assert_int_equal(plan.trail_count, 100);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void with_downgrades_one_flash_serves_all(void **state)
{
	(void)state;
	for (size_t n = 2; n <= 24; n++) {
		struct manifest m = make_manifest(n, "{\"downgrade\": true}");
		struct plan plan;

		for (size_t i = 0; i < n; i++)
			m.releases[i].security_counter = 0;
		plan = make_plan(&m, NULL);
		assert_int_equal(plan.trail_count, 1);
		assert_int_equal(plan.trails[0].step_count, n * (n - 1));
		assert_trails_are_sound(&plan);
		plan_finish(&plan);
		manifest_finish(&m);
	}
}

static void refused_transitions_cost_no_flash_where_a_trail_comes_by(void **state)
{
	struct manifest m = make_manifest(3, "{\"updates\": \"incremental\"}");
	struct plan plan = make_plan(&m, NULL);

	(void)state;
	/* 1→2→3, and 1→3, 2→1, 3→1, 3→2 refused on the way */
	assert_int_equal(plan.trail_count, 1);
	assert_int_equal(plan.trails[0].step_count, 6);
	assert_trails_are_sound(&plan);
	plan_finish(&plan);
	plan = make_plan(&m, "3.0.0:*");
	assert_int_equal(plan.trail_count, 1);
	assert_int_equal(plan.trails[0].start, 2);
	assert_int_equal(plan.trails[0].step_count, 2);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void any_choice_of_transitions_needs_as_few_flashes_as_the_formula_says(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 300; round++) {
		size_t n = 2 + next_random() % 9, count = 1 + next_random() % 12;
		struct manifest m = make_manifest(n, "{\"downgrade\": true}");
		char text[12][64];
		const char *only[12];
		struct plan plan;
		struct err e;

		for (size_t i = 0; i < n; i++)
			m.releases[i].security_counter = (int)(next_random() % 2);
		m.releases[n - 1].reverts = round % 3 == 0;
		for (size_t i = 0; i < count; i++) {
			size_t held = n - m.releases[n - 1].reverts;
			size_t from = next_random() % held,
			       to = (from + 1 + next_random() % (n - 1)) % n;

			snprintf(text[i], sizeof(text[i]), "%zu.0.0:%zu.0.0", from + 1, to + 1);
			only[i] = text[i];
		}
		assert_int_equal(plan_init(&plan, &m, only, count, &e), 0);
		assert_trails_are_sound(&plan);
		assert_int_equal(plan.trail_count, fewest_flashes(&plan));
		plan_finish(&plan);
		manifest_finish(&m);
	}
}

static void reverts_cost_no_flash_where_a_trail_comes_by(void **state)
{
	struct manifest m = make_manifest(5, "{}");
	struct plan plan;

	(void)state;
	m.releases[4].reverts = true;
	plan = make_plan(&m, NULL);
	assert_int_equal(plan.transition_count, 16);
	assert_int_equal(plan.trail_count, 4);
	assert_trails_are_sound(&plan);
	plan_finish(&plan);
	plan = make_plan(&m, "*:5.0.0");
	assert_int_equal(plan.transition_count, 4);
	assert_int_equal(plan.trail_count, 4);
	assert_trails_are_sound(&plan);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void the_same_manifest_gives_the_same_plan(void **state)
{
	struct manifest m = make_manifest(9, "{\"downgrade\": true}");
	struct plan a = make_plan(&m, NULL), b = make_plan(&m, NULL);
	json_t *x = plan_to_json(&a), *y = plan_to_json(&b);

	(void)state;
	assert_true(json_equal(x, y));
	json_decref(x);
	json_decref(y);
	plan_finish(&a);
	plan_finish(&b);
	manifest_finish(&m);
}

/* --- shares ---------------------------------------------------------------------------------- */

static const struct plan_cost cost = {.flash_ms = 500, .update_ms = 3000, .refuse_ms = 400};

static unsigned long long share_of(const struct plan *plan, unsigned board)
{
	unsigned long long sum = 0;

	for (size_t i = 0; i < plan->trail_count; i++) {
		if (plan->trails[i].board != board)
			continue;
		sum += cost.flash_ms;
		for (size_t k = 0; k < plan->trails[i].step_count; k++) {
			const struct transition *t = &plan->transitions[plan->trails[i].steps[k]];

			sum += t->kind == TRANSITION_REFUSE ? cost.refuse_ms
							    : cost.update_ms * t->path_count;
		}
	}
	return sum;
}

#define STEPS_MAX 128

/* The shortest possible longest share, by trying every way to cut the plan into stretches. */
static unsigned long long best_longest_share(const struct plan *plan, unsigned boards)
{
	unsigned long long work[STEPS_MAX], best[STEPS_MAX + 1];
	bool begins[STEPS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < plan->trail_count; i++)
		for (size_t k = 0; k < plan->trails[i].step_count; k++) {
			const struct transition *t = &plan->transitions[plan->trails[i].steps[k]];

			assert_true(n < STEPS_MAX);
			begins[n] = k == 0;
			work[n++] = t->kind == TRANSITION_REFUSE ? cost.refuse_ms
								 : cost.update_ms * t->path_count;
		}
	/* best[i]: for the steps from i on, with the boards that are left */
	for (size_t i = 0; i <= n; i++)
		best[i] = i < n ? UINT64_MAX : 0;
	for (unsigned b = 0; b < boards; b++)
		for (size_t i = 0; i < n; i++) {
			unsigned long long share = 0, longest = UINT64_MAX;

			for (size_t j = i; j < n; j++) {
				share += work[j] + (begins[j] || j == i ? cost.flash_ms : 0);
				if ((share > best[j + 1] ? share : best[j + 1]) < longest)
					longest = share > best[j + 1] ? share : best[j + 1];
			}
			best[i] = longest; /* best[j + 1] still is that of one board less */
		}
	return best[0];
}

static void shares_are_as_even_as_they_can_be_and_lose_nothing(void **state)
{
	static const char *const policies[] = {"{}", "{\"downgrade\": true}",
		"{\"updates\": \"incremental\"}", "{\"via\": {\"1.0.0\": \"3.0.0\"}}"};

	(void)state;
	for (size_t p = 0; p < sizeof(policies) / sizeof(*policies); p++)
		for (unsigned boards = 1; boards <= 7; boards++) {
			struct manifest m = make_manifest(8, policies[p]);
			struct plan plan = make_plan(&m, NULL);
			unsigned long long best, longest = 0;
			size_t flashes = plan.trail_count;
			struct err e;

			best = best_longest_share(&plan, boards);
			assert_int_equal(plan_shard(&plan, boards, &cost, &e), 0);
			assert_trails_are_sound(&plan);
			assert_in_range(plan.trail_count, flashes, flashes + boards - 1);
			for (unsigned b = 0; b < boards; b++)
				if (share_of(&plan, b) > longest)
					longest = share_of(&plan, b);
			assert_int_equal(longest, best);
			for (size_t i = 0; i < plan.trail_count; i++)
				assert_true(plan.trails[i].board < boards);
			plan_finish(&plan);
			manifest_finish(&m);
		}
}

static void a_revert_is_as_much_work_as_two_updates(void **state)
{
	struct manifest m = make_manifest(2, "{}");
	struct plan plan;

	(void)state;
	m.releases[1].reverts = true;
	plan = make_plan(&m, NULL);
	assert_int_equal(
		plan_estimate_ms(&plan, &cost), cost.flash_ms + 2 * (size_t)cost.update_ms);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void one_board_keeps_the_trails_as_they_are(void **state)
{
	struct manifest m = make_manifest(6, "{}");
	struct plan plan = make_plan(&m, NULL);
	json_t *before = plan_to_json(&plan), *after;
	struct err e;

	(void)state;
	assert_int_equal(plan_shard(&plan, 1, &cost, &e), 0);
	after = plan_to_json(&plan);
	assert_true(json_equal(before, after));
	json_decref(before);
	json_decref(after);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void more_boards_than_steps_leave_boards_idle(void **state)
{
	struct manifest m = make_manifest(2, "{}");
	struct plan plan = make_plan(&m, NULL);
	struct err e;

	(void)state;
	assert_int_equal(plan_shard(&plan, 9, &cost, &e), 0);
	assert_trails_are_sound(&plan);
	assert_in_range(plan.trail_count, 1, 2);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void a_manifest_of_one_release_has_an_empty_plan(void **state)
{
	struct manifest m = make_manifest(1, "{}");
	struct plan plan = make_plan(&m, NULL);
	struct err e;

	(void)state;
	assert_int_equal(plan.transition_count, 0);
	assert_int_equal(plan.trail_count, 0);
	assert_int_equal(plan_shard(&plan, 3, &cost, &e), 0);
	assert_int_equal(plan_estimate_ms(&plan, &cost), 0);
	plan_finish(&plan);
	manifest_finish(&m);
}

static void becomes_json(void **state)
{
	struct manifest m = make_manifest(2, "{}");
	struct plan plan = make_plan(&m, NULL);
	json_t *json = plan_to_json(&plan), *expected;

	(void)state;
	expected = json_pack("{s:s, s:[s,s], s:[{s:s, s:s, s:s, s:s, s:[s], s:s}, {s:s, s:s, s:s, "
			     "s:s, s:[s], s:s}], s:[{s:s, s:i, s:[s,s]}], s:i, s:i}",
		"product", "demo", "releases", "1.0.0", "2.0.0", "transitions", "key",
		"1.0.0:2.0.0", "from", "1.0.0", "to", "2.0.0", "kind", "upgrade", "path", "2.0.0",
		"reason", "", "key", "2.0.0:1.0.0", "from", "2.0.0", "to", "1.0.0", "kind",
		"refuse", "path", "1.0.0", "reason", "policy: downgrade", "trails", "start",
		"1.0.0", "board", 0, "steps", "1.0.0:2.0.0", "2.0.0:1.0.0", "flashes", 1,
		"flashes_saved", 1);
	assert_non_null(expected);
	assert_true(json_equal(json, expected));
	json_decref(json);
	json_decref(expected);
	plan_finish(&plan);
	manifest_finish(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_later_version_is_an_upgrade_and_an_earlier_one_is_refused),
		cmocka_unit_test(incremental_policy_takes_the_next_version_only),
		cmocka_unit_test(a_window_of_months_counts_from_the_release_held),
		cmocka_unit_test(a_window_of_versions_counts_releases),
		cmocka_unit_test(the_refuse_list_goes_before_everything),
		cmocka_unit_test(via_leads_through_every_stop),
		cmocka_unit_test(a_way_with_a_refused_leg_is_refused),
		cmocka_unit_test(via_helps_over_a_window),
		cmocka_unit_test(
			a_downgrade_below_the_security_counter_is_refused_where_others_are_allowed),
		cmocka_unit_test(a_release_that_reverts_is_updated_to_and_never_from),
		cmocka_unit_test(a_refused_pair_stays_refused_where_the_release_reverts),
		cmocka_unit_test(nothing_goes_back_to_a_release_that_reverts),
		cmocka_unit_test(policy_counts_no_release_that_reverts),
		cmocka_unit_test(
			where_via_leads_to_a_release_that_reverts_only_the_last_leg_is_tried),
		cmocka_unit_test(filters_choose_transitions),
		cmocka_unit_test(says_what_is_wrong_with_a_filter),
		cmocka_unit_test(upgrades_need_a_quarter_of_the_square_of_flashes),
		cmocka_unit_test(twenty_releases_need_100_flashes_instead_of_190),
		cmocka_unit_test(with_downgrades_one_flash_serves_all),
		cmocka_unit_test(refused_transitions_cost_no_flash_where_a_trail_comes_by),
		cmocka_unit_test(
			any_choice_of_transitions_needs_as_few_flashes_as_the_formula_says),
		cmocka_unit_test(reverts_cost_no_flash_where_a_trail_comes_by),
		cmocka_unit_test(the_same_manifest_gives_the_same_plan),
		cmocka_unit_test(shares_are_as_even_as_they_can_be_and_lose_nothing),
		cmocka_unit_test(a_revert_is_as_much_work_as_two_updates),
		cmocka_unit_test(one_board_keeps_the_trails_as_they_are),
		cmocka_unit_test(more_boards_than_steps_leave_boards_idle),
		cmocka_unit_test(a_manifest_of_one_release_has_an_empty_plan),
		cmocka_unit_test(becomes_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
