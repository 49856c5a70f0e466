/*
 * What a scenario's prelude can do with traces (rig/lua_trace.c), from Lua: also with traces, parts
 * of flash and arguments that are not what they should be.
 */
#include "rig/lua_trace.h"

#include "scratch.h"

#include <lauxlib.h>
#include <lualib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Two pages at 0x1000 are all the flash there is; the log erases the second and programs two words.
 */
static const char prelude[] =
	"conf = { base = 0x1000, page = 4096, regions = { one = { 0x1000, 4096 }, two = { 0x2000, 4096 } },\n"
	"  may_write = { { 0x2000, 4096 } } }\n"
	"log = '1 erase 0x2000 4096 0\\n2 program 0x2000 0xffff0000 0\\n3 program 0x2004 0x0 1\\n'\n"
	"function file(name, text)\n"
	"  local path = dir .. '/' .. name\n"
	"  local f = assert(io.open(path, 'wb')) f:write(text) f:close()\n"
	"  return path\n"
	"end\n"
	"function slurp(path)\n"
	"  local f = assert(io.open(path, 'rb')) local text = f:read('a') f:close() return text\n"
	"end\n"
	"before = file('before', ('\\xff'):rep(4096) .. ('\\0'):rep(4096))\n"
	"function open(text, flash)\n"
	"  return tool.open_trace(file('trace', text), flash or before, conf)\n"
	"end\n"
	"function is(seen, expected)\n"
	"  if seen ~= expected then\n"
	"    error(('expected %s, got %s'):format(tostring(expected), tostring(seen)), 2)\n"
	"  end\n"
	"end\n"
	"-- what was returned is nil, this code, and a message with this text in it\n"
	"function refused(code, text, ...)\n"
	"  local result, c, message = ...\n"
	"  is(result, nil) is(c, code)\n"
	"  if not message:find(text, 1, true) then error('got ' .. message, 2) end\n"
	"end\n"
	"function raises(text, f, ...)\n"
	"  local ok, message = pcall(f, ...)\n"
	"  is(ok, false)\n"
	"  if not tostring(message):find(text, 1, true) then error('got ' .. tostring(message), 2) end\n"
	"end\n";

static void run(lua_State *L, const char *text)
{
	if (luaL_dostring(L, text) != LUA_OK)
		fail_msg("%s", lua_tostring(L, -1));
}

/* Runs a piece of Lua that raises when something is not as it says. */
static void holds(void **state, const char *text)
{
	struct scratch *s = *state;
	lua_State *L = luaL_newstate();

	assert_non_null(L);
	luaL_openlibs(L);
	lua_newtable(L);
	lua_trace_register(L);
	lua_setglobal(L, "tool");
	lua_pushstring(L, s->dir);
	lua_setglobal(L, "dir");
	run(L, prelude);
	run(L, text);
	lua_close(L);
}

static void a_trace_says_what_it_is(void **state)
{
	holds(state,
		"local d = assert(open(log)):describe()\n"
		"is(d.operations, 3) is(d.source, 'operations')\n"
		"local names = {}\n"
		"for i, class in ipairs(d.classes) do names[i] = class.name end\n"
		"is(table.concat(names, ', '), 'boot 0 erase two metadata, boot 0 program two metadata,'\n"
		"  .. ' boot 1 program two metadata')\n"
		"local r = open(log):ranges()\n"
		"is(#r, 1) is(r[1][1], 0x2000) is(r[1][2], 4096)\n");
}

static void a_trace_that_stops_short_is_refused(void **state)
{
	holds(state,
		"refused('protocol', 'trace:3: the line is not ended', open(log:sub(1, -2)))\n"
		"refused('protocol', 'trace:2: before column', open(log:gsub('program 0x2000', 'program')))\n"
		"refused('protocol', 'trace:2: before column', open('1 edge\\n2 erase 0x2000 4096\\n'))\n"
		"refused('io', '/none', tool.open_trace(dir .. '/none', before, conf))\n"
		"refused('io', '/none', open(log, dir .. '/none'))\n"
		"collectgarbage()\n");
}

static void a_page_without_bytes_is_refused(void **state)
{
	holds(state, "conf.page = 0\n"
		     "raises('a page has no bytes', open, log)\n"
		     "conf.page = nil\n"
		     "raises('a page has no bytes', open, log)\n"
		     "conf.page = print\n"
		     "refused('script', 'page', open(log))\n"
		     "collectgarbage()\n");
}

