/*
 * What is done with a trace: the campaign that chooses cuts in it, what they covered, and the trace
 * remembered for plans.
 */
#include "lua_trace_priv.h"

#include "campaign.h"
#include "coverage.h"
#include "cuts.h"
#include "err.h"
#include "lua_json.h"
#include "plan_cuts.h"

#include <lauxlib.h>
#include <string.h>

#define CAMPAIGN "rig.campaign"
#define COVERAGE "rig.coverage"

struct lua_campaign {
	struct campaign *campaign;
};

struct lua_coverage {
	struct coverage *coverage;
};

/* --- the campaign ------------------------------------------------------------------------------
 */

static bool flag(const json_t *table, const char *name)
{
	return json_is_true(json_object_get(table, name));
}

/* trace:campaign{seed=, index=, limit= or nil for all, tears=, second=, windows=} → a campaign |
 * nil, code, message */
int lua_trace_campaign(lua_State *L)
{
	struct trace *t = lua_trace_at(L, 1);
	struct campaign_options options = {.limit = SIZE_MAX};
	struct lua_campaign *c;
	struct err e;
	json_t *given = lua_json_get(L, 2, &e);

	if (!given)
		return lua_json_give_err(L, &e);
	options.seed = (uint64_t)json_integer_value(json_object_get(given, "seed"));
	options.index = (uint32_t)json_integer_value(json_object_get(given, "index"));
	if (json_is_integer(json_object_get(given, "limit")))
		options.limit = (size_t)json_integer_value(json_object_get(given, "limit"));
	options.tears = flag(given, "tears");
	options.second = flag(given, "second");
	options.windows = flag(given, "windows");
	json_decref(given);
	c = lua_newuserdatauv(L, sizeof(*c), 0);
	c->campaign = NULL;
	luaL_setmetatable(L, CAMPAIGN);
	if (campaign_create(&c->campaign, &t->log, &t->classes, &options, &e))
		return lua_json_give_err(L, &e);
	return 1;
}

static struct campaign *campaign_at(lua_State *L, int index)
{
	return ((struct lua_campaign *)luaL_checkudata(L, index, CAMPAIGN))->campaign;
}

static int l_campaign_gc(lua_State *L)
{
	struct lua_campaign *c = luaL_checkudata(L, 1, CAMPAIGN);

	campaign_destroy(c->campaign);
	c->campaign = NULL;
	return 0;
}

/* campaign:next() → cuts as text, why; nothing when there is nothing more to do */
static int l_campaign_next(lua_State *L)
{
	char text[CUTS_TEXT_MAX];
	const char *why;
	struct cuts cuts;

	if (!campaign_next(campaign_at(L, 1), &cuts, &why))
		return 0;
	lua_pushstring(L, cuts_format(&cuts, text));
	lua_pushstring(L, why);
	return 2;
}

/* campaign:outcome(cuts as text, {verdict=, fired=, landed= or nil, recovery= or nil}) → true |
 * nil, code, message */
