#include "rig/err.h"
#include "rig/file.h"
#include "rig/shape.h"

#include "judge_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_all_hold(const char *base, const char *change)
{
	json_t *findings = judged(base, change), *finding;
	size_t i;

	json_array_foreach (findings, i, finding) {
		if (!json_is_true(json_object_get(finding, "ok")))
			fail_msg("%s: %s: expected %s, seen %s", change,
				json_string_value(json_object_get(finding, "name")),
				json_string_value(json_object_get(finding, "expected")),
				json_string_value(json_object_get(finding, "seen")));
		assert_true(json_is_null(json_object_get(finding, "expected")));
		assert_true(json_is_null(json_object_get(finding, "seen")));
		assert_true(json_string_length(json_object_get(finding, "what")) > 0);
	}
	assert_int_equal(judge_verdict(findings), VERDICT_PASS);
	json_decref(findings);
}

static void claims_all_that_was_observed_and_nothing_else(void **state)
{
	static const struct {
		const char *base, *change, *names;
	} cases[] = {
		{good_update, "{}",
			"boot-loop bricked mixed-image image-damaged downgraded update-failed "
			"wrong-version false-version illegal-state data-lost late-revert unstable "},
		{good_update,
			"{'primary': null, 'user_data': null, 'status': null, 'reboot': null, "
			"'limits': null, 'update': null}",
			"bricked downgraded wrong-version "},
		{good_cut, "{}",
			"cut-skewed boot-loop bricked mixed-image image-damaged downgraded "
			"wrong-version false-version data-lost retry-fails "},
		{good_cut, "{'cut': {'landed': null}, 'retry': null, 'user_data': null}",
			"boot-loop bricked mixed-image image-damaged downgraded wrong-version "
			"false-version "},
		{good_refusal, "{}",
			"boot-loop bricked mixed-image image-damaged not-refused downgraded "
			"wrong-version false-version data-lost "},
		{good_revert, "{}",
			"boot-loop bricked mixed-image image-damaged update-failed not-reverted "
			"false-version data-lost unstable retry-fails later-fails "},
		{good_on_trial, "{}",
			"boot-loop bricked mixed-image image-damaged downgraded update-failed "
			"wrong-version false-version illegal-state fallback-lost wrote-outside "
			"programmed-unerased "},
		/* of no operation at all nothing is known, and no cut is no witness */
		{good_on_trial, "{'status': null, 'writes': {'checked': 0}}",
			"boot-loop bricked mixed-image image-damaged downgraded update-failed "
			"wrong-version false-version "},
		{good_cut, "{'cut': {'new_at': 57}, 'retry': null, 'user_data': null}",
			"cut-skewed boot-loop bricked mixed-image image-damaged downgraded "
			"wrong-version false-version commit-not-monotone "},
		{good_cut, "{'cut': {'old_at': 99}, 'retry': null, 'user_data': null}",
			"cut-skewed boot-loop bricked mixed-image image-damaged downgraded "
			"wrong-version false-version "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *findings = judged(cases[i].base, cases[i].change), *finding;
		char names[512] = "";
		size_t k;

		json_array_foreach (findings, k, finding)
			snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s ",
				json_string_value(json_object_get(finding, "name")));
		assert_string_equal(names, cases[i].names);
		json_decref(findings);
		assert_all_hold(cases[i].base, cases[i].change);
	}
}

#define RUNS_NEW "'boots': [{'ready': true, 'version': '2.0.0'}], 'primary': {'release': '2.0.0'}"

