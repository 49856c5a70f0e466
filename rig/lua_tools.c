#include "lua_tools.h"

#include "cuts.h"
#include "err.h"
#include "file.h"
#include "flash_files.h"
#include "image.h"
#include "judge.h"
#include "landing.h"
#include "lua_json.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define FLASH_MAX ((size_t)256 << 20) /* bytes of a flash file */
#define RELEASES_MAX 256
#define REGIONS_MAX 64

/*
 * Every function here first copies its arguments out, then works with memory of C, frees it, and
 * only then may raise: a Lua error in between would leak.
 */
static int give(lua_State *L, json_t *result)
{
	lua_json_push(L, result);
	json_decref(result);
	return 1;
}

static int give_err(lua_State *L, const struct err *e)
{
	lua_pushnil(L);
	lua_pushstring(L, err_name(e->code));
	lua_pushstring(L, e->msg);
	return 3;
}

/* segments(board, images, dir) → [{address, size, path}] | nil, code, message */
static int l_segments(lua_State *L)
{
	const char *dir = luaL_checkstring(L, 3);
	struct err e;
	json_t *board, *images, *segments = NULL;
	int code = -ERR_SCRIPT;

	board = lua_json_get(L, 1, &e);
	images = board ? lua_json_get(L, 2, &e) : NULL;
	if (images)
		code = flash_files_of_release(&segments, board, images, dir, &e);
	json_decref(board);
	json_decref(images);
	return code ? give_err(L, &e) : give(L, segments);
}

/* application(board, images) → path or nil */
static int l_application(lua_State *L)
{
	struct err e;
	json_t *board = lua_json_get(L, 1, &e), *images = lua_json_get(L, 2, &e);
	const char *path = board && images ? flash_files_application(board, images) : NULL;

	lua_pushstring(L, path);
	json_decref(board);
	json_decref(images);
	return 1;
}

/* image(path) → {version, hash, size, …} | nil, code, message */
static int l_image(lua_State *L)
{
	struct image image;
	struct err e;

	if (image_load(&image, luaL_checkstring(L, 1), &e))
		return give_err(L, &e);
	return give(L, image_to_json(&image));
}

static json_t *identity_to_json(const struct image_identity *id, const struct image_reference *refs,
	const uint8_t *slot, size_t len, const char *name)
{
	static const char digits[] = "0123456789abcdef";
	json_t *flash = json_pack("{s:b}", "mixed", id->mixed);
	char hash[2 * IMAGE_HASH_MAX + 1];
	struct image image;
	struct err e;

	if (id->release != IMAGE_NOBODY)
		json_object_set_new(flash, "release", json_string(refs[id->release].name));
	if (image_parse(&image, name, slot, len, &e) == 0) {
		for (size_t i = 0; i < image.hash_size; i++) {
			hash[2 * i] = digits[image.hash[i] >> 4];
			hash[2 * i + 1] = digits[image.hash[i] & 15];
		}
		hash[2 * image.hash_size] = '\0';
		json_object_set_new(flash, "version", json_string(image.version_text));
		json_object_set_new(flash, "hash", json_string(hash));
		json_object_set_new(flash, "detail",
			json_sprintf("header says %s, image %s", image.version_text,
				image_integrity_name(image.integrity)));
	} else {
		json_object_set_new(flash, "detail", json_string(id->blank ? "erased" : e.msg));
	}
	if (id->release == IMAGE_NOBODY && id->nearest != IMAGE_NOBODY)
		json_object_set_new(flash, "detail",
			json_sprintf("%s; nearest is %s, which differs from offset 0x%zx on",
				json_string_value(json_object_get(flash, "detail")),
				refs[id->nearest].name, id->first_difference));
	return flash;
}

/*
 * identify(file, offset, size, page, {{name=, path=}…}) → FLASH of judge.h | nil, code, message.
 * The file's bytes at offset are a slot of that size, or less when the file ends.
 */
static int l_identify(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	size_t offset = (size_t)luaL_checkinteger(L, 2), size = (size_t)luaL_checkinteger(L, 3);
	size_t page = (size_t)luaL_checkinteger(L, 4), count = 0, len = 0;
	struct image_reference refs[RELEASES_MAX];
	struct image_identity id;
	char *slot = NULL;
	json_t *list, *item, *flash = NULL;
	size_t i;
	struct err e;
	int code;

	list = lua_json_get(L, 5, &e);
	if (!list)
		return give_err(L, &e);
	code = file_read(path, FLASH_MAX, &slot, &len, &e);
	if (code == 0 && offset > len)
		code = err_set(&e, ERR_IO, "%s: %zu bytes, shorter than expected", path, len);
	json_array_foreach (list, i, item) {
		char *bytes = NULL;
		struct image image;

		if (code || count == RELEASES_MAX)
			break;
		refs[count].name = json_string_value(json_object_get(item, "name"));
		code = file_read(json_string_value(json_object_get(item, "path")), FLASH_MAX,
			&bytes, &refs[count].size, &e);
		if (code)
			break;
		refs[count].bytes = (uint8_t *)bytes;
		if (image_parse(
			    &image, refs[count].name, refs[count].bytes, refs[count].size, &e) == 0)
			refs[count].size = image.size;
		count++;
	}
	if (code == 0) {
		size = size < len - offset ? size : len - offset;
		image_identify(&id, (uint8_t *)slot + offset, size, page, refs, count);
		flash = identity_to_json(&id, refs, (uint8_t *)slot + offset, size, path);
	}
	for (i = 0; i < count; i++)
		free((void *)(uintptr_t)refs[i].bytes);
	free(slot);
	json_decref(list);
	return code ? give_err(L, &e) : give(L, flash);
}

