/* What rig check proposes against a driver's error. */
#include "rig/check.h"

#include "scratch.h"

#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static json_t *empty_check(void)
{
	return json_pack("{s:s, s:[], s:[]}", "verdict", "ok", "says", "mend");
}

/* What is proposed, or "" for nothing. */
static void proposes(const char *driver, const char *error, const char *text)
{
	json_t *check = empty_check();
	bool known = check_suggest(check, driver, error);
	const char *mend = json_string_value(json_array_get(json_object_get(check, "mend"), 0));

	if (!*text && mend)
		fail_msg("nothing was expected, got \"%s\"", mend);
	if (*text && (!mend || !strstr(mend, text)))
		fail_msg("expected \"%s\", got \"%s\"", text, mend ? mend : "nothing");
	assert_true(known || !mend);
	json_decref(check);
}

/* A group that a file here may be given to, other than root's; NULL: this user has none. */
static const struct group *some_group(void)
{
	gid_t groups[64];
	int n = getgroups(64, groups);
	const struct group *group = NULL;

	if (geteuid() == 0)
		return getgrnam("dialout");
	for (int i = 0; i < n && !group; i++)
		group = groups[i] ? getgrgid(groups[i]) : NULL;
	return group ? group : getgrgid(getegid());
}

static void a_node_of_a_group_asks_for_membership(void **state)
{
	const struct group *group = some_group();
	char path[512], error[600], wanted[200];

	assert_non_null(group);
	snprintf(wanted, sizeof(wanted), "belongs to group %s: sudo usermod -aG %s ",
		group->gr_name, group->gr_name);
	scratch_write(*state, "ttyUSB0", "");
	snprintf(path, sizeof(path), "%s", scratch_path(*state, "ttyUSB0"));
	assert_return_code(chown(path, (uid_t)-1, group->gr_gid), 0);
	assert_return_code(chmod(path, 0660), 0);
	snprintf(error, sizeof(error), "%s: Permission denied", path);
	proposes("serial", error, wanted);
	snprintf(error, sizeof(error), "cannot open %s: permission denied", path);
	proposes("serial", error, wanted);
	/* a group that may not use it either is no help */
	assert_return_code(chmod(path, 0600), 0);
	proposes("serial", error, "udev rules");
}

static void a_node_that_no_group_may_use_asks_for_the_rules(void **state)
{
	(void)state;
	proposes("usb-hid-relay", "open: Access denied (insufficient permissions)", "60-rig.rules");
	proposes("gpio-relay", "/nonexistent/gpiochip0: Permission denied", "60-rig.rules");
}

static void what_the_driver_has_said_is_not_said_again(void **state)
{
	(void)state;
	proposes("serial", "/dev/ttyUSB0: Permission denied: sudo usermod -aG dialout ann", "");
	proposes("usb-hid-relay", "Permission denied: install the udev rules", "");
}

static void of_an_error_nobody_knows_nothing_is_said(void **state)
{
	(void)state;
	assert_false(check_suggest(NULL, "serial", "the moon is in the wrong phase"));
	assert_false(check_suggest(NULL, NULL, "no such board"));
}

static void a_verdict_only_gets_worse(void **state)
{
	json_t *check = empty_check();

	(void)state;
	check_say(check, CHECK_FAIL, "%s", "a");
	check_say(check, CHECK_OK, "%s", "b");
	assert_string_equal(json_string_value(json_object_get(check, "verdict")), "fail");
	assert_int_equal(json_array_size(json_object_get(check, "says")), 2);
	json_decref(check);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_node_of_a_group_asks_for_membership, scratch_setup, scratch_teardown),
		cmocka_unit_test(a_node_that_no_group_may_use_asks_for_the_rules),
		cmocka_unit_test(what_the_driver_has_said_is_not_said_again),
		cmocka_unit_test(of_an_error_nobody_knows_nothing_is_said),
		cmocka_unit_test(a_verdict_only_gets_worse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
