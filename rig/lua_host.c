#include "lua_host.h"

#include "lua_evidence.h"
#include "lua_json.h"
#include "lua_tools.h"
#include "lua_trace.h"

#include <lauxlib.h>
#include <limits.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <uv.h>

#define MEMORY_MAX ((size_t)256 << 20)
#define SLICE_INSTRUCTIONS 2000000 /* after so many a script lets the loop run */
#define LOAD_INSTRUCTIONS 200000000
#define STUCK_S 10                   /* of the processor's time */
#define RECORD_MAX ((size_t)1 << 20) /* bytes of one record; whoever follows takes 8 MiB a line */

struct host {
	lua_State *L;
	struct host_hooks hooks;
	void *arg;
	json_t *scenario;
	struct task *tasks;
	size_t memory;
	char *config_dir, *data_dir;
	int entry; /* registry: the prelude's function that runs an item */
};

struct task {
	struct task *next, **prev;
	struct host *host;
	lua_State *L;
	int ref; /* keeps the coroutine alive */
	void *owner;
	json_t *context;
	bool waiting; /* yielded from wait(), not from the count hook */
	bool resumed_with_error;
	bool dropped;
	bool running;
	struct err error;
	json_t *result;
};

static struct task *task_of(lua_State *L)
{
	return *(struct task **)lua_getextraspace(L);
}

static struct host *host_of(lua_State *L)
{
	struct host *host;

	lua_rawgetp(L, LUA_REGISTRYINDEX, (void *)(uintptr_t)host_of);
	host = lua_touserdata(L, -1);
	lua_pop(L, 1);
	return host;
}

/* Only the coroutine that the host resumes may wait: anything else would return to the script. */
static struct task *task_that_waits(lua_State *L)
{
	struct task *task = task_of(L);

	if (!task || task->L != L)
		luaL_error(L, "the rig's operations are only for a scenario's run function");
	return task;
}

static void *limited_alloc(void *ud, void *ptr, size_t osize, size_t nsize)
{
	struct host *host = ud;
	size_t old = ptr ? osize : 0;

	if (nsize == 0) {
		host->memory -= old;
		free(ptr);
		return NULL;
	}
	if (nsize > old && host->memory + (nsize - old) > MEMORY_MAX)
		return NULL;
	ptr = realloc(ptr, nsize);
	if (ptr)
		host->memory += nsize - old;
	return ptr;
}

static void count_hook(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	if (task_of(L) && task_of(L)->L == L && lua_isyieldable(L))
		lua_yield(L, 0);
}

static void load_hook(lua_State *L, lua_Debug *ar)
{
	(void)ar;
	luaL_error(L, "this does not come to an end while the scenario is loaded");
}

/*
 * No hook reaches into one long call of a library function (a pattern that backtracks, a callback
 * of gsub, a finalizer). Such a script is ended with its process, by SIGVTALRM; the keepers then
 * make the boards safe. Counted is the processor's time, so that a busy or suspended host ends
 * none.
 */
static void watch(bool on)
{
	const struct itimerval limit = {.it_value.tv_sec = on ? STUCK_S : 0};

	setitimer(ITIMER_VIRTUAL, &limit, NULL);
}

/* --- what the prelude may call -------------------------------------------------------------- */

static int wait_done(lua_State *L, int status, lua_KContext ctx)
{
	struct task *task = task_of(L);

	(void)status;
	(void)ctx;
	if (task->resumed_with_error) {
		lua_pushnil(L);
		lua_pushstring(L, err_name(task->error.code));
		lua_pushstring(L, task->error.msg);
		return 3;
	}
	lua_pushboolean(L, 1);
	lua_json_push(L, task->result);
	return 2;
}

/* wait(method, params) → true, result | nil, code, message */
static int l_wait(lua_State *L)
{
	struct task *task = task_that_waits(L);
	const char *method = luaL_checkstring(L, 1);
	struct err e;
	json_t *params = lua_json_get(L, 2, &e);

	if (!params) {
		lua_pushnil(L);
		lua_pushstring(L, err_name(e.code));
		lua_pushfstring(L, "%s: %s", method, e.msg);
		return 3;
	}
	if (!lua_isyieldable(L)) {
		json_decref(params);
		return luaL_error(
			L, "%s: cannot wait inside a callback of a library function", method);
	}
	task->waiting = true;
	task->host->hooks.wait(task->host->arg, task, method, params);
	json_decref(params);
	return lua_yieldk(L, 0, 0, wait_done);
}