static int l_campaign_outcome(lua_State *L)
{
	struct campaign *c = campaign_at(L, 1);
	struct campaign_outcome outcome = {.recovery = -1};
	struct cuts cuts, landed;
	struct err e;
	const char *text, *verdict;
	json_t *given;
	int code = cuts_parse(&cuts, luaL_checkstring(L, 2), &e);

	given = code ? NULL : lua_json_get(L, 3, &e);
	if (!given)
		return lua_json_give_err(L, &e);
	text = json_string_value(json_object_get(given, "landed"));
	verdict = json_string_value(json_object_get(given, "verdict"));
	outcome.cuts_fired = (unsigned)json_integer_value(json_object_get(given, "fired"));
	outcome.fired = outcome.cuts_fired > 0;
	outcome.failed = verdict && strcmp(verdict, "fail") == 0;
	outcome.error = verdict && strcmp(verdict, "error") == 0;
	if (text && cuts_parse(&landed, text, &e) == 0) {
		outcome.placed = true;
		outcome.landed = landed.list[0];
	}
	if (json_is_integer(json_object_get(given, "recovery")))
		outcome.recovery = (long)json_integer_value(json_object_get(given, "recovery"));
	json_decref(given);
	if (campaign_outcome(c, &cuts, &outcome, &e))
		return lua_json_give_err(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

/* campaign:planned() → trials it comes to in the end, as far as can be said now | nil, code,
 * message */
static int l_campaign_planned(lua_State *L)
{
	struct campaign_plan plan;
	struct err e;

	if (campaign_planned(campaign_at(L, 1), &plan, &e))
		return lua_json_give_err(L, &e);
	lua_pushinteger(L, (lua_Integer)plan.total);
	return 1;
}

/* campaign:window(i) → {first, last, tear, whole, found} of the ith whose search is over, or nil */
static int l_campaign_window(lua_State *L)
{
	lua_Integer i = luaL_checkinteger(L, 2);
	const struct campaign_window *w =
		i < 1 ? NULL : campaign_window(campaign_at(L, 1), (size_t)i - 1);
	char found[CUT_TEXT_MAX];

	if (!w)
		return 0;
	return lua_json_give(L,
		json_pack("{s:I, s:I, s:s, s:b, s:s, s:I}", "first", (json_int_t)w->first, "last",
			(json_int_t)w->last, "tear", campaign_tear_name(w->tear), "whole", w->whole,
			"found", cut_format(&w->found, found), "trials", (json_int_t)w->trials));
}

/* --- coverage ----------------------------------------------------------------------------------
 */

/* coverage(fields of a trace record) → a coverage | nil, code, message */
static int l_coverage(lua_State *L)
{
	struct lua_coverage *c;
	struct err e;
	json_t *trace = lua_json_get(L, 1, &e);

	if (!trace)
		return lua_json_give_err(L, &e);
	c = lua_newuserdatauv(L, sizeof(*c), 0);
	c->coverage = coverage_create(trace, &e);
	json_decref(trace);
	luaL_setmetatable(L, COVERAGE);
	return c->coverage ? 1 : lua_json_give_err(L, &e);
}

static struct coverage *coverage_at(lua_State *L, int index)
{
	return ((struct lua_coverage *)luaL_checkudata(L, index, COVERAGE))->coverage;
}

static int l_coverage_gc(lua_State *L)
{
	struct lua_coverage *c = luaL_checkudata(L, 1, COVERAGE);

	coverage_destroy(c->coverage);
	c->coverage = NULL;
	return 0;
}

/* coverage:trial{verdict=, cuts=} */
static int l_coverage_trial(lua_State *L)
{
	struct coverage *c = coverage_at(L, 1);
	struct err e;
	json_t *trial = lua_json_get(L, 2, &e);
	int code = trial ? coverage_trial(c, trial, &e) : -1;

	json_decref(trial);
	if (code)
		return lua_json_give_err(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

/* coverage:result() → the fields of the journal's "coverage" record */
static int l_coverage_result(lua_State *L)
{
	return lua_json_give(L, coverage_to_json(coverage_at(L, 1)));
}

/* remember_trace(board, item, file, mean ms of a trial or 0) → true | nil, code, message */
static int l_remember_trace(lua_State *L)
{
	const char *path = luaL_checkstring(L, 3);
	double trial_ms = luaL_checknumber(L, 4);
	struct err e;
	json_t *board = lua_json_get(L, 1, &e);
	json_t *item = board ? lua_json_get(L, 2, &e) : NULL;
	int code = item ? plan_cuts_remember(board, item, path, trial_ms, &e) : -1;

	json_decref(board);
	json_decref(item);
	if (code)
		return lua_json_give_err(L, &e);
	lua_pushboolean(L, 1);
	return 1;
}

/* --- registration ------------------------------------------------------------------------------
 */

static const luaL_Reg campaign_methods[] = {
	{"next", l_campaign_next},
	{"outcome", l_campaign_outcome},
	{"planned", l_campaign_planned},
	{"window", l_campaign_window},
	{NULL, NULL},
};
static const luaL_Reg coverage_methods[] = {
	{"result", l_coverage_result},
	{"trial", l_coverage_trial},
	{NULL, NULL},
};
static const luaL_Reg functions[] = {
	{"coverage", l_coverage},
	{"remember_trace", l_remember_trace},
	{NULL, NULL},
};

void lua_campaign_register(lua_State *L)
{
	lua_trace_new_type(L, CAMPAIGN, campaign_methods, l_campaign_gc);
	lua_trace_new_type(L, COVERAGE, coverage_methods, l_coverage_gc);
	luaL_setfuncs(L, functions, 0);
}
