#include "rig/lua_json.h"

#include "rig/err.h"

#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

/* What a table of this source is as JSON text; the caller frees it. */
static char *text_of(const char *source)
{
	lua_State *L = luaL_newstate();
	struct err e;
	json_t *value;
	char *text;

	assert_non_null(L);
	assert_int_equal(luaL_dostring(L, source), LUA_OK);
	value = lua_json_get(L, -1, &e);
	assert_non_null(value);
	text = json_dumps(value, JSON_COMPACT);
	json_decref(value);
	lua_close(L);
	return text;
}

static void names_are_in_order_whatever_order_lua_has_them_in(void **state)
{
	(void)state;
	/* a state's hash seed depends on its address and the time: some of these would differ */
	for (int i = 0; i < 50; i++) {
		char *text = text_of("return { text = 1, seen = { b = 1, a = 2 }, name = 3 }");

		assert_string_equal(text, "{\"name\":3,\"seen\":{\"a\":2,\"b\":1},\"text\":1}");
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_in_order_whatever_order_lua_has_them_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
