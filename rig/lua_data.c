#include "lua_data.h"

#include "config.h"
#include "err.h"
#include "file.h"
#include "lua_source.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEMORY_MAX ((size_t)64 << 20) /* bytes */
#define SOURCE_MAX ((size_t)1 << 20)  /* bytes */
#define INSTRUCTIONS_MAX 20000000     /* a bench of thousands of boards needs far fewer */
#define VALUES_MAX 200000             /* in all tables of a file */
#define DEPTH_MAX 32

/* One run of a file. */
struct loader {
	struct lua_data *data;
	const struct lua_data_call *calls;
	const char *const *roots;
	char **files; /* chunk "#n" is files[n]; 0 is the file itself */
	size_t file_count;
	size_t memory_bytes;
	size_t values;
	struct err e; /* of a conversion, which must not raise */
};

/* Why a table cannot be data. The Lua stack is as deep as the chain. */
struct place {
	struct lua_data_path path;
	const void *table;
	const struct place *up;
	const struct lua_data_block *block;
};

static json_t *to_json(struct loader *l, lua_State *L, int index, const struct place *at);

static void *bounded_alloc(void *arg, void *old, size_t old_size, size_t new_size)
{
	struct loader *l = arg;
	size_t was = old ? old_size : 0;
	void *p;

	if (new_size == 0) {
		free(old);
		l->memory_bytes -= was;
		return NULL;
	}
	if (new_size > was && new_size - was > MEMORY_MAX - l->memory_bytes)
		return NULL;
	p = realloc(old, new_size);
	if (p)
		l->memory_bytes += new_size - was;
	return p;
}

/* --- tables to JSON; nothing here raises a Lua error --------------------------------------- */

