#include "lua_trace.h"

#include "cuts.h"
#include "err.h"
#include "file.h"
#include "flash_rules.h"
#include "landing.h"
#include "landing_touch.h"
#include "lua_json.h"
#include "lua_trace_priv.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLASH_MAX ((size_t)256 << 20) /* bytes of a flash file */
#define GAP_MAX 16384 /* bytes: reading over a small gap is faster than a second read */
#define AROUND 32     /* operations shown on either side of a cut */

/*
 * Every function first copies its arguments out, then works with memory of C, frees it, and only
 * then may raise: a Lua error in between would leak.
 */
/* --- a trace -----------------------------------------------------------------------------------
 */

struct trace *lua_trace_at(lua_State *L, int index)
{
	return luaL_checkudata(L, index, TRACE);
}

static struct cut_region region_of(const char *name, const json_t *at)
{
	return (struct cut_region){.name = name,
		.address = (uint32_t)json_integer_value(json_array_get(at, 0)),
		.size = (uint32_t)json_integer_value(json_array_get(at, 1))};
}

static void take_regions(struct trace *t)
{
	const char *name;
	json_t *at;
	size_t i;

	json_object_foreach (json_object_get(t->conf, "regions"), name, at)
		if (t->region_count < REGIONS_MAX)
			t->regions[t->region_count++] = region_of(name, at);
	json_array_foreach (json_object_get(t->conf, "may_write"), i, at)
		if (t->may_write_count < REGIONS_MAX)
			t->may_write[t->may_write_count++] = region_of("", at);
}

static int trace_load(struct trace *t, const char *path, const char *before, struct err *e)
{
	int code = oplog_load(&t->log, path, e);

	if (code == 0 && before)
		code = file_read(before, FLASH_MAX, &t->before, &t->size, e);
	if (code == 0)
		code = classes_init(&t->classes, &t->log, t->regions, t->region_count, t->page, e);
	return code;
}

/*
 * open_trace(file, file of the flash before or nil, {base=, page=, regions=, may_write=}) → a trace
 * | nil, code, message
 */
static int l_open_trace(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1), *before = luaL_optstring(L, 2, NULL);
	struct trace *t;
	struct err e;
	json_t *conf = lua_json_get(L, 3, &e);

	if (!conf)
		return lua_json_give_err(L, &e);
	t = lua_newuserdatauv(L, sizeof(*t), 0);
	memset(t, 0, sizeof(*t));
	luaL_setmetatable(L, TRACE);
	t->conf = conf;
	t->base = (uint32_t)json_integer_value(json_object_get(conf, "base"));
	t->page = (uint32_t)json_integer_value(json_object_get(conf, "page"));
	take_regions(t);
	if (t->page == 0)
		return luaL_error(L, "a page has no bytes");
	return trace_load(t, path, before, &e) ? lua_json_give_err(L, &e) : 1;
}

static int l_trace_gc(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);

	classes_finish(&t->classes);
	oplog_finish(&t->log);
	free(t->before);
	free(t->rest);
	json_decref(t->conf);
	memset(t, 0, sizeof(*t));
	return 0;
}

/* trace:describe() → {operations, source, classes}, as the journal's "trace" record has it */
static int l_trace_describe(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);

	return lua_json_give(
		L, json_pack("{s:I, s:s, s:o}", "operations", (json_int_t)t->log.count, "source",
			   t->classes.source, "classes", classes_to_json(&t->classes)));
}

static int compare_ops(const void *a, const void *b)
{
	const struct oplog_op *const *x = a, *const *y = b;

	return ((*x)->address > (*y)->address) - ((*x)->address < (*y)->address);
}

/* Ranges of flash, each put in or joined to the one before, rising. */
struct ranges {
	json_t *list;
	uint64_t first,
		end; /* of the last one, not yet listed; the end may be where addresses do */
};

static void end_range(struct ranges *r)
{
	if (r->end > r->first)
		json_array_append_new(r->list,
			json_pack("[I, I]", (json_int_t)r->first, (json_int_t)(r->end - r->first)));
}

static void add_range(struct ranges *r, uint64_t from, uint64_t to)
{
	if (r->end > r->first && from > r->end + GAP_MAX) {
		end_range(r);
		r->first = from;
		r->end = to;
	} else {
		r->first = r->end > r->first ? r->first : from;
		r->end = to > r->end ? to : r->end;
	}
}

static bool add_operations(struct ranges *r, const struct trace *t)
{
	const struct oplog_op **ops = calloc(t->log.count + 1, sizeof(*ops));

	if (!ops)
		return false;
	for (size_t i = 0; i < t->log.count; i++)
		ops[i] = &t->log.ops[i];
	qsort(ops, t->log.count, sizeof(const struct oplog_op *), compare_ops);
	for (size_t i = 0; i < t->log.count; i++)
		add_range(r, ops[i]->address / t->page * t->page,
			((uint64_t)ops[i]->address + ops[i]->size + t->page - 1) / t->page *
				t->page);
	free(ops);
	return true;
}