/* file_size(path) → bytes | nil, code, message */
static int l_file_size(lua_State *L)
{
	char *data;
	size_t len;
	struct err e;

	if (file_read(luaL_checkstring(L, 1), FLASH_MAX, &data, &len, &e))
		return give_err(L, &e);
	free(data);
	lua_pushinteger(L, (lua_Integer)len);
	return 1;
}

/* parse_cuts(text) → [{op, tear, seed, text}] | nil, code, message; op is a number or "end" */
static int l_parse_cuts(lua_State *L)
{
	struct cuts cuts;
	struct err e;
	json_t *list;

	if (cuts_parse(&cuts, luaL_checkstring(L, 1), &e))
		return give_err(L, &e);
	list = json_array();
	for (size_t i = 0; i < cuts.count; i++) {
		const struct cut *cut = &cuts.list[i];
		char text[CUT_TEXT_MAX];

		json_array_append_new(list,
			json_pack("{s:o, s:s, s:I, s:s}", "op",
				cut->op == CUT_END ? json_string("end") : json_integer(cut->op),
				"tear", cut_tear_name(cut->tear), "seed", (json_int_t)cut->seed,
				"text", cut_format(cut, text)));
	}
	return give(L, list);
}

static size_t get_regions(const json_t *table, struct cut_region *regions)
{
	size_t n = 0;
	const char *name;
	json_t *at;

	json_object_foreach ((json_t *)(uintptr_t)table, name, at) {
		if (n == REGIONS_MAX)
			break;
		regions[n].name = name;
		regions[n].address = (uint32_t)json_integer_value(json_array_get(at, 0));
		regions[n++].size = (uint32_t)json_integer_value(json_array_get(at, 1));
	}
	return n;
}

