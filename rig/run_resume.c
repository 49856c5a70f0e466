/*
 * What a run that is taken up again begins with, and what makes it the same run.
 */
#include "run_resume.h"

#include "digest.h"
#include "err.h"
#include "journal.h"
#include "run_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a board type says that changes what a trial does or how it is judged. */
static const char *const type_data[] = {"flash", "regions", "may_write"};
/* The same, of which rig.conf may say otherwise. */
static const char *const board_data[] = {"boot", "can"};

#define COUNT(list) (sizeof(list) / sizeof(*(list)))

static void copy_fields(json_t *to, const json_t *from, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		json_t *value = json_object_get(from, names[i]);

		if (value)
			json_object_set(to, names[i], value);
	}
}

json_t *run_board(const json_t *conf)
{
	const json_t *images = json_object_get(conf, "images");
	const char *type_file = json_string_value(json_object_get(conf, "type_file"));
	json_t *board = json_pack("{s:O, s:O, s:o*, s:O, s:o*}", "name",
		json_object_get(conf, "name"), "type", json_object_get(conf, "type"), "type_file",
		type_file ? digest_of_file(type_file) : NULL, "devices",
		json_object_get(conf, "devices"), "images",
		json_object_size(images) ? digest_images(images) : NULL);

	copy_fields(board, conf, type_data, COUNT(type_data));
	copy_fields(board, conf, board_data, COUNT(board_data));
	return board;
}

/* --- the same run ------------------------------------------------------------------------- */

/* Files are the same when their bytes are, wherever they are. */
static bool same_file(const json_t *was, const json_t *is)
{
	const json_t *hash = json_object_get(was, "sha256");

	return json_is_string(hash) && json_equal(hash, json_object_get(is, "sha256"));
}

static bool same_images(const json_t *was, const json_t *is)
{
	const char *name;
	json_t *image;

	if (json_object_size(was) != json_object_size(is))
		return false;
	json_object_foreach ((json_t *)(uintptr_t)was, name, image)
		if (!same_file(image, json_object_get(is, name)))
			return false;
	return true;
}

/* The first of the fields that two boards do not both have alike, or NULL. */
static const char *differs(
	const json_t *was, const json_t *is, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const json_t *before = json_object_get(was, names[i]);
		const json_t *now = json_object_get(is, names[i]);

		if ((before || now) && !json_equal(before, now))
			return names[i];
	}
	return NULL;
}

static int check_board(const json_t *was, const json_t *conf, struct err *e)
{
	static const char *const names[] = {"type", "devices"};
	const char *board = json_string_value(json_object_get(was, "name"));
	const char *type = json_string_value(json_object_get(was, "type")), *name;
	json_t *is = run_board(conf);
	int code = 0;

	if ((name = differs(was, is, names, COUNT(names))))
		code = err_set(
			e, ERR_USAGE, "board %s: its %s in rig.conf are others now", board, name);
	else if (!same_file(json_object_get(was, "type_file"), json_object_get(is, "type_file")) ||
		 differs(was, is, type_data, COUNT(type_data)))
		code = err_set(
			e, ERR_USAGE, "board %s: its type %s is another one now", board, type);
	else if ((name = differs(was, is, board_data, COUNT(board_data))))
		code = err_set(e, ERR_USAGE,
			"board %s: its \"%s\" is another one now, in rig.conf or its type %s",
			board, name, type);
	else if (!same_images(json_object_get(was, "images"), json_object_get(is, "images")))
		code = err_set(e, ERR_USAGE, "board %s: its images are others now", board);
	json_decref(is);
	return code;
}

static const json_t *release_of(const json_t *releases, const json_t *version)
{
	json_t *release;
	size_t i;

	json_array_foreach (releases, i, release)
		if (json_equal(json_object_get(release, "version"), version))
			return release;
	return NULL;
}

static int check_releases(const json_t *was, const json_t *manifest, struct err *e)
{
	json_t *is = digest_releases(manifest), *now = json_object_get(is, "releases"), *release;
	json_t *before = json_object_get(was, "releases");
	size_t i;
	int code = 0;

	if (json_array_size(before) != json_array_size(now))
		code = err_set(e, ERR_USAGE, "the manifest has other releases now");
	json_array_foreach (before, i, release) {
		const json_t *version = json_object_get(release, "version");

		if (code == 0 && !same_images(json_object_get(release, "images"),
					 json_object_get(release_of(now, version), "images")))
			code = err_set(e, ERR_USAGE, "the images of release %s are others now",
				json_string_value(version));
	}
	json_decref(is);
	return code;
}

int run_resume_check(const json_t *run, const json_t *job, struct err *e)
{
	const char *scenario = json_string_value(json_object_get(job, "scenario"));
	const char *was =
		json_string_value(json_object_get(json_object_get(run, "scenario"), "sha256"));
	json_t *board, *boards = json_object_get(job, "boards");
	char hex[DIGEST_HEX_SIZE];
	size_t i;
	int code = digest_file(scenario, hex, e);

	if (code)
		return code;
	if (!was || strcmp(was, hex) != 0)
		return err_set(e, ERR_USAGE,
			"scenario %s is not what the run was begun with: its sha256 is %.12s… and "
			"was %.12s…",
			scenario, hex, was ? was : "not recorded");
	json_array_foreach (json_object_get(run, "boards"), i, board) {
		code = check_board(board, json_array_get(boards, i), e);
		if (code)
			return code;
	}
	return check_releases(
		json_object_get(run, "releases"), json_object_get(job, "manifest"), e);
}

/* --- in the worker ------------------------------------------------------------------------ */

char *run_journal_path(const struct run *run)
{
	char *path;

	if (asprintf(&path, "%s/%s", json_string_value(json_object_get(run->job, "run_dir")),
		    JOURNAL_FILE) < 0)
		return NULL;
	return path;
}

static bool same_plan(const struct run *run)
{
	static const char *const names[] = {"items", "trails"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!json_equal(json_object_get(run->known.plan, names[i]),
			    json_object_get(run->items.plan, names[i])) &&
			(json_object_get(run->known.plan, names[i]) ||
				json_object_get(run->items.plan, names[i])))
			return false;
	return true;
}

static int take_journal(struct run *run, struct err *e)
{
	char *path = run_journal_path(run);
	int code;

	if (!path)
		return err_set(e, ERR_NOMEM, "out of memory");
	run->taken = journal_resume(path, e);
	/* "busy" would be waited for */
	if (!run->taken && e->code == ERR_BUSY)
		e->code = ERR_USAGE;
	code = run->taken ? known_read(&run->known, path, e) : -(int)e->code;
	free(path);
	return code;
}

int run_take_up(struct run *run, struct err *e)
{
	int code = take_journal(run, e);

	if (code == 0 && !run->known.plan)
		code = err_set(e, ERR_USAGE, "its journal stops before the plan");
	if (code == 0 && !same_plan(run))
		code = err_set(e, ERR_USAGE,
			"the plan is another one now: the manifest's policy has changed");
	if (code)
		return err_prefix(e, "run %s cannot be taken up again",
			json_string_value(json_object_get(run->job, "run_id")));
	known_take_up(&run->known);
	json_decref(run->totals);
	run->totals = known_totals(&run->known);
	run->failed = known_failed(&run->known);
	run->resumed = true;
	return 0;
}

json_t *run_items_left(const struct run *run, json_t *items)
{
	json_t *left = json_array(), *item;
	size_t i;

	json_array_foreach (items, i, item)
		if (!known_item_over(&run->known, json_string_value(json_object_get(item, "key"))))
			json_array_append(left, item);
	return left;
}
