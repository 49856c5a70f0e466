#include "lua_tools.h"

#include "cuts.h"
#include "err.h"
#include "file.h"
#include "flash_files.h"
#include "image.h"
#include "judge.h"
#include "lua_json.h"
#include "releases.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define FLASH_MAX ((size_t)256 << 20) /* bytes of a flash file */
#define RELEASES_MAX 256

/*
 * Every function here first copies its arguments out, then works with memory of C, frees it, and
 * only then may raise: a Lua error in between would leak.
 */

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
	return code ? lua_json_give_err(L, &e) : lua_json_give(L, segments);
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
		return lua_json_give_err(L, &e);
	return lua_json_give(L, image_to_json(&image));
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
		return lua_json_give_err(L, &e);
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
	return code ? lua_json_give_err(L, &e) : lua_json_give(L, flash);
}

/* file_size(path) → bytes | nil, code, message */
static int l_file_size(lua_State *L)
{
	char *data;
	size_t len;
	struct err e;

	if (file_read(luaL_checkstring(L, 1), FLASH_MAX, &data, &len, &e))
		return lua_json_give_err(L, &e);
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
		return lua_json_give_err(L, &e);
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
	return lua_json_give(L, list);
}

/* judge(observations) → findings, verdict | nil, code, message */
static int l_judge(lua_State *L)
{
	struct err e;
	json_t *observations = lua_json_get(L, 1, &e), *findings;

	if (!observations)
		return lua_json_give_err(L, &e);
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

static const luaL_Reg tools[] = {
	{"application", l_application},
	{"file_size", l_file_size},
	{"identify", l_identify},
	{"image", l_image},
	{"judge", l_judge},
	{"parse_cuts", l_parse_cuts},
	{"segments", l_segments},
	{NULL, NULL},
};

void lua_tools_register(lua_State *L)
{
	luaL_setfuncs(L, tools, 0);
}