static void holds_where_it_should(void **state)
{
	static const struct {
		const char *base, *change;
	} cases[] = {
		/* after a cut the new one may run too */
		{good_cut,
			"{'boots': [{'ready': true, 'version': '2.0.0'}], 'primary': {'release': "
			"'2.0.0'}, 'retry': null}"},
		/* before the commit point the old one, after it the new one, between them either */
		{good_cut, "{'cut': {'commit': 57}}"},
		{good_cut, "{'cut': {'commit': 57, 'landed': {'torn': true}}}"},
		{good_cut, "{'cut': {'commit': 57, 'landed': {'torn': true}}, 'boots': [{'ready': "
			   "true, 'version': '2.0.0'}], 'primary': {'release': '2.0.0'}}"},
		{good_cut, "{'cut': {'commit': 56}, 'boots': [{'ready': true, 'version': "
			   "'2.0.0'}], 'primary': {'release': '2.0.0'}}"},
		/* a second cut counts from elsewhere: the commit point says nothing */
		{good_cut, "{'cut': {'commit': 3, 'requested': '57,5'}}"},
		/* on the way through others, any of them after a cut */
		{good_cut, "{'expect': 'upgrade-via', 'path': ['1.5.0', '2.0.0'], 'boots': "
			   "[{'ready': true, 'version': '1.5.0'}], 'primary': {'release': "
			   "'1.5.0'}}"},
		{good_update, "{'expect': 'upgrade-via', 'path': ['1.5.0', '2.0.0']}"},
		/* an unconfirmed release goes back at the next reboot */
		{good_update,
			"{'status': {'slots': [{'slot': 0, 'active': true, 'confirmed': false}]}, "
			"'reboot': {'boot': {'version': '1.0.0'}, 'primary': {'release': "
			"'1.0.0'}}}"},
		/* a downgrade that is allowed */
		{good_update, "{'from': '3.0.0', 'expect': 'downgrade'}"},
		/* accepted, and refused by the bootloader afterwards */
		{good_refusal, "{'update': {'accepted': true}}"},
		/* as many resets as are allowed */
		{good_update, "{'boots': [{'ready': true, 'resets': 3, 'version': '2.0.0'}]}"},
		/* flash alone proves it too */
		{good_update, "{'boots': [{'ready': true}], 'reboot': null, 'status': null}"},
		/* an empty Lua table is a list */
		{good_update, "{'path': {}}"},
		{good_on_trial, "{'writes': {'outside': {}, 'unerased': {}}}"},
		/* of a commit between operations 57 and 58 all the neighbours may say so */
		{good_cut, "{'cut': {'new_at': 57, 'old_at': 99}}"},
		{good_cut, "{'cut': {'new_at': 57, 'landed': {'torn': true}}}"},
		{good_cut, "{'cut': {'old_at': 55}, " RUNS_NEW "}"},
		{good_cut, "{'cut': {'old_at': 56, 'landed': {'torn': true}}, " RUNS_NEW "}"},
		/* where a cut in the recovery counts from, and what it ends with on the way, differ
		 */
		{good_cut, "{'cut': {'new_at': 3, 'requested': '57,5'}}"},
		{good_cut, "{'cut': {'new_at': 3}, 'expect': 'upgrade-via', 'path': ['1.5.0', "
			   "'2.0.0']}"},
		/* a cut that leaves the old release before the bad one ever ran */
		{good_revert, "{'update': null, 'cut': {'requested': '57', 'fired': true}}"},
		/* where the release comes up on trial, it is the next reboot that goes back */
		{good_revert,
			"{'boots': [{'ready': true, 'version': '1.2.1'}], 'primary': null, "
			"'status': {'slots': [{'slot': 0, 'active': true, 'confirmed': false}]}}"},
		/* gone back, it has no fallback any more */
		{good_on_trial, "{'fallback': {'release': '2.0.0'}, 'reboot': {'boot': {'ready': "
				"true, 'version': '1.0.0'}}}"},
		/* confirmed, it needs none */
		{good_on_trial, "{'fallback': {'release': null}, 'status': {'slots': [{'slot': 0, "
				"'active': true, 'confirmed': true}]}}"},
		{good_on_trial, "{'fallback': {'release': '1.5.0'}, 'expect': 'upgrade-via', "
				"'path': ['1.5.0', '2.0.0']}"},
		/* after a refusal, another update */
		{good_refusal,
			"{'later': {'to': '3.0.0', 'accepted': true, 'boot': {'ready': true, "
			"'version': '3.0.0'}}}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_all_hold(cases[i].base, cases[i].change);
}

static void finds_what_is_wrong(void **state)
{
	static const struct {
		const char *base, *change, *name, *what, *expected, *seen;
		enum verdict verdict;
	} cases[] = {
		{good_cut, "{'boots': [{'ready': false, 'resets': 0}], 'retry': null}", "bricked",
			"boots without help", "ready within 10000 ms", "not ready after 0 resets",
			VERDICT_FAIL},
		{good_cut,
			"{'boots': [{'ready': false}, {'ready': true, 'version': '1.0.0'}], "
			"'retry': null}",
			"bricked", "boots without help", "ready within 10000 ms", "not ready",
			VERDICT_FAIL},
		{good_cut, "{'boots': [{'ready': false, 'resets': 40}], 'retry': null}",
			"boot-loop", "boots without resetting over and over", "at most 3 resets",
			"not ready after 40 resets", VERDICT_FAIL},
		{good_update, "{'boots': [{'ready': true, 'resets': 4, 'version': '2.0.0'}]}",
			"boot-loop", "boots without resetting over and over", "at most 3 resets",
			"ready after 4 resets", VERDICT_FAIL},
		{good_cut, "{'unanswered': 'its state: no answer within 5 s', 'retry': null}",
			"unresponsive", "answers what it is asked after it came up", "an answer",
			"its state: no answer within 5 s", VERDICT_FAIL},
		{good_cut,
			"{'cut': {'fired': false, 'landed': null}, 'update': {'accepted': false, "
			"'error': 'no space'}, 'retry': null}",
			"update-failed", "takes the update to 2.0.0", "accepted", "no space",
			VERDICT_FAIL},
		{good_cut,
			"{'primary': {'release': null, 'mixed': true, 'version': '1.0.0', "
			"'detail': 'differs from 0xd000 on'}}",
			"mixed-image", "the image in flash is of one release",
			"one release's image",
			"parts of several releases, header of 1.0.0: differs from 0xd000 on",
			VERDICT_FAIL},
		{good_cut, "{'primary': {'release': null, 'detail': 'differs at 0xd000'}}",
			"image-damaged", "the image in flash is whole",
			"a release's image, byte for byte", "no release's image: differs at 0xd000",
			VERDICT_FAIL},
		{good_refusal,
			"{'update': {'accepted': true}, 'boots': [{'ready': true, 'version': "
			"'1.0.0'}], 'primary': {'release': '1.0.0'}}",
			"not-refused", "refuses 1.0.0", "2.0.0 stays", "runs 1.0.0", VERDICT_FAIL},
		{good_refusal, "{'boots': [{'ready': true}], 'primary': {'release': '1.0.0'}}",
			"not-refused", "refuses 1.0.0", "2.0.0 stays", "flash holds 1.0.0",
			VERDICT_FAIL},
		{good_refusal,
			"{'boots': [{'ready': true, 'version': '1.5.0'}], 'primary': {'release': "
			"'1.5.0'}}",
			"downgraded", "runs nothing older than 2.0.0", "2.0.0 or later",
			"runs 1.5.0", VERDICT_FAIL},
		{good_cut,
			"{'boots': [{'ready': true, 'version': '0.9.0'}], 'primary': {'release': "
			"'0.9.0'}}",
			"downgraded", "runs nothing older than 1.0.0", "1.0.0 or later",
			"runs 0.9.0", VERDICT_FAIL},
		{good_update,
			"{'update': {'accepted': false, 'error': 'no space'}, 'boots': [{'ready': "
			"true, 'version': '1.0.0'}], 'primary': {'release': '1.0.0'}, 'status': "
			"null, 'reboot': null}",
			"update-failed", "takes the update to 2.0.0", "accepted", "no space",
			VERDICT_FAIL},
		{good_update,
			"{'boots': [{'ready': true, 'version': '1.0.0'}], 'primary': {'release': "
			"'1.0.0'}, 'status': null, 'reboot': null}",
			"wrong-version", "runs 2.0.0", "2.0.0", "runs 1.0.0", VERDICT_FAIL},
		{good_cut,
			"{'boots': [{'ready': true, 'version': '1.1.0'}], 'primary': {'release': "
			"'1.1.0'}, 'retry': null}",
			"wrong-version", "runs 1.0.0 or 2.0.0", "1.0.0 or 2.0.0", "runs 1.1.0",
			VERDICT_FAIL},
		{good_cut,
			"{'expect': 'upgrade-via', 'path': ['1.5.0', '2.0.0'], 'boots': [{'ready': "
			"true, 'version': '1.1.0'}], 'primary': {'release': '1.1.0'}}",
			"wrong-version", "runs 1.0.0, 1.5.0 or 2.0.0", "1.0.0, 1.5.0 or 2.0.0",
			"runs 1.1.0", VERDICT_FAIL},
		{good_cut, "{'cut': {'commit': 56}}", "wrong-version", "runs 2.0.0", "2.0.0",
			"runs 1.0.0", VERDICT_FAIL},
		{good_cut,
			"{'cut': {'commit': 57}, 'boots': [{'ready': true, 'version': '2.0.0'}], "
			"'primary': {'release': '2.0.0'}}",
			"wrong-version", "runs 1.0.0", "1.0.0", "runs 2.0.0", VERDICT_FAIL},
		{good_refusal,
			"{'boots': [{'ready': true, 'version': '3.0.0'}], 'primary': {'release': "
			"'3.0.0'}}",
			"wrong-version", "still runs 2.0.0", "2.0.0", "runs 3.0.0", VERDICT_FAIL},
		{good_update,
			"{'boots': [{'ready': true, 'version': 'garbage'}], 'status': null, "
			"'primary': null, 'reboot': null}",
			"wrong-version", "runs 2.0.0", "2.0.0", "runs garbage", VERDICT_FAIL},
		{good_cut, "{'primary': {'release': '2.0.0'}}", "false-version",
			"the version it reports is the image in flash",
			"2.0.0, by the bytes in flash", "reports 1.0.0", VERDICT_FAIL},
		{good_update, "{'status': {'slots': []}}", "illegal-state",
			"the state it reports is legal and true", "one active slot", "0",
			VERDICT_FAIL},
		{good_update,
			"{'status': {'slots': [{'slot': 0, 'active': true}, {'slot': 1, 'active': "
			"true}]}}",
			"illegal-state", "the state it reports is legal and true",
			"one active slot", "2", VERDICT_FAIL},
		{good_update,
			"{'status': {'slots': [{'slot': 0, 'active': true, 'pending': true}]}}",
			"illegal-state", "the state it reports is legal and true",
			"the active slot is not pending", "slot 0 is both", VERDICT_FAIL},
		{good_update,
			"{'status': {'slots': [{'slot': 0, 'active': true}, {'slot': 1, "
			"'permanent': true}]}}",
			"illegal-state", "the state it reports is legal and true",
			"only a pending slot is permanent", "slot 1 is permanent and not pending",
			VERDICT_FAIL},
		{good_update,
			"{'status': {'slots': [{'slot': 0, 'active': true, 'version': '1.0.0'}]}}",
			"illegal-state", "the state it reports is legal and true",
			"the active slot is what runs", "active 1.0.0, running 2.0.0",
			VERDICT_FAIL},
		{good_update, "{'status': {'slots': [{'slot': 0, 'active': true, 'hash': 'cc'}]}}",
			"illegal-state", "the state it reports is legal and true",
			"the active slot's hash is that of flash", "reported cc, in flash aa",
			VERDICT_FAIL},
		{good_update, "{'user_data': {'ok': false, 'seen': 'name is empty'}}", "data-lost",
			"user data survived", "what was written before the update",
			"after the update: name is empty", VERDICT_FAIL},
		{good_update, "{'reboot': {'user_data': {'ok': false}}}", "data-lost",
			"user data survived", "what was written before the update",
			"after another reboot: something else", VERDICT_FAIL},
		{good_cut, "{'retry': {'user_data': {'ok': false, 'seen': 'gone'}}}", "data-lost",
			"user data survived", "what was written before the update",
			"after the update was given again: gone", VERDICT_FAIL},
		{good_update,
			"{'reboot': {'boot': {'version': '1.0.0'}, 'primary': {'release': "
			"'1.0.0'}}}",
			"late-revert", "does not go back to 1.0.0 once it runs 2.0.0",
			"2.0.0 after another reboot", "1.0.0", VERDICT_FAIL},
		{good_update, "{'reboot': {'boot': {'ready': false, 'version': null}}}", "unstable",
			"another reboot changes nothing", "2.0.0, and the same image in flash",
			"not ready after 0 resets", VERDICT_FAIL},
		{good_update, "{'reboot': {'boot': {'resets': 9}}}", "unstable",
			"another reboot changes nothing", "2.0.0, and the same image in flash",
			"ready after 9 resets", VERDICT_FAIL},
		{good_update, "{'reboot': {'boot': {'version': '1.5.0'}}}", "unstable",
			"another reboot changes nothing", "2.0.0, and the same image in flash",
			"runs 1.5.0", VERDICT_FAIL},
		{good_update, "{'reboot': {'primary': {'release': null}}}", "unstable",
			"another reboot changes nothing", "2.0.0, and the same image in flash",
			"no release's image", VERDICT_FAIL},
		{good_cut, "{'retry': {'accepted': false, 'error': 'busy', 'boot': null}}",
			"retry-fails", "takes the same update again", "runs 2.0.0", "busy",
			VERDICT_FAIL},
		{good_cut, "{'retry': {'boot': {'ready': false, 'version': null}}}", "retry-fails",
			"takes the same update again", "runs 2.0.0", "not ready after 1 resets",
			VERDICT_FAIL},
		{good_cut, "{'retry': {'boot': {'version': '1.0.0'}}}", "retry-fails",
			"takes the same update again", "runs 2.0.0", "runs 1.0.0", VERDICT_FAIL},
		{good_cut, "{'retry': {'primary': {'release': null, 'mixed': true}}}",
			"retry-fails", "takes the same update again", "runs 2.0.0",
			"parts of several releases", VERDICT_FAIL},
		{good_cut, "{'cut': {'new_at': 56}}", "commit-not-monotone",
			"the update takes effect at one point of its operations",
			"2.0.0: a cut after 56 operations had ended with 2.0.0",
			"runs 1.0.0 after a cut after 56 operations", VERDICT_FAIL},
		{good_cut, "{'cut': {'new_at': 1, 'landed': {'torn': true}}}",
			"commit-not-monotone",
			"the update takes effect at one point of its operations",
			"2.0.0: a cut after 1 operation had ended with 2.0.0",
			"runs 1.0.0 after a cut after 56 operations and part of the next",
			VERDICT_FAIL},
		{good_cut, "{'cut': {'old_at': 56}, " RUNS_NEW "}", "commit-not-monotone",
			"the update takes effect at one point of its operations",
			"1.0.0: a cut after 56 operations had ended with 1.0.0",
			"runs 2.0.0 after a cut after 56 operations", VERDICT_FAIL},
		{good_cut,
			"{'cut': {'old_at': 57, 'landed': {'torn': true}}, 'expect': 'downgrade', "
			"'from': '3.0.0', " RUNS_NEW "}",
			"commit-not-monotone",
			"the update takes effect at one point of its operations",
			"3.0.0: a cut after 57 operations had ended with 3.0.0",
			"runs 2.0.0 after a cut after 56 operations and part of the next",
			VERDICT_FAIL},
		{good_revert,
			"{'boots': [{'ready': true, 'version': '1.2.1'}], 'primary': {'release': "
			"'1.2.1'}, 'reboot': {'boot': {'version': '1.2.1'}}}",
			"not-reverted", "1.2.1 gives itself up", "1.0.0 at the end", "runs 1.2.1",
			VERDICT_FAIL},
		{good_revert,
			"{'boots': [{'ready': true, 'version': '1.2.1'}], 'primary': {'release': "
			"'1.2.1'}}",
			"not-reverted", "1.2.1 gives itself up", "1.0.0 at the end", "runs 1.2.1",
			VERDICT_FAIL},
		{good_revert,
			"{'boots': [{'ready': true, 'version': '0.9.0'}], 'primary': {'release': "
			"'0.9.0'}, 'reboot': null}",
			"not-reverted", "1.2.1 gives itself up", "1.0.0 at the end", "runs 0.9.0",
			VERDICT_FAIL},
		{good_revert,
			"{'boots': [{'ready': true}], 'primary': {'release': '1.2.1'}, 'reboot': "
			"null}",
			"not-reverted", "1.2.1 gives itself up", "1.0.0 at the end",
			"flash holds 1.2.1", VERDICT_FAIL},
		{good_revert,
			"{'update': null, 'cut': {'requested': '57', 'fired': true}, 'boots': "
			"[{'ready': true, 'version': '1.2.1'}], 'primary': null, 'reboot': null}",
			"not-reverted", "1.2.1 gives itself up", "1.0.0 at the end", "runs 1.2.1",
			VERDICT_FAIL},
		{good_revert, "{'update': {'accepted': false, 'error': 'no space'}}",
			"update-failed", "takes the update to 1.2.1", "accepted", "no space",
			VERDICT_FAIL},
		{good_revert, "{'reboot': {'boot': {'version': '1.2.1'}}}", "unstable",
			"another reboot changes nothing", "1.0.0, and the same image in flash",
			"runs 1.2.1", VERDICT_FAIL},
		{good_revert,
			"{'boots': [{'ready': false, 'resets': 0}], 'primary': {'release': "
			"'1.2.1'}}",
			"bricked", "boots without help", "ready within 10000 ms",
			"not ready after 0 resets", VERDICT_FAIL},
		{good_revert,
			"{'retry': {'accepted': false, 'error': 'slot busy', 'boot': null}, "
			"'later': null}",
			"retry-fails", "takes the same update again",
			"accepted, and 1.0.0 at the end", "slot busy", VERDICT_FAIL},
		{good_revert,
			"{'retry': {'boot': {'version': '1.2.1'}, 'primary': {'release': '1.2.1'}}}",
			"retry-fails", "takes the same update again",
			"accepted, and 1.0.0 at the end", "runs 1.2.1", VERDICT_FAIL},
		{good_on_trial, "{'fallback': {'release': '2.0.0'}}", "fallback-lost",
			"1.0.0 is kept whole while 2.0.0 is on trial",
			"the image of 1.0.0 in the second slot", "the image of 2.0.0",
			VERDICT_FAIL},
		{good_on_trial,
			"{'fallback': {'release': null, 'version': '1.0.0', 'detail': 'differs "
			"from 0x80000 on'}, 'boots': [{'ready': true}]}",
			"fallback-lost", "1.0.0 is kept whole while 2.0.0 is on trial",
			"the image of 1.0.0 in the second slot",
			"no release's image, header of 1.0.0: differs from 0x80000 on",
			VERDICT_FAIL},
		{good_on_trial,
			"{'fallback': {'release': '1.0.0'}, 'expect': 'upgrade-via', 'path': "
			"['1.5.0', '2.0.0']}",
			"fallback-lost", "1.5.0 is kept whole while 2.0.0 is on trial",
			"the image of 1.5.0 in the second slot", "the image of 1.0.0",
			VERDICT_FAIL},
		{good_revert, "{'later': {'accepted': false, 'error': 'busy', 'boot': null}}",
			"later-fails", "takes a later update to 2.0.0", "runs 2.0.0", "busy",
			VERDICT_FAIL},
		{good_revert, "{'later': {'boot': {'ready': false, 'version': null}}}",
			"later-fails", "takes a later update to 2.0.0", "runs 2.0.0", "not ready",
			VERDICT_FAIL},
		{good_revert, "{'later': {'boot': {'version': '1.0.0'}}}", "later-fails",
			"takes a later update to 2.0.0", "runs 2.0.0", "runs 1.0.0", VERDICT_FAIL},
		{good_revert, "{'later': {'primary': {'release': null, 'mixed': true}}}",
			"later-fails", "takes a later update to 2.0.0", "runs 2.0.0",
			"parts of several releases", VERDICT_FAIL},
		{good_revert, "{'later': {'user_data': {'ok': false, 'seen': 'gone'}}}",
			"data-lost", "user data survived", "what was written before the update",
			"after a later update: gone", VERDICT_FAIL},
		{good_on_trial,
			"{'writes': {'outside': [{'op': 57, 'address': 4096, 'kind': 'erase'}]}}",
			"wrote-outside", "writes only where an update may",
			"every operation within the regions that the board type permits",
			"operation 57: erase at 0x00001000", VERDICT_FAIL},
		{good_on_trial,
			"{'writes': {'outside': [{'op': 57, 'address': 4096, 'kind': 'erase'}, "
			"{'op': 58, 'address': 4096, 'kind': 'program'}], 'outside_total': 1025}}",
			"wrote-outside", "writes only where an update may",
			"every operation within the regions that the board type permits",
			"1025 operations, the first is operation 57: erase at 0x00001000",
			VERDICT_FAIL},
		{good_on_trial, "{'writes': {'unerased': [{'op': 9, 'address': 49152}]}}",
			"programmed-unerased", "erases before it programs",
			"no bit programmed to 1 where flash holds 0", "operation 9 at 0x0000c000",
			VERDICT_FAIL},
		{good_on_trial, "{'writes': {'unerased_total': 2}}", "programmed-unerased",
			"erases before it programs", "no bit programmed to 1 where flash holds 0",
			"2 operations, the first is not listed", VERDICT_FAIL},
		{good_cut,
			"{'cut': {'landed': {'agreement': 'skewed', 'skew': 1, 'text': 'one "
			"late'}}}",
			"cut-skewed", "the power went where the board says it did",
			"flash and the board's own counter agree", "one late", VERDICT_ERROR},
		{good_cut,
			"{'cut': {'landed': {'agreement': 'unknown', 'done': null, 'text': 'no "
			"state'}}}",
			"cut-unplaced", "flash shows where the power went",
			"a state on the way of the uncut update", "no state", VERDICT_INCONCLUSIVE},
		{good_cut,
			"{'cut': {'fired': false, 'landed': null}, 'boots': [{'ready': true, "
			"'version': '2.0.0'}], 'primary': {'release': '2.0.0'}, 'retry': null}",
			"cut-missed", "the power went during the update", "a cut at 57",
			"the update ended before it", VERDICT_INCONCLUSIVE},
		{good_cut,
			"{'cut': {'requested': '57,3', 'fired': false}, 'boots': [{'ready': true, "
			"'version': '1.0.0'}], 'primary': {'release': '1.0.0'}, 'retry': null}",
			"cut-missed", "the power went during the update", "a cut at 57,3",
			"the recovery ended before it", VERDICT_INCONCLUSIVE},
		{good_update, "{'boots': null, 'reboot': null}", "not-seen",
			"the device was watched when the update was over",
			"a boot, and the version that runs or the image in flash", "no boot",
			VERDICT_INCONCLUSIVE},
		{good_update,
			"{'boots': [{'ready': true}], 'primary': null, 'reboot': null, 'status': "
			"null}",
			"not-seen", "the device was watched when the update was over",
			"a boot, and the version that runs or the image in flash",
			"neither version nor image", VERDICT_INCONCLUSIVE},
		{good_update, "{'bench': 'power (usb-relay): read-back says on'}", "bench-error",
			"the bench did its part", "no fault of the bench",
			"power (usb-relay): read-back says on", VERDICT_ERROR},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *findings = judged(cases[i].base, cases[i].change), *finding;
		const json_t *found = find(findings, cases[i].name);
		size_t bad = 0, k;

		json_array_foreach (findings, k, finding)
			bad += !json_is_true(json_object_get(finding, "ok"));
		if (!found || bad != 1)
			fail_msg("%s: %zu findings, %s %s", cases[i].change, bad, cases[i].name,
				found ? "among them" : "not among them");
		assert_true(json_is_false(json_object_get(found, "ok")));
		assert_string_equal(
			json_string_value(json_object_get(found, "what")), cases[i].what);
		assert_string_equal(
			json_string_value(json_object_get(found, "expected")), cases[i].expected);
		assert_string_equal(
			json_string_value(json_object_get(found, "seen")), cases[i].seen);
		assert_int_equal(judge_verdict(findings), cases[i].verdict);
		json_decref(findings);
	}
	/* and no finding of the table is left out above */
	for (size_t i = 0; judge_finding_name(i, NULL); i++) {
		size_t k = 0;

		while (k < sizeof(cases) / sizeof(*cases) &&
			strcmp(cases[k].name, judge_finding_name(i, NULL)) != 0)
			k++;
		if (k == sizeof(cases) / sizeof(*cases))
			fail_msg("nothing shows %s", judge_finding_name(i, NULL));
	}
	assert_null(judge_finding_name(SIZE_MAX, NULL));
}

static void what_follows_from_another_finding_is_not_found_as_well(void **state)
{
	static const struct {
		const char *base, *change, *name; /* the one that does not hold */
	} cases[] = {
		{good_cut,
			"{'boots': [{'ready': false}], 'retry': {'accepted': false, 'error': 'no "
			"answer', 'boot': null}, 'later': {'to': '3.0.0', 'accepted': false}}",
			"bricked"},
		{good_cut,
			"{'boots': [{'ready': false, 'resets': 9}], 'retry': {'accepted': false}}",
			"boot-loop"},
		{good_cut,
			"{'unanswered': 'its version', 'reboot': {'boot': {'ready': true}}, "
			"'boots': [{'ready': false}, {'ready': true}], 'retry': null}",
			"bricked"},
		{good_cut,
			"{'reboot': {'boot': {'ready': false}}, 'retry': {'accepted': false, "
			"'boot': null}, 'later': {'to': '3.0.0', 'accepted': false}}",
			"unstable"},
		{good_cut,
			"{'retry': {'accepted': false, 'boot': null}, 'later': {'to': '3.0.0', "
			"'accepted': false}}",
			"retry-fails"},
		{good_revert,
			"{'update': {'accepted': false}, 'retry': {'accepted': false}, 'later': "
			"{'accepted': false}}",
			"update-failed"},
		{good_revert,
			"{'boots': [{'ready': true, 'version': '1.2.1'}], 'primary': {'release': "
			"'1.2.1'}, 'reboot': null, 'retry': {'accepted': false}}",
			"not-reverted"},
		/* a place or an end that is in doubt is no witness */
		{good_cut, "{'cut': {'new_at': 3, 'commit': 3}}", "wrong-version"},
		{good_cut, "{'cut': {'new_at': 3}, 'primary': {'release': '2.0.0'}}",
			"false-version"},
		{good_cut, "{'cut': {'new_at': 3}, 'primary': {'release': null, 'mixed': true}}",
			"mixed-image"},
		{good_cut, "{'cut': {'new_at': 3, 'landed': {'agreement': 'skewed'}}}",
			"cut-skewed"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *findings = judged(cases[i].base, cases[i].change), *finding;
		size_t k;

		json_array_foreach (findings, k, finding) {
			const char *name = json_string_value(json_object_get(finding, "name"));
			bool ok = json_is_true(json_object_get(finding, "ok"));

			if (ok == (strcmp(name, cases[i].name) == 0))
				fail_msg("%s: %s %s", cases[i].change, name,
					ok ? "holds" : "does not hold");
		}
		assert_non_null(find(findings, cases[i].name));
		json_decref(findings);
	}
}

/* One cut of a device that commits with the end of operation commit; whether it is blamed. */
static bool is_blamed(int done, bool torn, bool is_new, int new_at, int old_at)
{
	json_t *observations = json_of(good_cut), *findings;
	json_t *cut = json_object_get(observations, "cut");
	bool blamed;

	json_object_update_new(json_object_get(cut, "landed"),
		json_pack("{s:i, s:b}", "done", done, "torn", torn));
	if (new_at >= 0)
		json_object_set_new(cut, "new_at", json_integer(new_at));
	if (old_at >= 0)
		json_object_set_new(cut, "old_at", json_integer(old_at));
	json_object_del(observations, "primary");
	json_object_del(observations, "retry");
	json_object_set_new(observations, "boots",
		json_pack("[{s:b, s:s}]", "ready", 1, "version", is_new ? "2.0.0" : "1.0.0"));
	findings = judge(observations);
	blamed = judge_verdict(findings) != VERDICT_PASS;
	json_decref(findings);
	json_decref(observations);
	return blamed;
}

static void a_device_with_one_commit_point_is_not_blamed_in_whatever_order_it_is_cut(void **state)
{
	enum { OPERATIONS = 7, ROUNDS = 20, PRIME = 17 };
	unsigned random = 1;

	(void)state;
	for (int commit = 1; commit <= OPERATIONS; commit++)
		for (int round = 0; round < ROUNDS; round++) {
			int new_at = -1, old_at = -1;

			for (int i = 0; i < PRIME; i++) {
				/* all of 0 to 7 done, clean and torn, in an order that turns */
				int at = (i * (1 + round % (PRIME - 1)) + round) % PRIME;
				int done = at / 2;
				bool torn = at % 2 && done < OPERATIONS, is_new;

				random = random * 1103515245 + 12345;
				is_new = done >= commit ||
					 (torn && done + 1 == commit && (random >> 16 & 1));
				if (done > OPERATIONS)
					continue;
				if (is_blamed(done, torn, is_new, new_at, old_at))
					fail_msg("commit %d, %d%s done: %s with %d, %d", commit,
						done, torn ? " and a part" : "",
						is_new ? "new" : "old", new_at, old_at);
				if (is_new && (new_at < 0 || done + torn < new_at))
					new_at = done + torn;
				if (!is_new && done > old_at)
					old_at = done;
			}
			/* and one that forgets that commit, or makes it too early, is */
			assert_true(is_blamed(OPERATIONS, false, false, new_at, old_at));
			assert_true(is_blamed(0, false, true, new_at, old_at));
		}
}

static void the_device_is_not_blamed_for_the_bench(void **state)
{
	json_t *findings = judged(good_cut, "{'bench': 'the probe does not answer', 'boots': "
					    "[{'ready': false}], 'primary': {'release': null}}");

	(void)state;
	assert_int_equal(json_array_size(findings), 1);
	assert_int_equal(judge_verdict(findings), VERDICT_ERROR);
	json_decref(findings);
}

static void a_failure_of_the_device_weighs_less_than_a_cut_that_cannot_be_believed(void **state)
{
	json_t *findings = judged(good_cut, "{'cut': {'landed': {'agreement': 'skewed'}}, 'boots': "
					    "[{'ready': false}], 'retry': null}");

	(void)state;
	assert_true(json_is_false(json_object_get(find(findings, "bricked"), "ok")));
	assert_int_equal(judge_verdict(findings), VERDICT_ERROR);
	json_decref(findings);
}

static void a_failure_stands_where_the_cut_could_not_be_placed(void **state)
{
	json_t *findings =
		judged(good_cut, "{'cut': {'landed': {'agreement': 'unknown'}}, 'boots': "
				 "[{'ready': false}], 'retry': null}");

	(void)state;
	assert_int_equal(judge_verdict(findings), VERDICT_FAIL);
	json_decref(findings);
}

static void no_findings_are_inconclusive_and_unknown_ones_are_the_devices(void **state)
{
	json_t *none = json_array();
	json_t *unknown = json_of("[{'name': 'ate-the-homework', 'ok': false}]");
	json_t *passed = json_of("[{'name': 'ate-the-homework', 'ok': true}]");

	(void)state;
	assert_int_equal(judge_verdict(none), VERDICT_INCONCLUSIVE);
	assert_int_equal(judge_verdict(NULL), VERDICT_INCONCLUSIVE);
	assert_int_equal(judge_verdict(unknown), VERDICT_FAIL);
	assert_int_equal(judge_verdict(passed), VERDICT_PASS);
	json_decref(none);
	json_decref(unknown);
	json_decref(passed);
}

static void observations_of_the_wrong_shape_are_the_rigs_fault(void **state)
{
	static const struct {
		const char *change, *seen;
	} cases[] = {
		{"{'from': null}", "from is missing"},
		{"{'to': 7}", "to: expected text"},
		{"{'expect': 'fly'}", "expect: \"fly\" is not known"},
		{"{'boots': [{'version': '1.0.0'}]}", "boots[1].ready is missing"},
		{"{'boots': [{'ready': true}, 'x']}", "boots[2]: expected a table"},
		{"{'boots': [{'ready': true, 'reset': 1}]}", "boots[1].reset is not known"},
		{"{'boots': {'ready': true}}", "boots: expected a list"},
		{"{'user_data': {'ok': 'yes'}}", "user_data.ok: expected true or false"},
		{"{'reboot': {'boot': {'resets': 'many'}}}",
			"reboot.boot.resets: expected a number"},
		{"{'cut': {}}", "cut.requested is missing"},
		{"{'status': {'slots': [{}]}}", "status.slots[1].slot is missing"},
		{"{'cut': {'requested': '57', 'new_at': '3'}}", "cut.new_at: expected a number"},
		{"{'fallback': 'whole'}", "fallback: expected a table"},
		{"{'later': {'accepted': true}}", "later.to is missing"},
		{"{'writes': {'outside': [], 'unerased': []}}", "writes.checked is missing"},
		{"{'writes': {'outside': [{'op': 1}], 'unerased': [], 'checked': 1}}",
			"writes.outside[1].address is missing"},
		{"{'primry': {}}", "primry is not known"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *findings = judged(good_update, cases[i].change);
		const json_t *found = find(findings, "bench-error");

		assert_int_equal(json_array_size(findings), 1);
		assert_string_equal(
			json_string_value(json_object_get(found, "seen")), cases[i].seen);
		assert_int_equal(judge_verdict(findings), VERDICT_ERROR);
		json_decref(findings);
	}
}

static void what_is_no_table_at_all_is_the_rigs_fault_too(void **state)
{
	static const char *const cases[] = {"[]", "7", "null", "'text'"};
	json_t *findings_of_null;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *observations = json_of(cases[i]), *findings = judge(observations);

		assert_string_equal(
			json_string_value(json_object_get(json_array_get(findings, 0), "seen")),
			"observations: expected a table");
		json_decref(findings);
		json_decref(observations);
	}
	findings_of_null = judge(NULL);
	assert_int_equal(json_array_size(findings_of_null), 1);
	json_decref(findings_of_null);
}

static void long_and_odd_texts_do_no_harm(void **state)
{
	json_t *observations = json_of(good_cut), *findings;
	char text[3000];

	(void)state;
	/* two-byte characters: cut short somewhere, they must not end in half of one */
	for (size_t i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa4", 3);
	json_object_set_new(
		observations, "primary", json_pack("{s:n, s:s}", "release", "detail", text));
	json_object_set_new(
		observations, "boots", json_pack("[{s:b, s:s}]", "ready", 1, "version", text));
	findings = judge(observations);
	assert_non_null(findings);
	assert_int_equal(judge_verdict(findings), VERDICT_FAIL);
	assert_non_null(find(findings, "image-damaged"));
	assert_non_null(find(findings, "wrong-version"));
	json_decref(findings);
	json_object_set_new(observations, "bench", json_string("a\nb\tc\x01"));
	findings = judge(observations);
	assert_string_equal(json_string_value(json_object_get(json_array_get(findings, 0), "seen")),
		"a\\x0ab\tc\\x01");
	json_decref(findings);
	json_decref(observations);
}

static void judging_changes_nothing_and_is_the_same_every_time(void **state)
{
	json_t *observations = json_of(good_cut), *copy = json_deep_copy(observations);
	json_t *a = judge(observations), *b = judge(observations);

	(void)state;
	assert_true(json_equal(observations, copy));
	assert_true(json_equal(a, b));
	json_decref(a);
	json_decref(b);
	json_decref(copy);
	json_decref(observations);
}

static void the_docs_name_the_findings_of_the_table_with_their_verdict(void **state)
{
	static const char *const sections[VERDICT_COUNT] = {[VERDICT_FAIL] = "## Of the device",
		[VERDICT_ERROR] = "## Of the bench",
		[VERDICT_INCONCLUSIVE] = "## Of the trial"};
	enum verdict verdict;
	size_t len, rows = 0, n = 0;
	const char *name;
	struct err e;
	char *docs;

	(void)state;
	assert_int_equal(file_read("docs/findings.md", 1 << 20, &docs, &len, &e), 0);
	for (; (name = judge_finding_name(n, &verdict)); n++) {
		const char *section = strstr(docs, sections[verdict]), *next, *row;
		char cell[64];

		snprintf(cell, sizeof(cell), "\n| `%s` |", name);
		assert_non_null(section);
		next = strstr(section + 1, "\n## ");
		row = strstr(section, cell);
		if (!row || (next && row > next))
			fail_msg("docs/findings.md: no %s under %s", name, sections[verdict]);
	}
	for (const char *at = docs; (at = strstr(at, "\n| `")); at++)
		rows++;
	assert_int_equal(rows, n);
	free(docs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(claims_all_that_was_observed_and_nothing_else),
		cmocka_unit_test(holds_where_it_should),
		cmocka_unit_test(finds_what_is_wrong),
		cmocka_unit_test(
			a_device_with_one_commit_point_is_not_blamed_in_whatever_order_it_is_cut),
		cmocka_unit_test(what_follows_from_another_finding_is_not_found_as_well),
		cmocka_unit_test(the_device_is_not_blamed_for_the_bench),
		cmocka_unit_test(
			a_failure_of_the_device_weighs_less_than_a_cut_that_cannot_be_believed),
		cmocka_unit_test(a_failure_stands_where_the_cut_could_not_be_placed),
		cmocka_unit_test(no_findings_are_inconclusive_and_unknown_ones_are_the_devices),
		cmocka_unit_test(observations_of_the_wrong_shape_are_the_rigs_fault),
		cmocka_unit_test(what_is_no_table_at_all_is_the_rigs_fault_too),
		cmocka_unit_test(long_and_odd_texts_do_no_harm),
		cmocka_unit_test(judging_changes_nothing_and_is_the_same_every_time),
		cmocka_unit_test(the_docs_name_the_findings_of_the_table_with_their_verdict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