/* record(kind, fields) */
static int l_record(lua_State *L)
{
	struct task *task = task_that_waits(L);
	const char *kind = luaL_checkstring(L, 1);
	struct err e;
	json_t *fields = lua_json_get(L, 2, &e);
	int code = -1;

	if (fields && json_dumpb(fields, NULL, 0, JSON_COMPACT) > RECORD_MAX) {
		json_decref(fields);
		return luaL_error(L, "%s: a record of over 1 MiB", kind);
	}
	if (fields)
		code = task->host->hooks.record(task->host->arg, task, kind, fields, &e);
	if (code == 0)
		return 0;
	if (fields) { /* the journal is broken: no more of this script runs */
		task->waiting = true;
		return lua_yield(L, 0);
	}
	lua_pushfstring(L, "%s: %s", kind, e.msg);
	return lua_error(L);
}

/* where(prefix): "file:line" of the first frame that is not under the prelude's chunk names */
static int l_where(lua_State *L)
{
	lua_Debug ar;

	for (int level = 1; lua_getstack(L, level, &ar); level++) {
		lua_getinfo(L, "Sl", &ar);
		if (ar.currentline > 0 && strncmp(ar.source, "@=", 2) != 0) {
			lua_pushfstring(L, "%s:%d", ar.short_src, ar.currentline);
			return 1;
		}
	}
	lua_pushliteral(L, "?");
	return 1;
}

/* clock() → ms since some fixed time */
static int l_clock(lua_State *L)
{
	lua_pushinteger(L, (lua_Integer)(uv_hrtime() / 1000000));
	return 1;
}

static const luaL_Reg primitives[] = {
	{"clock", l_clock},
	{"record", l_record},
	{"wait", l_wait},
	{"where", l_where},
	{NULL, NULL},
};

/* --- loading ---------------------------------------------------------------------------------- */

/* Loads a text chunk from a file; "@=" before the name marks a frame of the rig's own. */
static int load_file(lua_State *L, const char *path, bool own)
{
	char name[PATH_MAX + 4];
	char *text = NULL;
	size_t len = 0;
	FILE *f = fopen(path, "re");
	int status;

	if (!f) {
		lua_pushfstring(L, "%s: cannot be opened", path);
		return LUA_ERRFILE;
	}
	if (fseek(f, 0, SEEK_END) == 0 && ftell(f) >= 0 && ftell(f) < (4 << 20)) {
		len = (size_t)ftell(f);
		rewind(f);
		text = malloc(len + 1);
		if (text && fread(text, 1, len, f) != len) {
			free(text);
			text = NULL;
		}
	}
	fclose(f);
	if (!text) {
		lua_pushfstring(L, "%s: cannot be read, or is larger than 4 MiB", path);
		return LUA_ERRFILE;
	}
	snprintf(name, sizeof(name), "@%s%s", own ? "=" : "", path);
	status = luaL_loadbufferx(L, text, len, name, "t");
	free(text);
	return status;
}

static bool module_path(const struct host *host, const char *name, char *path, size_t size)
{
	char rel[256];
	const char *dirs[] = {host->config_dir, host->data_dir};

	if (strncmp(name, "boards.", 7) != 0 && strncmp(name, "scenarios.lib.", 14) != 0)
		return false;
	if (strlen(name) >= sizeof(rel) - 4 || strstr(name, "..") || strchr(name, '/'))
		return false;
	snprintf(rel, sizeof(rel), "%s", name);
	for (char *c = rel; *c; c++)
		if (*c == '.')
			*c = '/';
	for (int i = 0; i < 2; i++) {
		FILE *f;

		if ((size_t)snprintf(path, size, "%s/%s.lua", dirs[i], rel) >= size)
			continue;
		f = fopen(path, "re");
		if (f) {
			fclose(f);
			return true;
		}
	}
	return false;
}

