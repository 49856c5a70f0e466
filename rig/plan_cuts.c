#include "plan_cuts.h"

#include "campaign.h"
#include "classes.h"
#include "coverage.h"
#include "cuts.h"
#include "digest.h"
#include "err.h"
#include "flash_files.h"
#include "traces.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGIONS_MAX 64
#define RECOVERY_GUESS 10 /* operations: as many as the campaign looks at for a second cut */

static const char *str(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* --- what a trace is good for ------------------------------------------------------------------
 */

static int add_hash(char text[PLAN_CUTS_IDENTITY_SIZE], const char *path, struct err *e)
{
	size_t used = strlen(text);
	char hex[DIGEST_HEX_SIZE] = "-"; /* keeps the place of an image that is not there */

	if (path && digest_file(path, hex, e))
		return -(int)e->code;
	snprintf(text + used, PLAN_CUTS_IDENTITY_SIZE - used, "%s%s", used ? " " : "", hex);
	return 0;
}

/* FNV-1a, 64 bits. */
static uint64_t hash_of(const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; text && *text; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	return hash;
}

/* Boards of one type share traces, but not those whose triggers count something else (another
 * pattern, another step), or that have none and are traced by lines of progress. */
static void add_source(char text[PLAN_CUTS_IDENTITY_SIZE], const json_t *board)
{
	const json_t *trigger = json_object_get(json_object_get(board, "devices"), "trigger");
	char *options = trigger ? json_dumps(trigger, JSON_SORT_KEYS) : NULL;
	size_t used = strlen(text), size = PLAN_CUTS_IDENTITY_SIZE - used;

	if (trigger)
		snprintf(text + used, size, "%s%.30s:%016" PRIx64, used ? " " : "",
			str(trigger, "driver"), hash_of(options));
	else
		snprintf(text + used, size, "%slines", used ? " " : "");
	free(options);
}

static const char *bootloader_of(const json_t *board, const json_t *release)
{
	const char *own = str(json_object_get(board, "images"), "bootloader");

	return own ? own : str(json_object_get(release, "images"), "bootloader");
}

int plan_cuts_identity(char identity[PLAN_CUTS_IDENTITY_SIZE], const json_t *board,
	const json_t *item, struct err *e)
{
	const json_t *from = json_object_get(item, "from"), *to = json_object_get(item, "to");
	int code;

	identity[0] = '\0';
	code = add_hash(identity, bootloader_of(board, from), e);
	if (code == 0)
		code = add_hash(identity,
			flash_files_application(board, json_object_get(from, "images")), e);
	if (code == 0)
		code = add_hash(
			identity, flash_files_application(board, json_object_get(to, "images")), e);
	if (code == 0)
		add_source(identity, board);
	return code;
}

int plan_cuts_remember(
	const json_t *board, const json_t *item, const char *trace, double trial_ms, struct err *e)
{
	char identity[PLAN_CUTS_IDENTITY_SIZE];
	int code = plan_cuts_identity(identity, board, item, e);
	json_t *meta;

	if (code)
		return code;
	meta = json_pack("{s:f}", "trial_ms", trial_ms);
	code = traces_save(str(board, "state_dir"), str(board, "type"), str(item, "key"), identity,
		trace, meta, e);
	json_decref(meta);
	return code;
}

/* --- the plan ----------------------------------------------------------------------------------
 */

struct outlook {
	struct oplog log;
	struct classes classes;
	struct coverage *coverage;
	json_t *trace; /* the fields of its record */
	json_t *by;
	size_t trials;
};

static bool is_of_operations(const struct outlook *o)
{
	return strcmp(o->classes.source, "operations") == 0;
}

static void count(struct outlook *o, const char *why)
{
	json_object_set_new(
		o->by, why, json_integer(json_integer_value(json_object_get(o->by, why)) + 1));
	o->trials++;
}

/* The record of a first cut that goes where it is asked for. Of what is no flash operation there is
 * the board's word alone, and at the end nobody counts. */
static json_t *supposed_cut(const struct outlook *o, const struct cut *cut)
{
	char text[CUT_TEXT_MAX];

	cut_format(cut, text);
	if (is_of_operations(o))
		return json_pack("{s:s, s:s}", "requested", text, "landed_as", text);
	return json_pack("{s:s, s:o}", "requested", text, "counted",
		cut->op == CUT_END ? json_null() : json_integer(cut->op));
}

/* A trial in which all goes as it is asked for. */
static int suppose(struct outlook *o, const struct cuts *cuts, struct err *e)
{
	char second[CUT_TEXT_MAX];
	json_t *made = json_array(), *trial;
	int code;

	json_array_append_new(made, supposed_cut(o, &cuts->list[0]));
	for (size_t i = 1; i < cuts->count; i++)
		json_array_append_new(made, json_pack("{s:s, s:n, s:I}", "requested",
						    cut_format(&cuts->list[i], second), "landed_as",
						    "counted", (json_int_t)cuts->list[i].op));
	trial = json_pack("{s:s, s:o}", "verdict", "pass", "cuts", made);
	code = coverage_trial(o->coverage, trial, e);
	json_decref(trial);
	return code;
}

static int suppose_asked(struct outlook *o, const json_t *asked, struct err *e)
{
	const json_t *text;
	struct cuts cuts;
	size_t i;
	int code = 0;

	json_array_foreach (asked, i, text) {
		code = cuts_parse(&cuts, json_string_value(text), e);
		if (code)
			return code;
		count(o, "asked");
		if (cuts.list[0].op != CUT_END && cuts.list[0].op > o->log.count)
			continue; /* it would be missed */
		code = suppose(o, &cuts, e);
		if (code)
			return code;
	}
	return code;
}

static int suppose_campaign(
	struct outlook *o, const struct campaign_options *options, struct err *e)
{
	struct campaign *campaign;
	struct cuts cuts;
	const char *why;
	int code = campaign_create(&campaign, &o->log, &o->classes, options, e);

	while (code == 0 && campaign_next(campaign, &cuts, &why)) {
		struct campaign_outcome outcome = {.fired = true,
			.placed = true,
			.landed = cuts.list[0],
			.cuts_fired = (unsigned)cuts.count,
			.recovery = RECOVERY_GUESS};

		count(o, why);
		code = suppose(o, &cuts, e);
		if (code == 0)
			code = campaign_outcome(campaign, &cuts, &outcome, e);
	}
	campaign_destroy(campaign);
	return code;
}

static int outlook_load(struct outlook *o, const char *path, const json_t *board, struct err *e)
{
	struct cut_region regions[REGIONS_MAX];
	size_t n = 0;
	const char *name;
	json_t *at;
	int code = oplog_load(&o->log, path, e);

	json_object_foreach (json_object_get(board, "regions"), name, at)
		if (n < REGIONS_MAX)
			regions[n++] = (struct cut_region){.name = name,
				.address = (uint32_t)json_integer_value(json_array_get(at, 0)),
				.size = (uint32_t)json_integer_value(json_array_get(at, 1))};
	if (code == 0)
		code = classes_init(&o->classes, &o->log, regions, n,
			(uint32_t)json_integer_value(
				json_object_get(json_object_get(board, "flash"), "page")),
			e);
	if (code)
		return code;
	o->by = json_object();
	o->trace = json_pack("{s:I, s:s, s:o}", "operations", (json_int_t)o->log.count, "source",
		o->classes.source, "classes", classes_to_json(&o->classes));
	o->coverage = coverage_create(o->trace, e);
	return o->coverage ? 0 : -(int)e->code;
}

static void outlook_finish(struct outlook *o)
{
	coverage_destroy(o->coverage);
	classes_finish(&o->classes);
	oplog_finish(&o->log);
	json_decref(o->trace);
	json_decref(o->by);
}

static int make(json_t **plan, const char *path, const json_t *meta, const json_t *board,
	const json_t *item, const json_t *options, int64_t seed, struct err *e)
{
	const json_t *asked = json_object_get(options, "cut");
	const json_t *limit = json_object_get(options, "cuts");
	double trial_ms = json_number_value(json_object_get(meta, "trial_ms"));
	struct outlook o = {.trials = 1}; /* the uncut one */
	int code = outlook_load(&o, path, board, e);
	struct campaign_options how = {.seed = (uint64_t)seed,
		.index = (uint32_t)json_integer_value(json_object_get(item, "index")),
		.limit = json_is_integer(limit) ? (size_t)json_integer_value(limit) : SIZE_MAX};

	if (code == 0) {
		how.tears = how.second = is_of_operations(&o);
		code = asked ? suppose_asked(&o, asked, e) : suppose_campaign(&o, &how, e);
	}
	if (code == 0) {
		*plan = json_pack("{s:I, s:O, s:o}", "trials", (json_int_t)o.trials, "by", o.by,
			"coverage", coverage_to_json(o.coverage));
		json_object_update(*plan, o.trace);
		json_object_set_new(*plan, "seconds",
			trial_ms > 0 ? json_real(trial_ms * (double)o.trials / 1e3) : json_null());
	}
	outlook_finish(&o);
	return code;
}

int plan_cuts_make(json_t **plan, const json_t *board, const json_t *item, const json_t *options,
	int64_t seed, struct err *e)
{
	char identity[PLAN_CUTS_IDENTITY_SIZE], *path = NULL;
	json_t *meta = NULL;
	int code = plan_cuts_identity(identity, board, item, e);

	*plan = NULL;
	if (code == 0)
		code = traces_find(str(board, "state_dir"), str(board, "type"), str(item, "key"),
			identity, &path, &meta, e);
	if (code == -ERR_USAGE) {
		*plan = json_pack("{s:s}", "missing", e->msg);
		return 0;
	}
	if (code == 0)
		code = make(plan, path, meta, board, item, options, seed, e);
	free(path);
	json_decref(meta);
	return code;
}