static void an_update_without_operations_has_only_an_end(void **state)
{
	holds(state,
		"local t = assert(open(''))\n"
		"is(t:describe().operations, 0)\n"
		"is(#t:ranges(), 0)\n"
		"is(t:landing({}, 'end').cut, 'end')\n"
		"local c = assert(t:campaign { seed = 1, tears = true, second = true })\n"
		"is(c:next(), 'end')\n"
		"assert(c:outcome('end', { verdict = 'pass', fired = 1, landed = 'end', recovery = 0 }))\n"
		"local coverage = assert(tool.coverage(t:describe()))\n"
		"assert(coverage:trial { verdict = 'pass', cuts = { { requested = 'end', landed_as = 'end' } } })\n"
		"is(coverage:result()['end'], true)\n"
		"is(coverage:result().cuts, 1)\n");
}

static void ranges_end_where_addresses_do(void **state)
{
	holds(state,
		"local r = open('1 program 0x2000 0x0\\n2 program 0xfffffffc 0x0\\n'):ranges()\n"
		"is(#r, 2) is(r[2][1], 0xfffff000) is(r[2][2], 4096)\n"
		"-- a small gap is read over, a large one is not\n"
		"r = open('1 program 0x0 0x0\\n2 program 0x3000 0x0\\n3 program 0x9000 0x0\\n'):ranges()\n"
		"is(#r, 2) is(r[1][2], 0x4000) is(r[2][1], 0x9000)\n");
}

static void parts_of_flash_are_laid_over_what_was_before(void **state)
{
	holds(state,
		"local t = open(log)\n"
		"local part = file('part', 'abcd')\n"
		"is(tool.save_flash(t, { { 0x2000, part }, { 0x2ffc, part } }, dir .. '/after'), true)\n"
		"local seen, was = slurp(dir .. '/after'), slurp(before)\n"
		"is(seen, was:sub(1, 4096) .. 'abcd' .. ('\\0'):rep(4088) .. 'abcd')\n"
		"is(tool.save_flash(t, {}, dir .. '/after'), true)\n"
		"is(slurp(dir .. '/after'), was)\n"
		"refused('io', '/no/after', tool.save_flash(t, {}, dir .. '/no/after'))\n");
}

static void parts_outside_of_flash_are_refused(void **state)
{
	holds(state,
		"local t = open(log)\n"
		"local part, out = file('part', 'abcd'), dir .. '/after'\n"
		"for _, at in ipairs { 0x2ffd, 0x3000, 0x3001, 0xffc, 0, -4, 0xfffffffe, 0x7fffffffffffffff,\n"
		"    math.mininteger } do\n"
		"  refused('io', 'is not within the flash', tool.save_flash(t, { { at, part } }, out))\n"
		"  refused('io', 'is not within the flash', t:landing({ { at, part } }, '1'))\n"
		"  refused('io', 'is not within the flash', t:writes({ { at, part } }, file('r', ''), 2))\n"
		"end\n"
		"refused('usage', 'is [address, file]', tool.save_flash(t, { { 0x2000 } }, out))\n"
		"refused('usage', 'is [address, file]', tool.save_flash(t, { 7 }, out))\n"
		"refused('io', '/none', tool.save_flash(t, { { 0x2000, dir .. '/none' } }, out))\n"
		"refused('script', '', tool.save_flash(t, { print }, out))\n"
		"is(io.open(out), nil)\n");
}

static void what_needs_the_flash_before_says_so(void **state)
{
	holds(state,
		"local t = assert(tool.open_trace(file('trace', log), nil, conf))\n"
		"is(t:describe().operations, 3)\n"
		"refused('usage', 'the flash from before', t:landing({}, '1'))\n"
		"raises('the flash from before', t.writes, t)\n"
		"refused('usage', 'the flash from before', tool.save_flash(t, {}, dir .. '/after'))\n");
}

static void a_landing_is_where_flash_shows_it(void **state)
{
	holds(state,
		"local t = open(log)\n"
		"local erased = file('erased', ('\\xff'):rep(4096))\n"
		"local l = t:landing({ { 0x2000, erased } }, '2', { op = 2, tear = 'clean' })\n"
		"is(l.agreement, 'agrees') is(l.cut, '2') is(l.done, 1)\n"
		"l = t:landing({ { 0x2000, erased } }, '3', { op = 3, tear = 'clean' })\n"
		"is(l.agreement, 'skewed')\n"
		"l = t:landing({ { 0x1000, file('part', 'abcd') } }, '3', { op = 3, tear = 'clean' })\n"
		"is(l.agreement, 'unknown')\n"
		"refused('usage', '', t:landing({}, 'nonsense'))\n"
		"refused('usage', '', t:landing({}, '0'))\n");
}