static void add_changed_pages(struct ranges *r, const struct trace *t)
{
	for (size_t at = 0; t->rest && at < t->size; at += t->page) {
		size_t len = t->size - at < t->page ? t->size - at : t->page;

		if (memcmp(t->before + at, t->rest + at, len) != 0)
			add_range(r, t->base + at, (uint64_t)t->base + at + len);
	}
}

/* trace:ranges() → [[address, size]]: the pages that its operations are in, rising; of what is no
 * flash operation, those that flash at rest differs in from the flash before */
static int l_trace_ranges(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	struct ranges r = {.list = json_array()};

	if (t->log.count && !oplog_kind_is_flash(t->log.ops[0].kind))
		add_changed_pages(&r, t);
	else if (!add_operations(&r, t)) {
		json_decref(r.list);
		return luaL_error(L, "out of memory");
	}
	end_range(&r);
	return lua_json_give(L, r.list);
}

/* trace:rest(file of the whole flash at rest after the update) → true | nil, code, message */
static int l_trace_rest(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	const char *path = luaL_checkstring(L, 2);
	char *rest = NULL;
	size_t size;
	struct err e;
	int code =
		t->before ? file_read(path, FLASH_MAX, &rest, &size, &e)
			  : err_set(&e, ERR_USAGE, "the flash from before the update is not known");

	if (code == 0 && size != t->size)
		code = err_set(&e, ERR_IO, "%s: has %zu bytes, and flash before the update %zu",
			path, size, t->size);
	if (code) {
		free(rest);
		return lua_json_give_err(L, &e);
	}
	free(t->rest);
	t->rest = rest;
	lua_pushboolean(L, 1);
	return 1;
}

/* Flash before, with the parts that were read back since, [[address, file]], laid over it. */
static int overlay(const struct trace *t, const json_t *parts, char **flash, struct err *e)
{
	const json_t *part;
	size_t i;
	int code = 0;

	*flash = malloc(t->size + 1);
	if (!*flash)
		return err_set(e, ERR_NOMEM, "out of memory");
	memcpy(*flash, t->before, t->size);
	json_array_foreach (parts, i, part) {
		json_int_t at = json_integer_value(json_array_get(part, 0));
		const char *path = json_string_value(json_array_get(part, 1));
		char *bytes;
		size_t len;

		code = path ? file_read(path, FLASH_MAX, &bytes, &len, e)
			    : err_set(e, ERR_USAGE, "a part of flash is [address, file]");
		if (code)
			break;
		if (at < (json_int_t)t->base || (size_t)at - t->base > t->size ||
			len > t->size - ((size_t)at - t->base))
			code = err_set(
				e, ERR_IO, "%s: is not within the flash that was before", path);
		else
			memcpy(*flash + ((size_t)at - t->base), bytes, len);
		free(bytes);
		if (code)
			break;
	}
	if (code) {
		free(*flash);
		*flash = NULL;
	}
	return code;
}

static bool board_cut(const json_t *word, struct cut *cut)
{
	const json_t *op = json_object_get(word, "op");
	const char *tear = json_string_value(json_object_get(word, "tear"));

	if (!json_is_integer(op))
		return false;
	cut->op = (uint32_t)json_integer_value(op);
	cut->tear = tear && strcmp(tear, "torn") == 0 ? TEAR_TORN : TEAR_CLEAN;
	cut->seed = cut->tear == TEAR_TORN
			    ? (uint32_t)json_integer_value(json_object_get(word, "seed"))
			    : 0;
	return true;
}

static int find_landing(const struct trace *t, struct landing_check *check, const json_t *parts,
	const char *requested, const json_t *word, struct err *e)
{
	struct landing_flash flash = {
		.base = t->base, .size = t->size, .before = (uint8_t *)t->before};
	struct landing landing;
	struct cuts cuts;
	struct cut board;
	char *after = NULL;
	int code = cuts_parse(&cuts, requested, e);

	if (code == 0)
		code = overlay(t, parts, &after, e);
	if (code == 0) {
		flash.after = (uint8_t *)after;
		code = landing_find(&landing, &flash, &t->log, e);
	}
	if (code == 0) {
		landing_compare(check, &cuts.list[0], &landing,
			board_cut(word, &board) ? &board : NULL, t->log.count);
		landing_finish(&landing);
	}
	free(after);
	return code;
}

/*
 * trace:landing([[address, file]] read back since, requested, board's word or nil) → the check of
 * landing.h | nil, code, message
 */
