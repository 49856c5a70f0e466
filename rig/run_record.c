#include "run_priv.h"

#include "digest.h"
#include "journal.h"
#include "lua_host.h"
#include "rpc.h"
#include "run_resume.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t *run_option(const struct run *run, const char *name)
{
	return json_object_get(json_object_get(run->job, "options"), name);
}

void run_count(struct run *run, const char *name)
{
	json_object_set_new(run->totals, name,
		json_integer(json_integer_value(json_object_get(run->totals, name)) + 1));
}

/* Tells everybody of the record just written, in the words of the journal. */
static void tell_followers(struct run *run)
{
	char *params;

	if (!run->follower_count ||
		asprintf(&params, "{\"record\":%s}", journal_last(run->journal)) < 0)
		return;
	for (size_t i = 0; i < run->follower_count; i++)
		rpc_notify_text(run->followers[i], "record", params);
	free(params);
}

int run_record(struct run *run, const char *kind, const char *board, const char *trial,
	json_t *fields, bool sync, struct err *e)
{
	int code;

	if (!run->journal) {
		json_decref(fields);
		return 0;
	}
	code = journal_write(run->journal, kind, board, trial, fields, e);
	if (code == 0 && sync)
		code = journal_sync(run->journal, e);
	if (code)
		run_fail(run, e);
	else
		tell_followers(run);
	return code;
}

void run_follow(struct run *run, struct rpc *rpc, json_int_t from)
{
	struct journal_reader *r;
	json_t *old;
	struct err e;
	char path[PATH_MAX];

	if (run->follower_count == RUN_FOLLOWERS_MAX)
		return;
	if (run->journal && from <= (json_int_t)journal_seq(run->journal)) {
		snprintf(path, sizeof(path), "%s/%s",
			json_string_value(json_object_get(run->job, "run_dir")), JOURNAL_FILE);
		r = journal_reader_create(path, from > 0 ? (uint64_t)from : 1, &e);
		while (r && journal_reader_next(r, &old, &e) == 1)
			rpc_notify(rpc, "record", json_pack("{s:o}", "record", old));
		journal_reader_destroy(r);
	}
	run->followers[run->follower_count++] = rpc;
}

void run_unfollow(struct run *run, struct rpc *rpc)
{
	for (size_t i = 0; i < run->follower_count; i++)
		if (run->followers[i] == rpc)
			run->followers[i] = run->followers[--run->follower_count];
}

json_t *run_tools(const struct run *run)
{
	json_t *tools = json_object();

	for (size_t i = 0; i < run->station_count; i++) {
		const json_t *tool = run->stations[i].tool;
		const char *name = json_string_value(json_object_get(tool, "tool"));

		if (name)
			json_object_set(tools, name, json_object_get(tool, "version"));
	}
	return tools;
}

static int record_run(struct run *run, struct err *e)
{
	const json_t *job = run->job;
	const char *path = json_string_value(json_object_get(job, "scenario"));
	json_t *boards = json_array();
	char hex[DIGEST_HEX_SIZE];
	int code = digest_file(path, hex, e);

	for (size_t i = 0; i < run->station_count; i++)
		json_array_append_new(boards, run_board(run->stations[i].conf));
	if (code) {
		json_decref(boards);
		return code;
	}
	return run_record(run, "run", NULL, NULL,
		json_pack("{s:i, s:O, s:O, s:O, s:o, s:o, s:{s:O, s:s, s:O*, s:s}, s:O, s:O, s:o}",
			"journal", JOURNAL_VERSION, "rig", json_object_get(job, "rig"), "run",
			json_object_get(job, "run_id"), "bench", json_object_get(job, "bench"),
			"boards", boards, "releases",
			digest_releases(json_object_get(job, "manifest")), "scenario", "name",
			json_object_get(host_scenario(run->host), "name"), "path", path,
			"given_path", json_object_get(job, "scenario_as_given"), "sha256", hex,
			"seed", run_option(run, "seed"), "options", json_object_get(job, "options"),
			"tools", run_tools(run)),
		false, e);
}

int run_record_start(struct run *run, struct err *e)
{
	int code;

	if (run->resumed)
		return run_record(run, "resume", NULL, NULL,
			json_pack("{s:I, s:O, s:o}", "after", (json_int_t)journal_seq(run->journal),
				"rig", json_object_get(run->job, "rig"), "tools", run_tools(run)),
			true, e);
	code = record_run(run, e);
	if (code == 0)
		code = run_record(run, "plan", NULL, NULL, json_incref(run->items.plan), false, e);
	return code;
}

/*
 * What the bench failed with: "board B: probe (openocd): …" is the device and its trouble; anything
 * else is the board's.
 */
void station_record_bench_error(struct station *st, const struct err *why)
{
	char device[128] = "run";
	const char *text = why->msg, *colon;
	size_t name_len = strlen(st->name);
	struct err e;

	if (strncmp(text, "board ", 6) == 0 && strncmp(text + 6, st->name, name_len) == 0 &&
		strncmp(text + 6 + name_len, ": ", 2) == 0) {
		text += 8 + name_len;
		colon = strstr(text, "): ");
		if (colon && (size_t)(colon + 1 - text) < sizeof(device)) {
			snprintf(device, sizeof(device), "%.*s", (int)(colon + 1 - text), text);
			text = colon + 3;
		}
	}
	run_record(st->run, "bench-error", st->name, json_string_value(st->trial),
		json_pack("{s:s, s:s}", "device", device, "reason", text), false, &e);
}
