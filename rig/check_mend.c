#include "check.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FOUND_MAX 8 /* of what there is instead, so many are named */

static bool says_any(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcasestr(text, *words))
			return true;
	return false;
}

/* The first path in a message. */
static bool path_in(const char *text, char *path, size_t size)
{
	const char *at = text[0] == '/' ? text : strstr(text, " /");
	size_t len;

	if (!at)
		return false;
	at += *at == ' ';
	len = strcspn(at, " :,;()'\"\n");
	if (len >= size)
		return false;
	memcpy(path, at, len);
	path[len] = '\0';
	return true;
}

static const char *user_name(void)
{
	const struct passwd *user = getpwuid(geteuid());

	return user ? user->pw_name : "USER";
}

static void suggest_rules(json_t *check)
{
	check_mend(check, "are the rig's udev rules installed? `make install` puts 60-rig.rules "
			  "into PREFIX/lib/udev/rules.d; then as root `udevadm control --reload && "
			  "udevadm trigger`, and plug it in again");
}

/* A node that a group may use asks for membership, another one for a rule that gives it one. */
static void suggest_group(json_t *check, const char *error)
{
	char path[512];
	struct stat st;
	const struct group *group = NULL;

	if (path_in(error, path, sizeof(path)) && stat(path, &st) == 0 && st.st_gid != 0 &&
		(st.st_mode & S_IWGRP))
		group = getgrgid(st.st_gid);
	if (group)
		check_mend(check,
			"%s belongs to group %s: sudo usermod -aG %s %s, then log in again", path,
			group->gr_name, group->gr_name, user_name());
	else
		suggest_rules(check);
}

/* What the driver finds on this host, as lines for rig.conf. False: it cannot look. */
static bool suggest_others(json_t *check, const char *driver)
{
	json_t *all = NULL, *list, *one;
	bool can_look;
	struct err e;
	size_t i;

	if (cli_scan(&all, &e) != 0)
		return false;
	list = json_object_get(json_object_get(all, driver), "found");
	can_look = list != NULL;
	json_array_foreach (list, i, one) {
		const char *conf = json_string_value(json_object_get(one, "conf"));
		const char *what = json_string_value(json_object_get(one, "what"));

		if (i < FOUND_MAX && conf && what)
			check_mend(check, "there is %s: %s", what, conf);
	}
	if (can_look && json_array_size(list) == 0)
		check_mend(check,
			"is it plugged in? `rig check --scan` lists what is found on this host");
	json_decref(all);
	return can_look;
}

bool check_suggest(json_t *check, const char *driver, const char *error)
{
	static const char *const denied[] = {"permission denied", "insufficient permissions",
		"access denied", "LIBUSB_ERROR_ACCESS", NULL};
	static const char *const missing[] = {"no such", "not found", "there is no", "is gone",
		"is not there", "no usb device", "not plugged", "unable to find", "did not open",
		NULL};
	static const char *const mended[] = {"usermod", "udev", NULL};

	if (says_any(error, mended))
		return true;
	if (says_any(error, denied))
		suggest_group(check, error);
	else
		return driver && says_any(error, missing) && suggest_others(check, driver);
	return true;
}