static int l_trace_landing(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	const char *requested = luaL_checkstring(L, 3);
	struct landing_check check = {0};
	struct err e;
	json_t *parts = lua_json_get(L, 2, &e);
	json_t *word = parts ? lua_json_get(L, 4, &e) : NULL;
	int code = -1;

	if (!t->before)
		err_set(&e, ERR_USAGE, "a landing needs the flash from before the update");
	else if (word)
		code = find_landing(t, &check, parts, requested, word, &e);
	json_decref(parts);
	json_decref(word);
	return code ? lua_json_give_err(L, &e) : lua_json_give(L, landing_check_to_json(&check));
}

/* Which operation flash shows, of a log that tells addresses: into *check, and the range. */
static int find_touched(const struct trace *t, const struct landing_touch *flash,
	const struct cut *requested, const json_t *word, struct landing_check *check,
	json_t **range, struct err *e)
{
	struct landing landing;
	struct cut board;
	int code = landing_touch_find(&landing, flash, &t->log, e);

	if (code)
		return code;
	landing_compare(
		check, requested, &landing, board_cut(word, &board) ? &board : NULL, t->log.count);
	if (landing.count)
		*range = json_pack("[I, I]", (json_int_t)landing.ranges[0].first,
			(json_int_t)landing.ranges[0].last);
	landing_finish(&landing);
	return 0;
}

static int find_progress(const struct trace *t, const json_t *parts, const char *requested,
	const json_t *word, json_t **result, struct err *e)
{
	struct landing_touch flash = {.base = t->base,
		.size = t->size,
		.before = (uint8_t *)t->before,
		.rest = (uint8_t *)t->rest};
	struct landing_progress progress;
	size_t words;
	struct landing_check check = {.agreement = LANDING_UNKNOWN};
	json_t *range = NULL;
	struct cuts cuts;
	char *after = NULL;
	int code = cuts_parse(&cuts, requested, e);

	if (code == 0)
		code = overlay(t, parts, &after, e);
	flash.after = (uint8_t *)after;
	if (code == 0 && landing_touch_knows(&t->log))
		code = find_touched(t, &flash, &cuts.list[0], word, &check, &range, e);
	if (code == 0) {
		landing_touch_progress(&flash, &progress);
		words = progress.old + progress.new + progress.neither;
		*result = range ? landing_check_to_json(&check)
				: json_pack("{s:s}", "agreement", "unknown");
		json_object_update_new(*result,
			json_pack("{s:I, s:I, s:I}", "words", (json_int_t)words, "old",
				(json_int_t)progress.old, "new", (json_int_t)progress.new));
		json_object_set_new(
			*result, "progress", json_real(landing_progress_share(&progress)));
		json_object_set_new(*result, "range", range ? range : json_null());
	}
	free(after);
	return code;
}

/*
 * trace:progress([[address, file]] read back since, requested, where the trigger says or nil) →
 * {words=: how many the update changes, old=, new=: how many of them are as before, and as at rest,
 * progress=: the share of those, range=: [first, last] operations done as flash shows, or nil,
 * agreement=, and with a range the check of landing.h} | nil, code, message. For a trace of what is
 * no flash operation, after rest().
 */
static int l_trace_progress(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	const char *requested = luaL_checkstring(L, 3);
	json_t *result = NULL;
	struct err e;
	json_t *parts = lua_json_get(L, 2, &e);
	json_t *word = parts ? lua_json_get(L, 4, &e) : NULL;
	int code = -1;

	if (!t->before || !t->rest)
		err_set(&e, ERR_USAGE, "progress needs the flash before the update and at rest");
	else if (word)
		code = find_progress(t, parts, requested, word, &result, &e);
	json_decref(parts);
	json_decref(word);
	return code ? lua_json_give_err(L, &e) : lua_json_give(L, result);
}

/*
 * save_flash(trace, [[address, file]], to) → true | nil, code, message: the whole flash with those
 * parts, in a file. No method of a trace: it writes anywhere, and scenarios have traces.
 */