/* choose_cuts(trace file, n or nil for all, index, seed, regions) → [text] | nil, code, message */
static int l_choose_cuts(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	bool all = lua_isnil(L, 2);
	size_t n = all ? 0 : (size_t)luaL_checkinteger(L, 2);
	struct cuts_choice choice = {
		.transition = (uint32_t)luaL_checkinteger(L, 3),
		.seed = (uint64_t)luaL_checkinteger(L, 4),
	};
	struct cut_region regions[REGIONS_MAX];
	struct cut *cuts = NULL;
	struct oplog log;
	struct err e;
	json_t *table = lua_json_get(L, 5, &e), *list = NULL;
	long count = -1;

	if (!table)
		return give_err(L, &e);
	choice.regions = regions;
	choice.region_count = get_regions(table, regions);
	if (oplog_load(&log, path, &e) == 0) {
		if (all || n > cuts_possible(log.count))
			n = cuts_possible(log.count);
		cuts = calloc(n + 1, sizeof(*cuts));
		if (cuts)
			count = cuts_choose(&log, &choice, cuts, n, &e);
		else
			err_set(&e, ERR_NOMEM, "out of memory");
		oplog_finish(&log);
	}
	if (count >= 0) {
		list = json_array();
		for (long i = 0; i < count; i++) {
			char text[CUT_TEXT_MAX];

			json_array_append_new(list, json_string(cut_format(&cuts[i], text)));
		}
	}
	free(cuts);
	json_decref(table);
	return list ? give(L, list) : give_err(L, &e);
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

/* Puts the parts that were read back, [[address, file]], into flash. */
static int overlay(
	const struct landing_flash *flash, uint8_t *data, const json_t *parts, struct err *e)
{
	const json_t *part;
	size_t i;

	json_array_foreach (parts, i, part) {
		json_int_t at =
			json_integer_value(json_array_get(part, 0)) - (json_int_t)flash->base;
		const char *path = json_string_value(json_array_get(part, 1));
		char *bytes;
		size_t len;
		int code;

		if (!path)
			return err_set(e, ERR_USAGE, "a part of flash is [address, file]");
		code = file_read(path, FLASH_MAX, &bytes, &len, e);
		if (code)
			return code;
		if (at < 0 || (size_t)at > flash->size || len > flash->size - (size_t)at)
			code = err_set(
				e, ERR_IO, "%s: is not within the flash that was before", path);
		else
			memcpy(data + at, bytes, len);
		free(bytes);
		if (code)
			return code;
	}
	return 0;
}

static int find_landing(struct landing_check *check, const char *before, const char *trace,
	const json_t *parts, uint32_t base, const char *requested, const json_t *word,
	struct err *e)
{
	struct landing_flash flash = {.base = base};
	char *b = NULL, *a = NULL;
	struct landing landing;
	struct oplog log = {0};
	struct cuts cuts;
	struct cut board;
	int code = cuts_parse(&cuts, requested, e);

	if (code == 0)
		code = file_read(before, FLASH_MAX, &b, &flash.size, e);
	if (code == 0 && !(a = malloc(flash.size + 1)))
		code = err_set(e, ERR_NOMEM, "landing: out of memory");
	if (code == 0) {
		memcpy(a, b, flash.size);
		flash.before = (uint8_t *)b;
		flash.after = (uint8_t *)a;
		code = overlay(&flash, (uint8_t *)a, parts, e);
	}
	if (code == 0)
		code = oplog_load(&log, trace, e);
	if (code == 0) {
		code = landing_find(&landing, &flash, &log, e);
		if (code == 0) {
			landing_compare(check, &cuts.list[0], &landing,
				board_cut(word, &board) ? &board : NULL, log.count);
			landing_finish(&landing);
		}
		oplog_finish(&log);
	}
	free(a);
	free(b);
	return code;
}

/*
 * landing(file of flash before, trace, [[address, file]] read back since, base, requested, board's
 * word or nil) → the check of landing.h | nil, code, message
 */
static int l_landing(lua_State *L)
{
	const char *before = luaL_checkstring(L, 1), *trace = luaL_checkstring(L, 2);
	const char *requested = luaL_checkstring(L, 5);
	uint32_t base = (uint32_t)luaL_checkinteger(L, 4);
	struct landing_check check;
	struct err e;
	json_t *parts = lua_json_get(L, 3, &e);
	json_t *word = parts ? lua_json_get(L, 6, &e) : NULL;
	int code = -1;

	if (word)
		code = find_landing(&check, before, trace, parts, base, requested, word, &e);
	json_decref(parts);
	json_decref(word);
	return code ? give_err(L, &e) : give(L, landing_check_to_json(&check));
}

/* judge(observations) → findings, verdict | nil, code, message */
static int l_judge(lua_State *L)
{
	struct err e;
	json_t *observations = lua_json_get(L, 1, &e), *findings;

	if (!observations)
		return give_err(L, &e);
	findings = judge(observations);
	json_decref(observations);
	if (!findings)
		return luaL_error(L, "out of memory");
	lua_pushstring(L, verdict_name(judge_verdict(findings)));
	lua_json_push(L, findings);
	json_decref(findings);
	lua_insert(L, -2);
	return 2;
}

#define GAP_MAX 16384 /* bytes: reading over a small gap is faster than a second read */

static int compare_ops(const void *a, const void *b)
{
	const struct oplog_op *x = a, *y = b;

	return (x->address > y->address) - (x->address < y->address);
}

/* touched(trace file, page) → [[address, size]]: the pages that operations of the trace are in,
 * rising */
static int l_touched(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);
	uint32_t page = (uint32_t)luaL_checkinteger(L, 2), first = 0, end = 0;
	json_t *ranges;
	struct oplog log;
	struct err e;

	if (page == 0)
		return luaL_error(L, "a page has no bytes");
	if (oplog_load(&log, path, &e))
		return give_err(L, &e);
	ranges = json_array();
	qsort(log.ops, log.count, sizeof(*log.ops), compare_ops);
	for (size_t i = 0; i < log.count; i++) {
		uint32_t from = log.ops[i].address / page * page;
		uint32_t to = (log.ops[i].address + log.ops[i].size + page - 1) / page * page;

		if (end > first && from > end + GAP_MAX) {
			json_array_append_new(ranges,
				json_pack("[I, I]", (json_int_t)first, (json_int_t)(end - first)));
			first = from;
			end = to;
		} else {
			first = end > first ? first : from;
			end = to > end ? to : end;
		}
	}
	if (end > first)
		json_array_append_new(
			ranges, json_pack("[I, I]", (json_int_t)first, (json_int_t)(end - first)));
	oplog_finish(&log);
	return give(L, ranges);
}

static const luaL_Reg tools[] = {
	{"application", l_application},
	{"choose_cuts", l_choose_cuts},
	{"file_size", l_file_size},
	{"identify", l_identify},
	{"image", l_image},
	{"judge", l_judge},
	{"landing", l_landing},
	{"parse_cuts", l_parse_cuts},
	{"segments", l_segments},
	{"touched", l_touched},
	{NULL, NULL},
};

void lua_tools_register(lua_State *L)
{
	luaL_setfuncs(L, tools, 0);
}