/* Three breakpoints, each with the address it is about to write; flash at rest has all of it. */
static const char touches[] =
	"local t = assert(open('1 breakpoint 0x2000\\n2 breakpoint 0x2010\\n3 breakpoint 0x2020\\n'))\n"
	"local function flash(done)\n"
	"  local page = ''\n"
	"  for i = 1, 3 do\n"
	"    page = page .. (i <= done and 'word' or '\\0\\0\\0\\0') .. ('\\0'):rep(12)\n"
	"  end\n"
	"  return file('page' .. done, page .. ('\\0'):rep(4096 - #page))\n"
	"end\n";

static void what_flash_shows_of_touched_addresses(void **state)
{
	char text[4096];

	snprintf(text, sizeof(text), "%s%s", touches,
		"refused('usage', 'at rest', t:progress({}, '1'))\n"
		"is(#t:ranges(), 0)\n"
		"refused('io', '4096 bytes', t:rest(flash(3)))\n"
		"assert(t:rest(file('rest', ('\\xff'):rep(4096) .. slurp(flash(3)))))\n"
		"local r = t:ranges()\n"
		"is(#r, 1) is(r[1][1], 0x2000) is(r[1][2], 4096)\n"
		"for done = 0, 3 do\n"
		"  local parts = { { 0x2000, flash(done) } }\n"
		"  local c = assert(t:progress(parts, done < 3 and tostring(done + 1) or 'end'))\n"
		"  is(c.words, 3) is(c.new, done) is(c.old, 3 - done) is(c.progress, done / 3)\n"
		"  is(c.range[1], done) is(c.range[2], done)\n"
		"  is(c.agreement, 'agrees') is(c.cut, done < 3 and tostring(done + 1) or 'end')\n"
		"end\n"
		"local c = assert(t:progress({ { 0x2000, flash(1) } }, '1', { op = 1, tear = 'clean' }))\n"
		"is(c.agreement, 'skewed') is(c.skew, 1)\n"
		"c = assert(t:progress({ { 0x2000, flash(1) } }, '1', { op = 2, tear = 'clean' }))\n"
		"is(c.agreement, 'agrees') is(c.cut, '2') is(c.as_requested, false)\n"
		"c = assert(t:progress({ { 0x2000, file('odd', ('\\0'):rep(32) .. 'word') } }, '1'))\n"
		"is(c.agreement, 'unknown') is(c.range, nil) is(c.new, 1)\n"
		"refused('usage', '', t:progress({}, 'nonsense'))\n"
		"refused('script', '', t:progress({ print }, '1'))\n"
		"refused('io', 'none', t:rest(dir .. '/none'))\n");
	holds(state, text);
}

static void of_lines_flash_shows_progress_alone(void **state)
{
	holds(state,
		"local t = assert(open('1 line a\\n2 line b\\n'))\n"
		"assert(t:rest(file('rest', ('\\xff'):rep(4096) .. 'word' .. ('\\0'):rep(4092))))\n"
		"local c = assert(t:progress({}, '1', { op = 1, tear = 'clean' }))\n"
		"is(c.agreement, 'unknown') is(c.progress, 0) is(c.words, 1) is(c.range, nil) is(c.cut, nil)\n"
		"c = assert(t:progress({ { 0x2000, file('part', 'word') } }, '1'))\n"
		"is(c.progress, 1)\n"
		"refused('usage', 'before the update', tool.open_trace(file('trace', '1 line a\\n'), nil, conf):rest(before))\n");
}

static void operations_outside_of_flash_do_no_harm(void **state)
{
	holds(state,
		"for _, wild in ipairs { '0x0 ', '0x3000 ', '0x2ffe ', '0xfffff000 ' } do\n"
		"  local t = assert(open('1 erase ' .. wild .. '4096\\n2 program ' .. wild .. '0x0\\n'))\n"
		"  local w = assert(t:writes())\n"
		"  is(w.checked, 2) is(w.outside[1].op, 1) is(w.outside[2].op, 2)\n"
		"  t:landing({}, '2') t:ranges() t:describe() t:around('2')\n"
		"end\n");
}

static void what_was_written_is_held_against_what_may_be(void **state)
{
	holds(state,
		"local w = open(log):writes()\n"
		"is(w.checked, 3) is(#w.outside, 0) is(#w.unerased, 0)\n"
		"local more = file('more', '2 program 0x1000 0x0 1\\n3 program 0x2000 0x1 1\\n')\n"
		"w = open(log):writes({}, more, 2)\n"
		"is(w.checked, 2) is(#w.outside, 1) is(w.outside[1].op, 2) is(w.outside[1].address, 0x1000)\n"
		"is(#w.unerased, 1) is(w.unerased[1].op, 3)\n"
		"refused('protocol', 'more:1', open(log):writes({}, more, 3))\n");
}