static int l_save_flash(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	const char *to = luaL_checkstring(L, 3);
	char *flash = NULL;
	struct err e;
	json_t *parts = lua_json_get(L, 2, &e);
	int code = -1;

	if (!t->before)
		err_set(&e, ERR_USAGE, "the flash from before the update is not known");
	else if (parts)
		code = overlay(t, parts, &flash, &e);
	if (code == 0)
		code = file_write(to, flash, t->size, &e);
	free(flash);
	json_decref(parts);
	if (code)
		return lua_json_give_err(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

/* --- what was written --------------------------------------------------------------------------
 */

/* The uncut update's operations, from the flash before. */
static int check_trace(const struct trace *t, struct flash_rules *rules, struct err *e)
{
	char *flash = NULL;
	int code = overlay(t, NULL, &flash, e);

	if (code == 0)
		flash_rules_check(rules, (uint8_t *)flash, t->size, t->base, t->log.ops,
			t->log.count, 1, t->may_write, t->may_write_count);
	free(flash);
	return code;
}

/* Those of a recovery, numbered from first on, from the flash that the cut left. */
static int check_recovery(const struct trace *t, struct flash_rules *rules, const json_t *parts,
	const char *path, uint32_t first, struct err *e)
{
	struct oplog log = {0};
	char *flash = NULL;
	int code = overlay(t, parts, &flash, e);

	if (code == 0)
		code = oplog_load_from(&log, path, first, e);
	if (code == 0)
		flash_rules_check(rules, (uint8_t *)flash, t->size, t->base, log.ops, log.count,
			first, t->may_write, t->may_write_count);
	oplog_finish(&log);
	free(flash);
	return code;
}

/*
 * trace:writes() → the judge's "writes" of the update itself;
 * trace:writes([[address, file]] read back after a cut, file of the operations since, number of the
 * first of them) → that of the recovery | nil, code, message
 */
static int l_trace_writes(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	const char *recovery = luaL_optstring(L, 3, NULL);
	uint32_t first = (uint32_t)luaL_optinteger(L, 4, 1);
	struct flash_rules rules = {0};
	json_t *parts = NULL;
	struct err e;
	int code;

	if (!t->before)
		return luaL_error(L, "the flash from before the update is not known");
	if (recovery) {
		parts = lua_json_get(L, 2, &e);
		code = parts ? check_recovery(t, &rules, parts, recovery, first, &e) : -1;
		json_decref(parts);
	} else {
		code = check_trace(t, &rules, &e);
	}
	return code ? lua_json_give_err(L, &e) : lua_json_give(L, flash_rules_to_json(&rules));
}

static void put_op(FILE *out, const struct trace *t, size_t i, bool here)
{
	const struct oplog_op *op = &t->log.ops[i];

	fprintf(out, "%s %6zu  %-10s 0x%08x  ", here ? "->" : "  ", i + 1,
		oplog_kind_name(op->kind), (unsigned)op->address);
	if (op->kind == OPLOG_PROGRAM)
		fprintf(out, "0x%08x  ", (unsigned)op->value);
	else
		fprintf(out, "%10u  ", (unsigned)op->size);
	fprintf(out, "%s\n", t->classes.list[t->classes.of[i]].name);
}

/* trace:around(requested) → text: the uncut update's operations about the first cut */
static int l_trace_around(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	const char *requested = luaL_checkstring(L, 2);
	size_t len = 0, at, first;
	char *text = NULL;
	struct cuts cuts;
	struct err e;
	FILE *out;

	if (cuts_parse(&cuts, requested, &e))
		return lua_json_give_err(L, &e);
	out = open_memstream(&text, &len);
	if (!out)
		return luaL_error(L, "out of memory");
	at = cuts.list[0].op == CUT_END ? t->log.count : cuts.list[0].op - 1;
	at = at < t->log.count ? at : t->log.count;
	first = at > AROUND ? at - AROUND : 0;
	fprintf(out, "# of %zu operations; -> is the cut %s\n", t->log.count, requested);
	for (size_t i = first; i < t->log.count && i < at + AROUND; i++)
		put_op(out, t, i, i == at);
	if (at == t->log.count)
		fprintf(out, "-> the end\n");
	fclose(out);
	lua_pushlstring(L, text ? text : "", len);
	free(text);
	return 1;
}

/* --- registration ------------------------------------------------------------------------------
 */

static const luaL_Reg trace_methods[] = {
	{"around", l_trace_around},
	{"campaign", lua_trace_campaign},
	{"describe", l_trace_describe},
	{"landing", l_trace_landing},
	{"progress", l_trace_progress},
	{"ranges", l_trace_ranges},
	{"rest", l_trace_rest},
	{"writes", l_trace_writes},
	{NULL, NULL},
};

void lua_trace_new_type(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc)
{
	luaL_newmetatable(L, name);
	lua_pushcfunction(L, gc);
	lua_setfield(L, -2, "__gc");
	lua_newtable(L);
	luaL_setfuncs(L, methods, 0);
	lua_setfield(L, -2, "__index");
	lua_pushliteral(L, "protected");
	lua_setfield(L, -2, "__metatable");
	lua_pop(L, 1);
}

static const luaL_Reg functions[] = {
	{"open_trace", l_open_trace},
	{"save_flash", l_save_flash},
	{NULL, NULL},
};

void lua_trace_register(lua_State *L)
{
	lua_trace_new_type(L, TRACE, trace_methods, l_trace_gc);
	luaL_setfuncs(L, functions, 0);
	lua_campaign_register(L);
}