static json_t *refuse(struct loader *l, const struct place *at, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static json_t *refuse(struct loader *l, const struct place *at, const char *fmt, ...)
{
	const struct lua_data_path *path = at->up ? &at->path : NULL;
	const struct lua_data_block *b = at->block;
	char where[256];
	va_list ap;

	va_start(ap, fmt);
	err_vset(&l->e, ERR_CONFIG, fmt, ap);
	va_end(ap);
	lua_data_path_text(path, where, sizeof(where));
	if (*where)
		err_prefix(&l->e, "%s", where);
	if (b->which)
		err_prefix(&l->e, "%s \"%s\"", b->call, b->which);
	err_prefix(&l->e, "%s:%d", l->data->file, lua_data_line(l->data, b, path));
	return NULL;
}

static json_t *number_to_json(struct loader *l, lua_State *L, int index, const struct place *at)
{
	lua_Number x = lua_tonumber(L, index);
	int is_int;
	lua_Integer i = lua_tointegerx(L, index, &is_int);

	if (is_int)
		return json_integer(i);
	if (!isfinite(x))
		return refuse(l, at, "%s is no number for a configuration",
			isnan(x) ? "NaN" : "infinity");
	return json_real(x);
}

static json_t *string_to_json(struct loader *l, lua_State *L, int index, const struct place *at)
{
	size_t len;
	const char *s = lua_tolstring(L, index, &len);
	json_t *value = strlen(s) == len ? json_stringn(s, len) : NULL;

	return value ? value : refuse(l, at, "a string must be UTF-8 without NUL");
}

/* Fills array from the table's items 1 to n. */
static bool fill_array(
	struct loader *l, lua_State *L, int index, size_t n, json_t *array, const struct place *at)
{
	for (size_t i = 0; i < n; i++) {
		struct place item = {
			.path = {at->up ? &at->path : NULL, NULL, i}, .up = at, .block = at->block};
		json_t *value;

		lua_rawgeti(L, index, (lua_Integer)i + 1);
		value = to_json(l, L, lua_gettop(L), &item);
		lua_pop(L, 1);
		if (!value)
			return false;
		json_array_append_new(array, value);
	}
	return true;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Lua's order of keys changes from run to run; what is made from a file must not. */
static json_t *sorted(json_t *object)
{
	const char **keys = calloc(json_object_size(object) + 1, sizeof(*keys)), *key;
	json_t *result = json_object(), *value;
	size_t n = 0;

	if (keys) {
		json_object_foreach (object, key, value)
			keys[n++] = key;
		qsort(keys, n, sizeof(*keys), by_text);
	}
	for (size_t i = 0; i < n; i++)
		json_object_set(result, keys[i], json_object_get(object, keys[i]));
	free(keys);
	json_decref(object);
	return result;
}

static bool fill_object(
	struct loader *l, lua_State *L, int index, json_t *object, const struct place *at)
{
	lua_pushnil(L);
	while (lua_next(L, index)) {
		const char *key = lua_tostring(L, -2);
		struct place member = {
			.path = {at->up ? &at->path : NULL, key, 0}, .up = at, .block = at->block};
		json_t *value = to_json(l, L, lua_gettop(L), &member);
		int rc;

		if (!value)
			return false;
		rc = json_object_set_new(object, key, value);
		if (rc != 0 || strlen(key) != lua_rawlen(L, -2)) {
			refuse(l, at, "a name must be UTF-8 without NUL");
			return false;
		}
		lua_pop(L, 1);
	}
	return true;
}

enum table_kind { TABLE_BAD, TABLE_LIST, TABLE_NAMES };

static enum table_kind survey(struct loader *l, lua_State *L, int index, const struct place *at)
{
	size_t length = lua_rawlen(L, index), items = 0, names = 0;

	lua_pushnil(L);
	while (lua_next(L, index)) {
		lua_pop(L, 1); /* the value; the key stays for lua_next */
		if (lua_isinteger(L, -1) && lua_tointeger(L, -1) >= 1 &&
			(size_t)lua_tointeger(L, -1) <= length) {
			items++;
		} else if (lua_type(L, -1) == LUA_TSTRING) {
			names++;
		} else {
			refuse(l, at, "the keys of a table must be names, or 1 to n without holes");
			return TABLE_BAD;
		}
	}
	if (items > 0 && names > 0)
		refuse(l, at, "a table is a list or has names, not both");
	else if (items != length)
		refuse(l, at, "a list with holes");
	else
		return items > 0 ? TABLE_LIST : TABLE_NAMES;
	return TABLE_BAD;
}

static json_t *table_to_json(struct loader *l, lua_State *L, int index, struct place *at)
{
	json_t *value;

	at->table = lua_topointer(L, index);
	for (const struct place *p = at->up; p; p = p->up)
		if (p->table == at->table)
			return refuse(l, at, "a table that contains itself");
	if (!lua_checkstack(L, 8))
		return refuse(l, at, "out of memory");
	switch (survey(l, L, index, at)) {
	case TABLE_LIST:
		value = json_array();
		if (fill_array(l, L, index, lua_rawlen(L, index), value, at))
			return value;
		break;
	case TABLE_NAMES:
		value = json_object();
		if (fill_object(l, L, index, value, at))
			return sorted(value);
		break;
	case TABLE_BAD:
	default:
		return NULL;
	}
	json_decref(value);
	return NULL;
}

/* index is the top of the stack. */
static json_t *to_json(struct loader *l, lua_State *L, int index, const struct place *at)
{
	struct place here = *at;
	size_t depth = 0;

	for (const struct place *p = at; p; p = p->up)
		depth++;
	if (depth > DEPTH_MAX)
		return refuse(l, at, "nested deeper than %d tables", DEPTH_MAX);
	if (++l->values > VALUES_MAX)
		return refuse(l, at, "more than %d values in one file", VALUES_MAX);
	switch (lua_type(L, index)) {
	case LUA_TBOOLEAN:
		return json_boolean(lua_toboolean(L, index));
	case LUA_TNUMBER:
		return number_to_json(l, L, index, at);
	case LUA_TSTRING:
		return string_to_json(l, L, index, at);
	case LUA_TTABLE:
		return table_to_json(l, L, index, &here);
	case LUA_TFUNCTION:
		return json_pack("{sb}", "function", 1);
	default:
		return refuse(l, at, "a %s is no data", luaL_typename(L, index));
	}
}

/* --- what a file may call ------------------------------------------------------------------ */

static struct loader *loader_of(lua_State *L)
{
	void *arg;

	lua_getallocf(L, &arg);
	return arg;
}

/* The line of the file itself that is being run; 0 when the call comes from elsewhere. */
static int current_line(lua_State *L)
{
	lua_Debug ar;

	for (int level = 1; lua_getstack(L, level, &ar); level++)
		if (lua_getinfo(L, "Sl", &ar) && strcmp(ar.source, "=#0") == 0)
			return ar.currentline;
	return 0;
}

static size_t add_block(lua_State *L, const char *call, const char *which)
{
	struct lua_data *d = loader_of(L)->data;
	struct lua_data_block *more = realloc(d->blocks, (d->count + 1) * sizeof(*more));
	char *copy = which ? strdup(which) : NULL;

	if (more)
		d->blocks = more;
	if (!more || (which && !copy)) {
		free(copy);
		luaL_error(L, "out of memory");
	}
	d->blocks[d->count] = (struct lua_data_block){call, copy, current_line(L), NULL};
	return d->count++;
}

/* The table at index becomes block n's value. Raises what is wrong with it. */
static void fill_block(lua_State *L, size_t n, int index)
{
	struct loader *l = loader_of(L);
	struct place root = {.block = &l->data->blocks[n]};

	lua_pushvalue(L, index);
	l->data->blocks[n].value = to_json(l, L, lua_gettop(L), &root);
	lua_pop(L, 1);
	if (!l->data->blocks[n].value)
		lua_error(L); /* l->e says it all */
}

static int take_table(lua_State *L)
{
	size_t n = (size_t)lua_tointeger(L, lua_upvalueindex(1));
	struct lua_data_block *b = &loader_of(L)->data->blocks[n];

	if (!lua_istable(L, 1))
		return luaL_error(L, "%s \"%s\" must be followed by a table, not by a %s", b->call,
			b->which, luaL_typename(L, 1));
	if (b->value)
		return luaL_error(L, "%s \"%s\" was given a table already", b->call, b->which);
	fill_block(L, n, 1);
	return 0;
}

static int call_block(lua_State *L)
{
	const struct lua_data_call *call = lua_touserdata(L, lua_upvalueindex(1));

	if (call->named && lua_type(L, 1) != LUA_TSTRING)
		return luaL_error(L, "%s takes a name and a table: %s \"name\" { ... }", call->name,
			call->name);
	if (call->named) {
		lua_pushinteger(L, (lua_Integer)add_block(L, call->name, lua_tostring(L, 1)));
		lua_pushcclosure(L, take_table, 1);
		return 1;
	}
	if (!lua_istable(L, 1))
		return luaL_error(L, "%s takes a table: %s { ... }", call->name, call->name);
	fill_block(L, add_block(L, call->name, NULL), 1);
	return 0;
}

/* --- the sandbox --------------------------------------------------------------------------- */

static const char *const base_names[] = {"assert", "error", "ipairs", "next", "pairs", "select",
	"tonumber", "tostring", "type", NULL};

static const struct {
	const char *name;
	lua_CFunction open;
	const char *without[3];
} libraries[] = {
	{"string", luaopen_string, {"dump"}},
	{"table", luaopen_table, {NULL}},
	{"math", luaopen_math, {"random", "randomseed"}},
};

static void out_of_instructions(lua_State *L, lua_Debug *ar)
{
	lua_getinfo(L, "Sl", ar);
	lua_pushfstring(L, "%s:%d: runs too long: more than %d instructions", ar->short_src,
		ar->currentline, INSTRUCTIONS_MAX);
	lua_error(L);
}

/* Reads of a global that is not there: most often a typo. */
static int unknown_name(lua_State *L)
{
	const struct lua_data_call *calls = loader_of(L)->calls;
	const char *name = luaL_checkstring(L, 2), *near;
	json_t *known = json_object();

	for (const struct lua_data_call *c = calls; c && c->name; c++)
		json_object_set_new(known, c->name, json_true());
	near = nearest_key(name, known);
	if (near)
		lua_pushfstring(L, "; did you mean '%s'?", near);
	else
		lua_pushliteral(L, "");
	json_decref(known);
	return luaL_error(L, "unknown name '%s'%s", name, lua_tostring(L, -1));
}

static int load_chunk(
	lua_State *L, struct loader *l, const char *path, const char *source, size_t len)
{
	char **more = realloc(l->files, (l->file_count + 1) * sizeof(*more));
	char *copy = strdup(path), chunk[32];

	if (more)
		l->files = more;
	if (!more || !copy) {
		free(copy);
		return luaL_error(L, "out of memory");
	}
	l->files[l->file_count] = copy;
	snprintf(chunk, sizeof(chunk), "=#%zu", l->file_count++);
	return luaL_loadbufferx(L, source, len, chunk, "t");
}

/* "boards.smp" as boards/smp.lua below one of the roots; in a Lua string, or NULL. */
static const char *find_module(lua_State *L, const struct loader *l, const char *name)
{
	const char *file = luaL_gsub(L, name, ".", "/");

	for (const char *const *root = l->roots; root && *root; root++) {
		const char *path = lua_pushfstring(L, "%s/%s.lua", *root, file);

		if (access(path, R_OK) == 0)
			return path;
		lua_pop(L, 1);
	}
	return NULL;
}

static bool may_require(const char *name)
{
	static const char *const folders[] = {"boards.", "scenarios.lib."};
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-";

	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++) {
		size_t n = strlen(folders[i]);

		if (strncmp(name, folders[i], n) == 0)
			return name[n] && name[n + strspn(name + n, allowed)] == '\0';
	}
	return false;
}

static int require(lua_State *L)
{
	struct loader *l = loader_of(L);
	const char *name = luaL_checkstring(L, 1), *path;
	char *source;
	struct err e;
	size_t len;
	int rc;

	if (!may_require(name))
		return luaL_error(L,
			"require '%s': only 'boards.NAME' and 'scenarios.lib.NAME' can be required",
			name);
	luaL_getsubtable(L, LUA_REGISTRYINDEX, "required");
	if (lua_getfield(L, -1, name) != LUA_TNIL) {
		if (lua_isboolean(L, -1))
			return luaL_error(L, "require '%s': it requires itself", name);
		return 1;
	}
	lua_pop(L, 1);
	path = find_module(L, l, name);
	if (!path)
		return luaL_error(L, "require '%s': there is no such file", name);
	lua_pushboolean(L, 1);
	lua_setfield(L, 2, name); /* under way */
	if (file_read(path, SOURCE_MAX, &source, &len, &e) != 0)
		return luaL_error(L, "require '%s': %s", name, e.msg);
	rc = load_chunk(L, l, path, source, len);
	free(source);
	if (rc != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	if (lua_isnil(L, -1))
		return luaL_error(L, "require '%s': %s returns nothing", name, path);
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

/* Under a protected call: builds the sandbox, runs the file, leaves what it returned. */
static int run(lua_State *L)
{
	struct loader *l = loader_of(L);

	luaL_requiref(L, "_G", luaopen_base, 0);
	lua_newtable(L); /* the sandbox's globals */
	for (size_t i = 0; base_names[i]; i++) {
		lua_getfield(L, 1, base_names[i]);
		lua_setfield(L, 2, base_names[i]);
	}
	for (size_t i = 0; i < sizeof(libraries) / sizeof(*libraries); i++) {
		luaL_requiref(L, libraries[i].name, libraries[i].open, 0);
		for (size_t k = 0; k < 3 && libraries[i].without[k]; k++) {
			lua_pushnil(L);
			lua_setfield(L, -2, libraries[i].without[k]);
		}
		lua_setfield(L, 2, libraries[i].name);
	}
	lua_pushcfunction(L, require);
	lua_setfield(L, 2, "require");
	for (const struct lua_data_call *c = l->calls; c && c->name; c++) {
		lua_pushlightuserdata(L, (void *)c);
		lua_pushcclosure(L, call_block, 1);
		lua_setfield(L, 2, c->name);
	}
	lua_newtable(L);
	lua_pushcfunction(L, unknown_name);
	lua_setfield(L, -2, "__index");
	lua_setmetatable(L, 2);
	lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
	lua_settop(L, 0);
	if (load_chunk(L, l, l->data->file, l->data->source, strlen(l->data->source)) != LUA_OK)
		return lua_error(L);
	lua_sethook(L, out_of_instructions, LUA_MASKCOUNT, INSTRUCTIONS_MAX);
	lua_call(L, 0, 1);
	lua_sethook(L, NULL, 0, 0);
	return 1;
}

/* --- loading ------------------------------------------------------------------------------- */

/* A Lua message begins with its chunk, "#1:12: …"; the user knows it by its path. */
static int explain(struct loader *l, lua_State *L, int status, struct err *e)
{
	const char *msg = lua_tostring(L, -1);
	char *rest;
	unsigned long n;

	if (l->e.code) {
		*e = l->e;
		return -(int)e->code;
	}
	if (status == LUA_ERRMEM)
		return err_set(e, ERR_CONFIG, "%s: needs more than %zu MB of memory", l->data->file,
			MEMORY_MAX >> 20);
	if (msg && msg[0] == '#') {
		n = strtoul(msg + 1, &rest, 10);
		if (*rest == ':' && n < l->file_count)
			return err_set(e, ERR_CONFIG, "%s%s", l->files[n], rest);
	}
	return err_set(e, ERR_CONFIG, "%s: %s", l->data->file, msg ? msg : "an error without text");
}

static int take_returned(struct loader *l, lua_State *L, struct err *e)
{
	struct lua_data *d = l->data;
	struct place root = {0};

	if (!lua_istable(L, -1))
		return err_set(e, ERR_CONFIG, "%s: it must end in: return { ... }", d->file);
	d->blocks = calloc(1, sizeof(*d->blocks));
	if (!d->blocks)
		return err_set(e, ERR_NOMEM, "%s: out of memory", d->file);
	d->count = 1;
	d->blocks[0].call = "return";
	d->blocks[0].line = lua_source_return_line(d->source);
	root.block = d->blocks;
	d->blocks[0].value = to_json(l, L, lua_gettop(L), &root);
	if (d->blocks[0].value)
		return 0;
	*e = l->e;
	return -(int)e->code;
}

static int check_blocks(const struct lua_data *d, struct err *e)
{
	for (size_t i = 0; i < d->count; i++)
		if (!d->blocks[i].value)
			return err_set(e, ERR_CONFIG,
				"%s:%d: %s \"%s\" must be followed by a table", d->file,
				d->blocks[i].line, d->blocks[i].call, d->blocks[i].which);
	return 0;
}

static int run_file(struct loader *l, struct err *e)
{
	lua_State *L = lua_newstate(bounded_alloc, l);
	int status, rc;

	if (!L)
		return err_set(e, ERR_NOMEM, "%s: out of memory", l->data->file);
	lua_pushcfunction(L, run);
	status = lua_pcall(L, 0, 1, 0);
	if (status != LUA_OK)
		rc = explain(l, L, status, e);
	else
		rc = l->calls ? check_blocks(l->data, e) : take_returned(l, L, e);
	lua_close(L);
	for (size_t i = 0; i < l->file_count; i++)
		free(l->files[i]);
	free(l->files);
	return rc;
}

int lua_data_load(const char *path, const struct lua_data_call *calls, const char *const *roots,
	struct lua_data **data, struct err *e)
{
	struct loader l = {.calls = calls, .roots = roots};
	struct lua_data *d = calloc(1, sizeof(*d));
	size_t len = 0;
	int rc;

	if (!d || !(d->file = strdup(path))) {
		lua_data_destroy(d);
		return err_set(e, ERR_NOMEM, "%s: out of memory", path);
	}
	l.data = d;
	rc = file_read(path, SOURCE_MAX, &d->source, &len, e);
	if (rc == 0)
		rc = strlen(d->source) == len ? run_file(&l, e)
					      : err_set(e, ERR_CONFIG, "%s: no text file", path);
	if (rc == -ERR_IO) {
		e->code = ERR_CONFIG;
		rc = -ERR_CONFIG;
	}
	if (rc == 0)
		*data = d;
	else
		lua_data_destroy(d);
	return rc;
}

void lua_data_destroy(struct lua_data *data)
{
	if (!data)
		return;
	for (size_t i = 0; i < data->count; i++) {
		json_decref(data->blocks[i].value);
		free(data->blocks[i].which);
	}
	free(data->blocks);
	free(data->source);
	free(data->file);
	free(data);
}