static void the_operations_around_a_cut_point_at_it(void **state)
{
	holds(state,
		"local t = open(log)\n"
		"local text = t:around('2:torn:7')\n"
		"local at = text:match('\\n%->([^\\n]*)\\n')\n"
		"assert(at:find('^ +2  program +0x00002000  0xffff0000  boot 0 program two metadata$'), text)\n"
		"is(select(2, text:gsub('\\n%->', '')), 1)\n"
		"for _, cut in ipairs { 'end', '4', '4294967' } do\n"
		"  assert(t:around(cut):find('\\n%-> the end\\n$'), cut)\n"
		"end\n"
		"refused('usage', '', t:around('x'))\n");
}

static void a_campaign_and_coverage_outlive_their_trace(void **state)
{
	holds(state,
		"local t = open(log)\n"
		"local c = assert(t:campaign { seed = 1, index = 0, limit = 4, tears = true, windows = true })\n"
		"local coverage = assert(tool.coverage(t:describe()))\n"
		"t = nil collectgarbage() collectgarbage()\n"
		"is(c:planned(), 4)\n"
		"local n = 0\n"
		"for text, why in c.next, c do\n"
		"  n = n + 1\n"
		"  assert(({ metadata = 1, edge = 1, bulk = 1 })[why], why)\n"
		"  assert(c:outcome(text, { verdict = 'pass', fired = 1, landed = text, recovery = 3 }))\n"
		"  assert(coverage:trial { verdict = 'pass', cuts = { { requested = text, landed_as = text } } })\n"
		"end\n"
		"is(n, 4) is(coverage:result().cuts, 4)\n"
		"is(c:window(1), nil) is(c:window(0), nil) is(c:window(-1), nil)\n");
}

static void nonsense_from_a_trial_is_refused(void **state)
{
	holds(state,
		"local t = open(log)\n"
		"local c = assert(t:campaign { seed = 1, limit = 4 })\n"
		"refused('usage', '', c:outcome('x', {}))\n"
		"refused('usage', '', c:outcome('9', { verdict = 'pass', fired = 1 }))\n"
		"refused('script', '', c:outcome('1', { verdict = print }))\n"
		"refused('script', '', t:campaign { seed = print })\n"
		"local coverage = assert(tool.coverage(t:describe()))\n"
		"refused('protocol', 'verdict', coverage:trial { verdict = 'fine' })\n"
		"refused('protocol', '', coverage:trial { verdict = 'pass', cuts = { { requested = '9', landed_as = '9' } } })\n"
		"refused('script', '', coverage:trial(print))\n"
		"is(coverage:result().cuts, 0) is(coverage:result().trials, 0)\n"
		"refused('protocol', '', tool.coverage { operations = 'many' })\n"
		"raises('rig.trace', t.describe, c)\n"
		"raises('rig.campaign', c.next, t)\n"
		"is(getmetatable(t), 'protected')\n"
		"collectgarbage()\n");
}

static void a_trace_is_remembered_or_it_is_said_why_not(void **state)
{
	holds(state,
		"local board = { state_dir = dir, type = 'kit', devices = { trigger = { driver = 'virtual' } } }\n"
		"local image = file('image', 'image')\n"
		"local release = { images = { application = image } }\n"
		"local item = { key = '1:2', from = release, to = release }\n"
		"local path = file('trace', log)\n"
		"is(tool.remember_trace(board, item, path, 12.5), true)\n"
		"is(slurp(dir .. '/.traces/kit/1--2.trace'), log)\n"
		"refused('io', '/none', tool.remember_trace(board, item, dir .. '/none', 0))\n"
		"os.remove(image)\n"
		"refused('io', 'image', tool.remember_trace(board, item, path, 0))\n"
		"refused('script', '', tool.remember_trace(board, { print }, path, 0))\n");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_trace_says_what_it_is),
		TEST(a_trace_that_stops_short_is_refused),
		TEST(a_page_without_bytes_is_refused),
		TEST(an_update_without_operations_has_only_an_end),
		TEST(ranges_end_where_addresses_do),
		TEST(parts_of_flash_are_laid_over_what_was_before),
		TEST(parts_outside_of_flash_are_refused),
		TEST(what_needs_the_flash_before_says_so),
		TEST(a_landing_is_where_flash_shows_it),
		TEST(what_flash_shows_of_touched_addresses),
		TEST(of_lines_flash_shows_progress_alone),
		TEST(operations_outside_of_flash_do_no_harm),
		TEST(what_was_written_is_held_against_what_may_be),
		TEST(the_operations_around_a_cut_point_at_it),
		TEST(a_campaign_and_coverage_outlive_their_trace),
		TEST(nonsense_from_a_trial_is_refused),
		TEST(a_trace_is_remembered_or_it_is_said_why_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
