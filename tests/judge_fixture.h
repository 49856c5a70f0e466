/*
 * What the tests of the judge share: observations to start from, written with single quotes, and
 * how they are changed and judged.
 */
#ifndef TESTS_JUDGE_FIXTURE_H
#define TESTS_JUDGE_FIXTURE_H

#include "rig/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* JSON with single quotes for double ones. */
static inline json_t *json_of(const char *text)
{
	char *copy = strdup(text);
	json_error_t bad;
	json_t *json;

	assert_non_null(copy);
	for (char *c = copy; *c; c++)
		if (*c == '\'')
			*c = '"';
	json = json_loads(copy, JSON_DECODE_ANY, &bad);
	if (!json)
		fail_msg("%s: %s", copy, bad.text);
	free(copy);
	return json;
}

/* An update that went well, with everything observed. */
static const char good_update[] =
	"{'from': '1.0.0', 'to': '2.0.0', 'expect': 'upgrade',"
	" 'limits': {'ready_within_ms': 10000, 'max_resets': 3},"
	" 'update': {'accepted': true},"
	" 'boots': [{'ready': true, 'resets': 1, 'ms': 120, 'version': '2.0.0'}],"
	" 'primary': {'release': '2.0.0', 'mixed': false, 'version': '2.0.0', 'hash': 'aa'},"
	" 'user_data': {'ok': true},"
	" 'status': {'slots': [{'slot': 0, 'version': '2.0.0', 'hash': 'aa', 'active': true,"
	"  'confirmed': true, 'pending': false, 'permanent': false, 'bootable': true},"
	"  {'slot': 1, 'version': '1.0.0', 'hash': 'bb', 'active': false, 'confirmed': false}]},"
	" 'reboot': {'boot': {'ready': true, 'resets': 0, 'ms': 90, 'version': '2.0.0'},"
	"  'primary': {'release': '2.0.0'}, 'user_data': {'ok': true}}}";

/* The same update cut at operation 57 of 100, and given again afterwards. */
static const char good_cut[] =
	"{'from': '1.0.0', 'to': '2.0.0', 'expect': 'upgrade',"
	" 'limits': {'ready_within_ms': 10000, 'max_resets': 3},"
	" 'cut': {'requested': '57', 'operations': 100, 'commit': null, 'fired': true,"
	"  'landed': {'agreement': 'agrees', 'skew': 0, 'done': 56, 'torn': false, 'cut': '57',"
	"   'as_requested': true, 'text': 'all is well'}},"
	" 'update': null,"
	" 'boots': [{'ready': true, 'resets': 0, 'ms': 120, 'version': '1.0.0'}],"
	" 'primary': {'release': '1.0.0'},"
	" 'user_data': {'ok': true},"
	" 'retry': {'accepted': true, 'boot': {'ready': true, 'resets': 1, 'version': '2.0.0'},"
	"  'primary': {'release': '2.0.0'}, 'user_data': {'ok': true}}}";

/* A downgrade that the device refused. */
static const char good_refusal[] =
	"{'from': '2.0.0', 'to': '1.0.0', 'expect': 'refuse',"
	" 'limits': {'max_resets': 3},"
	" 'update': {'accepted': false, 'error': 'image version too low'},"
	" 'boots': [{'ready': true, 'resets': 0, 'version': '2.0.0'}],"
	" 'primary': {'release': '2.0.0'}, 'user_data': {'ok': true}}";

/* A release that gave itself up at its first boot; the same update again, and then a good one. */
static const char good_revert[] =
	"{'from': '1.0.0', 'to': '1.2.1', 'expect': 'revert',"
	" 'limits': {'ready_within_ms': 10000, 'max_resets': 3},"
	" 'update': {'accepted': true},"
	" 'boots': [{'ready': true, 'resets': 2, 'version': '1.0.0'}],"
	" 'primary': {'release': '1.0.0'}, 'user_data': {'ok': true},"
	" 'reboot': {'boot': {'ready': true, 'resets': 0, 'version': '1.0.0'}},"
	" 'retry': {'accepted': true, 'boot': {'ready': true, 'version': '1.0.0'},"
	"  'primary': {'release': '1.0.0'}},"
	" 'later': {'to': '2.0.0', 'accepted': true, 'boot': {'ready': true, 'version': '2.0.0'},"
	"  'primary': {'release': '2.0.0'}, 'user_data': {'ok': true}}}";

/* An update that is not confirmed yet, with the second slot read back and its operations checked.
 */
static const char good_on_trial[] =
	"{'from': '1.0.0', 'to': '2.0.0', 'expect': 'upgrade', 'limits': {'max_resets': 3},"
	" 'update': {'accepted': true}, 'boots': [{'ready': true, 'version': '2.0.0'}],"
	" 'primary': {'release': '2.0.0'}, 'fallback': {'release': '1.0.0'},"
	" 'status': {'slots': [{'slot': 0, 'active': true, 'confirmed': false}]},"
	" 'writes': {'outside': [], 'unerased': [], 'checked': 15000}}";

/* The observations with fields replaced, those of tables within too. */
static inline json_t *observed(const char *base, const char *change)
{
	json_t *json = json_of(base), *patch = json_of(change);

	assert_int_equal(json_object_update_recursive(json, patch), 0);
	json_decref(patch);
	return json;
}

static inline json_t *judged(const char *base, const char *change)
{
	json_t *observations = observed(base, change), *findings = judge(observations);

	assert_non_null(findings);
	json_decref(observations);
	return findings;
}

static inline const json_t *find(const json_t *findings, const char *name)
{
	json_t *finding;
	size_t i;

	json_array_foreach (findings, i, finding)
		if (strcmp(json_string_value(json_object_get(finding, "name")), name) == 0)
			return finding;
	return NULL;
}

#endif