static int l_require(lua_State *L)
{
	struct host *host = host_of(L);
	const char *name = luaL_checkstring(L, 1);
	char path[PATH_MAX];

	lua_settop(L, 1);
	lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	if (lua_getfield(L, -1, name) != LUA_TNIL)
		return 1;
	lua_pop(L, 1);
	if (!module_path(host, name, path, sizeof(path)))
		return luaL_error(L,
			"module '%s' not found: a scenario may require \"rig\", \"boards.X\" and "
			"\"scenarios.lib.X\"",
			name);
	if (load_file(L, path, false) != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	if (lua_isnil(L, -1))
		return luaL_error(L, "%s: returns nothing", path);
	lua_pushvalue(L, -1);
	lua_setfield(L, 2, name);
	return 1;
}

/* load_board(path): the table a board type returns, functions and all; for the prelude */
static int l_load_board(lua_State *L)
{
	const char *path = luaL_checkstring(L, 1);

	if (load_file(L, path, false) != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	return 1;
}

/* include(name, …): runs <data_dir>/rig/<name>.lua, another part of the prelude, with the
 * arguments; returns what that returns. */
static int l_include(lua_State *L)
{
	struct host *host = host_of(L);
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/rig/%s.lua", host->data_dir, luaL_checkstring(L, 1));
	if (load_file(L, path, true) != LUA_OK)
		return lua_error(L);
	lua_replace(L, 1);
	lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
	return lua_gettop(L);
}

static void open_libraries(lua_State *L)
{
	static const luaL_Reg libs[] = {
		{LUA_GNAME, luaopen_base},
		{LUA_STRLIBNAME, luaopen_string},
		{LUA_TABLIBNAME, luaopen_table},
		{LUA_MATHLIBNAME, luaopen_math},
		{LUA_UTF8LIBNAME, luaopen_utf8},
		{NULL, NULL},
	};
	static const char *const unsafe[] = {
		"load", "loadfile", "dofile", "collectgarbage", "print", "warn", NULL};

	for (const luaL_Reg *lib = libs; lib->func; lib++) {
		luaL_requiref(L, lib->name, lib->func, 1);
		lua_pop(L, 1);
	}
	for (int i = 0; unsafe[i]; i++) {
		lua_pushnil(L);
		lua_setglobal(L, unsafe[i]);
	}
	lua_getglobal(L, "string");
	lua_pushnil(L);
	lua_setfield(L, -2, "dump");
	lua_pop(L, 1);
	lua_pushcfunction(L, l_require);
	lua_setglobal(L, "require");
}

/* Runs protected: argument 1 is the host, 2 the scenario's path. */
static int load_all(lua_State *L)
{
	struct host *host = lua_touserdata(L, 1);
	const char *scenario = lua_tostring(L, 2);
	char path[PATH_MAX];
	struct err e;

	open_libraries(L);
	snprintf(path, sizeof(path), "%s/rig/board.lua", host->data_dir);
	if (load_file(L, path, true) != LUA_OK)
		return lua_error(L);
	luaL_newlib(L, primitives);
	lua_tools_register(L);
	lua_trace_register(L);
	lua_evidence_register(L);
	lua_pushcfunction(L, l_include);
	lua_setfield(L, -2, "include");
	lua_pushcfunction(L, l_load_board);
	lua_setfield(L, -2, "load_board");
	/* the prelude alone may ask for a traceback */
	luaL_requiref(L, LUA_DBLIBNAME, luaopen_debug, 0);
	lua_getfield(L, -1, "traceback");
	lua_setfield(L, -3, "traceback");
	lua_pop(L, 1);
	lua_call(L, 1, 2); /* → the module "rig", the entry */
	host->entry = luaL_ref(L, LUA_REGISTRYINDEX);
	lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
	lua_pushvalue(L, -2);
	lua_setfield(L, -2, "rig");
	lua_pushnil(L);
	lua_setfield(L, -2, LUA_DBLIBNAME);
	lua_pop(L, 2);

	if (load_file(L, scenario, false) != LUA_OK)
		return lua_error(L);
	lua_call(L, 0, 1);
	if (!lua_istable(L, -1) || lua_getfield(L, -1, "declared") != LUA_TTABLE)
		return luaL_error(L, "%s: must return rig.scenario { … }", scenario);
	host->scenario = lua_json_get(L, -1, &e);
	if (!host->scenario)
		return luaL_error(L, "%s: %s", scenario, e.msg);
	lua_pop(L, 1);
	lua_setfield(L, LUA_REGISTRYINDEX, "rig.scenario");
	return 0;
}

struct host *host_create(const char *scenario_path, const char *config_dir, const char *data_dir,
	const struct host_hooks *hooks, void *arg, struct err *e)
{
	struct host *host = calloc(1, sizeof(*host));
	int loaded;

	if (!host) {
		err_set(e, ERR_NOMEM, "out of memory");
		return NULL;
	}
	host->hooks = *hooks;
	host->arg = arg;
	host->config_dir = strdup(config_dir);
	host->data_dir = strdup(data_dir);
	host->L = lua_newstate(limited_alloc, host);
	if (!host->L || !host->config_dir || !host->data_dir) {
		err_set(e, ERR_NOMEM, "out of memory");
		host_destroy(host);
		return NULL;
	}
	*(struct task **)lua_getextraspace(host->L) = NULL;
	lua_pushlightuserdata(host->L, host);
	lua_rawsetp(host->L, LUA_REGISTRYINDEX, (void *)(uintptr_t)host_of);
	lua_pushcfunction(host->L, load_all);
	lua_pushlightuserdata(host->L, host);
	lua_pushstring(host->L, scenario_path);
	lua_sethook(host->L, load_hook, LUA_MASKCOUNT, LOAD_INSTRUCTIONS);
	watch(true);
	loaded = lua_pcall(host->L, 2, 0, 0);
	watch(false);
	lua_sethook(host->L, NULL, 0, 0);
	if (loaded != LUA_OK) {
		/* `return rig.scenario { … }` is a tail call: no frame is left to take a line from
		 */
		const char *text = luaL_tolstring(host->L, -1, NULL);

		err_set(e, ERR_CONFIG, "%s%s%s", strstr(text, ".lua:") ? "" : scenario_path,
			strstr(text, ".lua:") ? "" : ": ", text);
		host_destroy(host);
		return NULL;
	}
	return host;
}

static void task_free(struct task *task)
{
	*task->prev = task->next;
	if (task->next)
		task->next->prev = task->prev;
	luaL_unref(task->host->L, LUA_REGISTRYINDEX, task->ref);
	json_decref(task->context);
	json_decref(task->result);
	free(task);
}

void host_destroy(struct host *host)
{
	if (!host)
		return;
	while (host->tasks)
		/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): a freed one is off the list */
		task_free(host->tasks);
	watch(true); /* finalizers are the script's */
	if (host->L)
		lua_close(host->L);
	watch(false);
	json_decref(host->scenario);
	free(host->config_dir);
	free(host->data_dir);
	free(host);
}

const json_t *host_scenario(const struct host *host)
{
	return host->scenario;
}

void *host_task_owner(const struct task *task)
{
	return task->owner;
}

static void task_run(struct task *task, int nargs)
{
	struct host *host = task->host;
	json_t *outcome;
	struct err e;
	int n, status;

	task->waiting = false;
	task->running = true;
	watch(true);
	status = lua_resume(task->L, host->L, nargs, &n);
	watch(false);
	task->running = false;
	if (task->dropped) {
		task_free(task);
		return;
	}
	if (status == LUA_YIELD) {
		if (!task->waiting)
			host->hooks.busy(host->arg, task);
		return;
	}
	/* the prelude catches the scenario's errors: what arrives here is out of memory or a defect
	 */
	outcome = status == LUA_OK ? lua_json_get(task->L, -1, &e) : NULL;
	if (!outcome)
		outcome = json_pack("{s:s, s:{s:s, s:s}}", "verdict", "error", "error", "code",
			"script", "message",
			status == LUA_OK ? e.msg
			: lua_type(task->L, -1) == LUA_TSTRING
				? lua_tostring(task->L, -1)
				: "the script ended without an outcome");
	host->hooks.finished(host->arg, task, outcome);
	json_decref(outcome);
	task_free(task);
}

static int task_body_done(lua_State *L, int status, lua_KContext ctx)
{
	(void)L;
	(void)status;
	(void)ctx;
	return 1;
}

/* First steps of a task, inside its coroutine: everything that may fail for want of memory. */
static int task_body(lua_State *L)
{
	struct task *task = task_of(L);

	lua_rawgeti(L, LUA_REGISTRYINDEX, task->host->entry);
	lua_getfield(L, LUA_REGISTRYINDEX, "rig.scenario");
	lua_json_push(L, task->context);
	lua_callk(L, 2, 1, 0, task_body_done);
	return 1;
}

static int new_thread(lua_State *L)
{
	lua_State **out = lua_touserdata(L, 1);

	*out = lua_newthread(L);
	lua_pushcfunction(*out, task_body);
	lua_pushinteger(L, luaL_ref(L, LUA_REGISTRYINDEX));
	return 1;
}

int host_start(struct host *host, json_t *context, void *owner, struct err *e)
{
	struct task *task = calloc(1, sizeof(*task));

	if (!task) {
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	lua_pushcfunction(host->L, new_thread);
	lua_pushlightuserdata(host->L, &task->L);
	if (lua_pcall(host->L, 1, 1, 0) != LUA_OK) {
		err_set(e, ERR_SCRIPT, "%s", luaL_tolstring(host->L, -1, NULL));
		lua_settop(host->L, 0);
		free(task);
		return -ERR_SCRIPT;
	}
	task->ref = (int)lua_tointeger(host->L, -1);
	lua_settop(host->L, 0);
	task->host = host;
	task->owner = owner;
	task->context = json_incref(context);
	*(struct task **)lua_getextraspace(task->L) = task;
	lua_sethook(task->L, count_hook, LUA_MASKCOUNT, SLICE_INSTRUCTIONS);
	task->next = host->tasks;
	task->prev = &host->tasks;
	if (task->next)
		task->next->prev = &task->next;
	host->tasks = task;
	task_run(task, 0);
	return 0;
}

void host_resume(struct task *task, const struct err *e, json_t *result)
{
	json_decref(task->result);
	task->result = json_incref(result);
	task->resumed_with_error = e != NULL;
	if (e)
		task->error = *e;
	task_run(task, 0);
}

void host_continue(struct task *task)
{
	task_run(task, 0);
}

void host_drop(struct task *task)
{
	if (task->running)
		task->dropped = true;
	else
		task_free(task);
}
