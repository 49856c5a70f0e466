#include "drivers/driver.h"
#include "rig/config.h"
#include "rig/err.h"

#include "scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

/* Drivers as the catalogue tells of them: the shape is drivers/driver.h's. */
#define CATALOGUE                                                                                  \
	"{\"virtual\":{\"help\":\"h\",\"caps\":[\"power\",\"console\",\"trigger\"],\"options\":{"  \
	"\"soc\":{\"type\":\"string\",\"required\":false,\"default\":\"nrf52840\",\"help\":\"\"}," \
	"\"dir\":{\"type\":\"string\",\"required\":false,\"default\":null,\"help\":\"\"}}},"       \
	"\"relay\":{\"help\":\"h\",\"caps\":[\"power\"],\"options\":{"                             \
	"\"chip\":{\"type\":\"string\",\"required\":true,\"default\":null,\"help\":\"\"},"         \
	"\"line\":{\"type\":\"integer\",\"required\":true,\"default\":null,\"help\":\"\"},"        \
	"\"active_low\":{\"type\":\"boolean\",\"required\":false,\"default\":false,\"help\":\"\"}" \
	"}},"                                                                                      \
	"\"openocd\":{\"help\":\"h\",\"caps\":[\"probe\"],\"options\":{"                           \
	"\"adapter\":{\"type\":\"string\",\"required\":true,\"default\":null,\"help\":\"\"},"      \
	"\"serial\":{\"type\":\"string\",\"required\":false,\"default\":null,\"help\":\"\"}}},"    \
	"\"smp\":{\"help\":\"h\",\"caps\":[\"transport\"],\"options\":{"                           \
	"\"tries\":{\"type\":\"integer\",\"required\":false,\"default\":3,\"help\":\"\"}}}}"

#define TYPE                                                                                       \
	"return {\n"                                                                               \
	"  soc = 'nrf52840', openocd = { target = 'target/nrf52.cfg' },\n"                         \
	"  flash = { base = 0x0, size = 0x100000, page = 4096, write = 4 },\n"                     \
	"  regions = { bootloader = { 0x0, 0xc000 }, primary = { 0xc000, 0x74000 } },\n"           \
	"  boot = { ready_within = 8, ready = [[app (\\S+) ready]] }, can = { 'revert' },\n"       \
	"  transport = { driver = 'smp' }, wear = { erases = 1000, relay_cycles = 50 },\n"         \
	"  dut = { version = function() end, confirm = function() end },\n"                        \
	"}\n"

#define BENCH "bench { name = 'demo' }\n"
#define BOARD "board 'a' { type = 'kit', "

static json_t *load_at(struct scratch *s, const char *name, struct err *e)
{
	json_t *catalogue = json_loads(CATALOGUE, 0, NULL), *config = NULL;
	int rc;

	assert_non_null(catalogue);
	e->code = ERR_NONE;
	rc = config_load(scratch_path(s, name), catalogue, &config, e);
	assert_true(rc == 0 ? config != NULL : config == NULL && rc == -(int)e->code);
	json_decref(catalogue);
	return config;
}

static json_t *load(struct scratch *s, const char *conf, struct err *e)
{
	scratch_write(s, "rig.conf", conf);
	return load_at(s, "rig.conf", e);
}

static json_t *must_load(void **state, const char *conf)
{
	struct err e;
	json_t *config = load(*state, conf, &e);

	if (!config)
		fail_msg("%s", e.msg);
	return config;
}

static void refuses(void **state, const char *conf, int line, const char *text)
{
	struct scratch *s = *state;
	struct err e;
	char head[600];

	assert_null(load(s, conf, &e));
	assert_int_equal(e.code, ERR_CONFIG);
	snprintf(head, sizeof(head), line ? "%s/rig.conf:%d: " : "%s/rig.conf: ", s->dir, line);
	if (strncmp(e.msg, head, strlen(head)) != 0 || !strstr(e.msg, text))
		fail_msg("%s\nexpected \"%s...%s\"\ngot      \"%s\"", conf, head, text, e.msg);
}

/* The board type "kit" with one text replaced. */
static void refuses_type(void **state, const char *from, const char *to, int line, const char *text)
{
	struct scratch *s = *state;
	const char *at = strstr(TYPE, from);
	char type[2048], head[600];
	struct err e;

	assert_non_null(at);
	snprintf(type, sizeof(type), "%.*s%s%s", (int)(at - TYPE), TYPE, to, at + strlen(from));
	scratch_write(s, "boards/kit.lua", type);
	assert_null(load(s, BENCH "board 'a' { type = 'kit' }", &e));
	assert_int_equal(e.code, ERR_CONFIG);
	snprintf(head, sizeof(head), "%s/boards/kit.lua:%d: ", s->dir, line);
	if (strncmp(e.msg, head, strlen(head)) != 0 || !strstr(e.msg, text))
		fail_msg("expected \"%s...%s\", got \"%s\"", head, text, e.msg);
}

static int setup(void **state)
{
	if (scratch_setup(state) != 0)
		return -1;
	unsetenv("RIG_CONFIG");
	setenv("RIG_DATADIR", "/nonexistent", 1);
	scratch_write(*state, "boards/kit.lua", TYPE);
	return 0;
}

static void a_board_is_the_object_of_the_protocol(void **state)
{
	struct scratch *s = *state;
	json_t *config, *board, *want;
	char *seen, *text;

	scratch_write(s, "broken/bootloader.hex", ":00000001FF\n");
	config = must_load(state,
		"bench { name = 'demo', state_dir = 'runs', releases = 'fw/releases.lua' }\n"
		"board 'demo-1' { type = 'kit', power = { driver = 'virtual' },\n"
		"  probe = { driver = 'openocd', adapter = 'virtual' },\n"
		"  images = { bootloader = 'broken/bootloader.hex' } }\n");
	want = json_pack("{ss ss so so s{s{ss ss} s{ss ss} s{ss si}} s{so} ss s{ss} s{si si si si} "
			 "s{s[ii] s[ii]} s[[ii]] s{si si ss} s[s] s[ss]}",
		"name", "demo-1", "type", "kit", "type_file",
		json_sprintf("%s/boards/kit.lua", s->dir), "state_dir",
		json_sprintf("%s/runs", s->dir), "devices", "power", "driver", "virtual", "soc",
		"nrf52840", "probe", "driver", "openocd", "adapter", "virtual", "transport",
		"driver", "smp", "tries", 3, "images", "bootloader",
		json_sprintf("%s/broken/bootloader.hex", s->dir), "soc", "nrf52840", "openocd",
		"target", "target/nrf52.cfg", "flash", "base", 0, "size", 0x100000, "page", 4096,
		"write", 4, "regions", "bootloader", 0, 0xc000, "primary", 0xc000, 0x74000,
		"may_write", 0xc000, 0x74000, "boot", "ready_within", 8, "max_resets", 3, "ready",
		"app (\\S+) ready", "can", "revert", "dut", "confirm", "version");
	assert_non_null(want);
	board = json_object_get(json_object_get(config, "boards"), "demo-1");
	seen = json_dumps(board, JSON_SORT_KEYS | JSON_INDENT(1));
	text = json_dumps(want, JSON_SORT_KEYS | JSON_INDENT(1));
	assert_string_equal(seen, text);
	free(seen);
	free(text);
	json_decref(want);
	json_decref(config);
}

static void paths_are_relative_to_rig_conf(void **state)
{
	struct scratch *s = *state;
	json_t *config = must_load(state,
		"bench { name = 'demo', state_dir = 'x/runs', releases = '/abs/releases.lua' }");

	assert_string_equal(
		json_string_value(json_object_get(config, "file")), scratch_path(s, "rig.conf"));
	assert_string_equal(
		json_string_value(json_object_get(config, "state_dir")), scratch_path(s, "x/runs"));
	assert_string_equal(
		json_string_value(json_object_get(config, "releases")), "/abs/releases.lua");
	json_decref(config);
}

static void state_dir_and_releases_have_defaults(void **state)
{
	struct scratch *s = *state;
	json_t *config = must_load(state, BENCH);

	assert_string_equal(json_string_value(json_object_get(config, "state_dir")),
		scratch_path(s, "reports/runs"));
	assert_true(json_is_null(json_object_get(config, "releases")));
	assert_int_equal(json_object_size(json_object_get(config, "boards")), 0);
	json_decref(config);
}

static void boards_are_in_the_order_of_the_file(void **state)
{
	static const char *const want[] = {"z", "a", "shelf-1", "shelf-2"};
	json_t *board,
		*config = must_load(state, BENCH
			"board 'z' { type = 'kit' }\nboard 'a' { type = 'kit' }\n"
			"for i = 1, 2 do board('shelf-' .. i) { type = 'kit', power = { driver = "
			"'relay', chip = 'gpiochip0', line = i } } end");
	const char *name;
	size_t i = 0;

	json_object_foreach (json_object_get(config, "boards"), name, board)
		assert_string_equal(name, want[i++]);
	assert_int_equal(i, 4);
	json_decref(config);
}

static void a_board_says_otherwise_than_its_type(void **state)
{
	json_t *board,
		*config = must_load(state, BENCH BOARD
			"boot = { max_resets = 1, trial_boots = 1 }, can = {}, transport = { driver = 'smp', "
			"tries = 9 }, hw = 'b' }");

	board = json_object_get(json_object_get(config, "boards"), "a");
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(board, "boot"), "ready_within")),
		8);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(board, "boot"), "max_resets")),
		1);
	assert_int_equal(
		json_integer_value(json_object_get(json_object_get(board, "boot"), "trial_boots")),
		1);
	assert_true(json_is_array(json_object_get(board, "can")));
	assert_int_equal(json_array_size(json_object_get(board, "can")), 0);
	assert_string_equal(json_string_value(json_object_get(board, "hw")), "b");
	assert_int_equal(
		json_integer_value(json_object_get(
			json_object_get(json_object_get(board, "devices"), "transport"), "tries")),
		9);
	json_decref(config);
}

static void a_virtual_board_wears_out_only_where_rig_conf_says_so(void **state)
{
	static const struct {
		const char *more;
		json_int_t erases, relay_cycles;
	} cases[] = {
		{"}", 1000, 50},
		{"wear = { erases = 7 } }", 7, 50},
		{"power = { driver = 'virtual' } }", 0, 0},
		{"power = { driver = 'virtual' }, wear = { erases = 7 } }", 7, 0},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char conf[256];
		json_t *config, *board, *wear;

		snprintf(conf, sizeof(conf), "%s%s%s", BENCH, BOARD, cases[i].more);
		config = must_load(state, conf);
		board = json_object_get(json_object_get(config, "boards"), "a");
		wear = json_object_get(board, "wear");
		assert_int_equal(
			json_integer_value(json_object_get(wear, "erases")), cases[i].erases);
		assert_int_equal(json_integer_value(json_object_get(wear, "relay_cycles")),
			cases[i].relay_cycles);
		json_decref(config);
	}
}

static void two_boards_of_a_type_do_not_share_what_one_of_them_changes(void **state)
{
	json_t *boards, *config = must_load(state, BENCH BOARD
				"boot = { max_resets = 1 }, power = { driver = 'virtual' } }\n"
				"board 'b' { type = 'kit' }");

	boards = json_object_get(config, "boards");
	assert_int_equal(
		json_integer_value(json_object_get(
			json_object_get(json_object_get(boards, "b"), "boot"), "max_resets")),
		3);
	assert_null(
		json_object_get(json_object_get(json_object_get(boards, "b"), "devices"), "power"));
	json_decref(config);
}

static void what_is_wrong_in_rig_conf_is_said_with_its_line(void **state)
{
	static const struct {
		const char *conf;
		int line;
		const char *text;
	} cases[] = {
		{"", 0, "bench { name = ... } is missing"},
		{"bench {}", 1, "name is missing; expected a string"},
		{BENCH BENCH, 2, "a second bench"},
		{"bench { name = 'x',\n nmae = 1 }", 2,
			"nmae: unknown key; did you mean \"name\"?"},
		{"bench { name = 'x', colour = 1 }", 1,
			"colour: unknown key; known are name state_dir releases"},
		{"bench { name = 5 }", 1, "name: expected a string that is not empty, not 5"},
		{"bench { name = '' }", 1, "name: expected a string that is not empty, not \"\""},
		{BENCH "board 'a' { }", 2, "board \"a\": type is missing"},
		{BENCH "board 'a b' { type = 'kit' }", 2, "a board's name is made of"},
		{BENCH "board '../x' { type = 'kit' }", 2, "a board's name is made of"},
		{BENCH "board 'a' { type = 'kit' }\nboard 'a' { type = 'kit' }", 3,
			"there is a board of that name already"},
		{BENCH "board 'a' {\n type = 'none' }", 3, "there is no board type \"none\""},
		{BENCH "board 'a' { type = '../x' }", 2, "is no name of a board type"},
		{BENCH BOARD "\n powr = {} }", 3,
			"board \"a\": powr: unknown key; did you mean \"power\"?"},
		{BENCH BOARD "\n wear = { erases = 0 } }", 3, "wear.erases: expected 1 to"},
		{BENCH BOARD "\n power_off = { verify = 'consol' } }", 3,
			"power_off.verify: \"consol\" is unknown; did you mean \"console\"?"},
		{BENCH BOARD "\n power_off = { verify = 'console' } }", 3,
			"power_off.verify: the board has no console"},
		{BENCH BOARD "\n power_off = { discharge_ms = 0 } }", 3,
			"power_off.discharge_ms: expected 1 to 4000"},
		{BENCH BOARD "\n power = 'virtual' }", 3,
			"power: expected a table with names, not \"virtual\""},
		{BENCH BOARD "\n power = { } }", 3,
			"power: driver is missing; drivers that offer power: virtual relay"},
		{BENCH BOARD "\n power = {\n driver = 'virtul' } }", 4,
			"power.driver: there is no driver \"virtul\"; did you mean \"virtual\"?"},
		{BENCH BOARD "\n power = { driver = 'zigzag-9000' } }", 3,
			"drivers that offer power: virtual relay"},
		{BENCH BOARD "\n power = { driver = 'openocd' } }", 3,
			"the driver \"openocd\" offers no power; drivers that do: virtual relay"},
		{BENCH BOARD "\n power = { driver = 'relay', chip = 'x' } }", 3,
			"power: line is missing; expected an integer"},
		{BENCH BOARD "\n power = { driver = 'relay', chip = 'x',\n line = 'two' } }", 4,
			"power.line: expected an integer, not \"two\""},
		{BENCH BOARD "\n power = { driver = 'relay', chip = 'x', line = 1,\n"
			     " activ_low = true } }",
			4, "power.activ_low: unknown key; did you mean \"active_low\"?"},
		{BENCH BOARD "\n power = { driver = 'relay', chip = 'x', line = 1,\n"
			     " active_low = 1 } }",
			4, "power.active_low: expected true or false, not 1"},
		{BENCH BOARD "images = {\n bootloader = 'no/such.hex' } }", 3,
			"images.bootloader: image "},
		{BENCH BOARD "images = { boot = 'x' } }", 2, "images.boot: unknown key"},
		{BENCH BOARD "can = {\n 'fly' } }", 3,
			"can[1]: \"fly\" is unknown; known are revert"},
		{BENCH BOARD "can = { 'rever' } }", 2, "did you mean \"revert\"?"},
		{BENCH BOARD "boot = { max_resets = 0 } }", 2,
			"boot.max_resets: expected 1 to 1000, not 0"},
		{BENCH BOARD "boot = { max_resets = 1.5 } }", 2, "expected an integer, not 1.5"},
		{BENCH BOARD "boot = { trial_boots = 0 } }", 2,
			"boot.trial_boots: expected 1 to 1000, not 0"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		refuses(state, cases[i].conf, cases[i].line, cases[i].text);
}

/* Drivers with the options of real ones. */
#define STRING "{\"type\":\"string\",\"required\":false,\"default\":null,\"help\":\"\"}"
#define INTEGER "{\"type\":\"integer\",\"required\":false,\"default\":null,\"help\":\"\"}"
#define LIST "{\"type\":\"list\",\"required\":false,\"default\":null,\"help\":\"\"}"
#define LINES                                                                                      \
	"\"chip\":" STRING ",\"line\":" INTEGER ",\"line_name\":" STRING ",\"lines\":" LIST        \
	",\"sense_chip\":" STRING ",\"sense_line\":" INTEGER
#define PORT                                                                                       \
	"\"path\":" STRING ",\"usb_serial\":" STRING ",\"usb_path\":" STRING                       \
	",\"interface\":" INTEGER
#define REAL(name, caps, options)                                                                  \
	"\"" name "\":{\"help\":\"h\",\"caps\":[" caps "],\"options\":{" options "}}"
#define REAL_CATALOGUE                                                                             \
	"{" REAL("gpio-relay", "\"power\"", LINES) "," REAL(                                       \
		"gpio-line", "\"reset\",\"strap\"", LINES) "," REAL("usb-hid-relay", "\"power\"",  \
		"\"serial\":" STRING ",\"usb_path\":" STRING                                       \
		",\"channel\":" INTEGER) "," REAL("usb-hub-port", "\"power\"",                     \
		"\"hub\":" STRING ",\"port\":" INTEGER) "," REAL("serial-relay", "\"power\"",      \
		PORT ",\"channel\":" INTEGER) "," REAL("scpi-psu", "\"power\",\"meter\"",          \
		PORT ",\"host\":" STRING ",\"port\":" INTEGER                                      \
		     ",\"channel\":" INTEGER) "," REAL("serial", "\"console\"",                    \
		PORT) "," REAL("tcp", "\"console\"",                                               \
		"\"host\":" STRING ",\"port\":" INTEGER) "," REAL("openocd", "\"probe\"",          \
		"\"adapter\":" STRING ",\"serial\":" STRING ",\"config\":" STRING                  \
		",\"speed_khz\":" INTEGER) "," REAL("smp", "\"transport\"",                        \
		"\"tries\":" INTEGER) "}"

/* Boards "a" in line 2 and "b" in line 3; b NULL: a alone. */
static void load_pair(
	struct scratch *s, const char *a, const char *b, json_t **config, struct err *e)
{
	json_t *real = json_loads(REAL_CATALOGUE, 0, NULL);
	char conf[2048];

	assert_non_null(real);
	snprintf(conf, sizeof(conf), BENCH "board 'a' { type = 'kit', %s }\n%s%s%s", a,
		b ? "board 'b' { type = 'kit', " : "", b ? b : "", b ? " }\n" : "");
	scratch_write(s, "rig.conf", conf);
	*config = NULL;
	config_load(scratch_path(s, "rig.conf"), real, config, e);
	json_decref(real);
}

static void two_devices_that_are_one_are_refused(void **state)
{
	static const struct {
		const char *a, *b, *text;
	} cases[] = {
		{"power = { driver = 'gpio-relay', chip = 'gpiochip0', line = 4 }",
			"power = { driver = 'gpio-relay', chip = '/dev/gpiochip0', line = 4 }",
			":3: board \"b\": power.line: line 4 of gpiochip0: board \"a\" has that as "
			"power already (line 2)"},
		{"power = { driver = 'gpio-relay', chip = 'c', lines = { 3, 'RELAY', 5 } }",
			"reset = { driver = 'gpio-line', chip = 'c', line = 5 }",
			":3: board \"b\": reset.line: line 5 of c: board \"a\" has that as power"},
		{"reset = { driver = 'gpio-line', chip = 'c', line = 5 }",
			"power = { driver = 'gpio-relay', chip = 'c', lines = { 3, 5 } }",
			":3: board \"b\": power.lines[2]: line 5 of c: board \"a\" has that as reset"},
		{"power = { driver = 'gpio-relay', line_name = 'RELAY' }",
			"strap = { driver = 'gpio-line', line_name = 'RELAY' }",
			"strap.line_name: line RELAY: board \"a\" has that as power"},
		{"power = { driver = 'gpio-relay', chip = 'c', line = 1, sense_chip = 'c', "
		 "sense_line = 2 }",
			"power = { driver = 'gpio-relay', chip = 'c', line = 2 }",
			"power.line: line 2 of c: board \"a\" has that"},
		{"reset = { driver = 'gpio-line', chip = 'c', line = 5 },\n"
		 "strap = { driver = 'gpio-line', chip = 'c', line = 5 }",
			NULL,
			":3: board \"a\": strap.line: line 5 of c: this board has that as reset "
			"already (line 2)"},
		{"power = { driver = 'gpio-relay', chip = 'c', lines = { 3, 4, 3 } }", NULL,
			"power.lines[3]: line 3 of c: this board has that as power"},
		{"power = { driver = 'usb-hid-relay', serial = 'X', channel = 1 }",
			"power = { driver = 'usb-hid-relay', serial = 'X', channel = 1 }",
			":3: board \"b\": power: serial X, channel 1: board \"a\" has that as power "
			"already (line 2)"},
		{"power = { driver = 'usb-hid-relay', channel = 1 }",
			"power = { driver = 'usb-hid-relay', channel = 1 }",
			"channel 1: board \"a\""},
		{"power = { driver = 'usb-hub-port', hub = '1-1', port = 2 }",
			"power = { driver = 'usb-hub-port', hub = '1-1', port = 2 }",
			"hub 1-1, port 2: board \"a\" has that as power"},
		{"console = { driver = 'serial', usb_serial = 'F', interface = 0 }",
			"console = { driver = 'serial', usb_serial = 'F', interface = 0 }",
			"usb_serial F, interface 0: board \"a\" has that as console"},
		{"console = { driver = 'serial', usb_path = '1-1.4', interface = 0 }",
			"console = { driver = 'serial', usb_path = '1-1.4:1.0' }",
			"usb_path 1-1.4, interface 0: board \"a\" has that as console"},
		{"console = { driver = 'serial', path = '/dev/ttyS1' }",
			"power = { driver = 'serial-relay', path = '/dev/ttyS1', channel = 1 }",
			"path /dev/ttyS1, channel 1: board \"a\" has that as console"},
		{"console = { driver = 'serial', usb_serial = 'F' },\n"
		 "power = { driver = 'serial-relay', usb_serial = 'F', channel = 1 }",
			NULL,
			"console: usb_serial F: this board has that as power already (line 3)"},
		{"console = { driver = 'tcp', host = 'h', port = 5 }",
			"power = { driver = 'scpi-psu', host = 'h', port = 5 }",
			"host h, port 5: board \"a\" has that as console"},
		{"probe = { driver = 'openocd', adapter = 'jlink', serial = '1' }",
			"probe = { driver = 'openocd', adapter = 'jlink', serial = '1' }",
			"serial 1: board \"a\" has that as probe"},
		{"probe = { driver = 'openocd', adapter = 'jlink' }",
			"probe = { driver = 'openocd', adapter = 'jlink' }",
			":3: board \"b\": probe: adapter jlink without serial: board \"a\" has such a probe "
			"without serial (line 2), and one without serial takes any: set serial for each"},
		{"probe = { driver = 'openocd', adapter = 'jlink' }",
			"probe = { driver = 'openocd', adapter = 'jlink', serial = '1' }",
			"probe: adapter jlink: board \"a\" has such a probe without serial (line 2)"},
		{"probe = { driver = 'openocd', adapter = 'jlink', serial = '1', config = 'a' }",
			"probe = { driver = 'openocd', adapter = 'jlink', config = 'a', speed_khz = 9 }",
			"adapter jlink without serial: board \"a\" has such a probe (line 2)"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		json_t *config;
		struct err e = {.code = ERR_NONE};

		load_pair(*state, cases[i].a, cases[i].b, &config, &e);
		assert_null(config);
		assert_int_equal(e.code, ERR_CONFIG);
		if (!strstr(e.msg, cases[i].text))
			fail_msg("expected \"%s\", got \"%s\"", cases[i].text, e.msg);
	}
}

static void what_only_looks_alike_is_accepted(void **state)
{
	static const char *const pairs[][2] = {
		{"power = { driver = 'gpio-relay', chip = 'c', line = 1 }",
			"power = { driver = 'gpio-relay', chip = 'd', line = 1 }"},
		{"power = { driver = 'gpio-relay', chip = 'c', lines = { 1, 2 } }",
			"power = { driver = 'gpio-relay', chip = 'c', lines = { 3, 4 } }"},
		{"power = { driver = 'usb-hid-relay', serial = 'X', channel = 1 }",
			"power = { driver = 'usb-hid-relay', serial = 'X', channel = 2 }"},
		{"power = { driver = 'usb-hub-port', hub = '1-1', port = 2 }",
			"power = { driver = 'usb-hub-port', hub = '1-1', port = 3 }"},
		{"power = { driver = 'serial-relay', path = '/dev/ttyS1', channel = 1 }",
			"power = { driver = 'serial-relay', path = '/dev/ttyS1', channel = 2 }"},
		{"console = { driver = 'serial', usb_serial = 'F', interface = 0 }",
			"console = { driver = 'serial', usb_serial = 'F', interface = 1 }"},
		{"power = { driver = 'scpi-psu', host = 'h', port = 5, channel = 1 },\n"
		 "meter = { driver = 'scpi-psu', host = 'h', port = 5, channel = 1 }",
			"power = { driver = 'scpi-psu', host = 'h', port = 5, channel = 2 }"},
		/* a probe and a relay card may have the same number */
		{"probe = { driver = 'openocd', adapter = 'jlink', serial = '1' }",
			"power = { driver = 'usb-hid-relay', serial = '1', channel = 1 }"},
		/* adapters that a number, a kind, or a file of their own tells apart */
		{"probe = { driver = 'openocd', adapter = 'jlink', serial = '1' }",
			"probe = { driver = 'openocd', adapter = 'jlink', serial = '2' }"},
		{"probe = { driver = 'openocd', adapter = 'jlink' }",
			"probe = { driver = 'openocd', adapter = 'stlink' }"},
		{"probe = { driver = 'openocd', adapter = 'ftdi/x', config = 'a' }",
			"probe = { driver = 'openocd', adapter = 'ftdi/x', config = 'b' }"},
		{"probe = { driver = 'openocd', adapter = 'ftdi/x', config = 'a' }",
			"probe = { driver = 'openocd', adapter = 'ftdi/x' }"},
		{"probe = { driver = 'openocd', adapter = 'virtual' }",
			"probe = { driver = 'openocd', adapter = 'virtual' }"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		json_t *config;
		struct err e = {.code = ERR_NONE};

		load_pair(*state, pairs[i][0], pairs[i][1], &config, &e);
		if (!config)
			fail_msg("%s", e.msg);
		json_decref(config);
	}
}

static void devices_that_follow_from_the_boards_name_are_two(void **state)
{
	json_decref(must_load(state,
		BENCH BOARD "power = { driver = 'virtual' } }\n"
			    "board 'b' { type = 'kit', power = { driver = 'virtual' }, "
			    "console = { driver = 'virtual' } }\n"));
	refuses(state,
		BENCH BOARD
		"power = { driver = 'virtual', dir = 'd' } }\n"
		"board 'b' { type = 'kit', console = { driver = 'virtual', dir = 'd' } }",
		3, "dir d: board \"a\" has that as power already (line 2)");
}

static void what_is_wrong_in_a_board_type_is_said_with_its_line(void **state)
{
	refuses_type(state, "soc = 'nrf52840', ", "", 1, "soc is missing");
	refuses_type(state, "page = 4096", "page = '4k'", 3, "flash.page: expected an integer");
	refuses_type(state, "{ 0xc000, 0x74000 }", "{ 0xc000 }", 4,
		"regions.primary: expected 2 items, not 1");
	refuses_type(state, "{ 0xc000, 0x74000 }", "{ 0xb000, 0x74000 }", 4, "overlaps");
	refuses_type(
		state, "{ 0xc000, 0x74000 }", "{ 0xc100, 0x74000 }", 4, "in whole pages of 4096");
	refuses_type(state, "{ 0xc000, 0x74000 }", "{ 0xc000, 0xf5000 }", 4, "inside the flash");
	refuses_type(state, "ready_within", "ready_wihtin", 5, "did you mean \"ready_within\"?");
	refuses_type(state, "'smp'", "'virtual'", 6, "offers no transport");
	refuses_type(state, "version = function() end", "version = 5", 7,
		"dut.version: expected a function, not 5");
	refuses_type(state, "return {", "return {{", 9, "expected");
}

/* What the board "a" may write, with may_write put behind the type's regions. */
static void assert_may_write(void **state, const char *may_write, const char *want)
{
	struct scratch *s = *state;
	const char *at = strstr(TYPE, "  boot =");
	json_t *config;
	char type[2048], *seen;

	snprintf(type, sizeof(type), "%.*s%s%s", (int)(at - TYPE), TYPE, may_write, at);
	scratch_write(s, "boards/kit.lua", type);
	config = must_load(state, BENCH "board 'a' { type = 'kit' }");
	seen = json_dumps(json_object_get(json_object_get(json_object_get(config, "boards"), "a"),
				  "may_write"),
		JSON_COMPACT);
	assert_string_equal(seen, want);
	free(seen);
	json_decref(config);
}

static void an_update_may_write_all_regions_but_the_bootloader_unless_it_is_said(void **state)
{
	assert_may_write(state, "", "[[49152,475136]]");
	assert_may_write(state, "may_write = { 'primary' },", "[[49152,475136]]");
	assert_may_write(state, "may_write = { 'bootloader' },", "[[0,49152]]");
	/* in the order of the regions, each once */
	assert_may_write(state, "may_write = { 'primary', 'bootloader', 'primary' },",
		"[[0,49152],[49152,475136]]");
}

static void what_an_update_may_write_must_be_regions(void **state)
{
	refuses_type(state, "boot =", "may_write = { 'primary', 'primry' }, boot =", 5,
		"may_write[2]: there is no region \"primry\"; did you mean \"primary\"?");
	refuses_type(state, "boot =", "may_write = { 'x' }, boot =", 5,
		"may_write[1]: there is no region \"x\"; there are bootloader primary");
	refuses_type(
		state, "boot =", "may_write = { 7 }, boot =", 5, "may_write[1]: expected a string");
	refuses_type(
		state, "boot =", "may_write = 'primary', boot =", 5, "may_write: expected a list");
	/* nothing at all would be no check of anything */
	refuses_type(state, "boot =", "may_write = {}, boot =", 5,
		"may_write: expected 1 to 64 items, not 0");
}

static void board_types_are_searched_beside_rig_conf_first_and_then_in_the_data_folder(void **state)
{
	struct scratch *s = *state;
	json_t *config, *boards;

	scratch_write(s, "data/boards/kit.lua", TYPE);
	scratch_write(s, "data/boards/other.lua", TYPE);
	setenv("RIG_DATADIR", scratch_path(s, "data"), 1);
	config = must_load(state, BENCH "board 'a' { type = 'kit' }\nboard 'b' { type = 'other' }");
	boards = json_object_get(config, "boards");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(boards, "a"), "type_file")),
		scratch_path(s, "boards/kit.lua"));
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(boards, "b"), "type_file")),
		scratch_path(s, "data/boards/other.lua"));
	json_decref(config);
}

static void a_program_of_the_source_tree_finds_its_data_there(void **state)
{
	char *given, *found, *cwd = getcwd(NULL, 0), want[4200];

	(void)state;
	given = data_dir();
	assert_string_equal(given, "/nonexistent");
	unsetenv("RIG_DATADIR");
	found = data_dir();
	snprintf(want, sizeof(want), "%s/boards", cwd);
	if (access(want, F_OK) == 0)
		assert_string_equal(found, cwd);
	else
		assert_string_not_equal(found, "");
	free(given);
	free(found);
	free(cwd);
}

static void rig_conf_is_searched_in_the_order_of_the_command_line(void **state)
{
	struct scratch *s = *state;
	char *old = getcwd(NULL, 0), *path;
	struct err e;

	scratch_write(s, "one.conf", BENCH);
	scratch_write(s, "two.conf", BENCH);
	assert_int_equal(chdir(s->dir), 0);
	if (access("/etc/rig/rig.conf", F_OK) != 0) {
		assert_int_equal(config_find(NULL, &path, &e), -ERR_CONFIG);
		assert_non_null(strstr(e.msg, "rig.conf.example"));
	}
	scratch_write(s, "rig.conf", BENCH);
	assert_int_equal(config_find(NULL, &path, &e), 0);
	assert_string_equal(path, scratch_path(s, "rig.conf"));
	free(path);
	setenv("RIG_CONFIG", "two.conf", 1);
	assert_int_equal(config_find(NULL, &path, &e), 0);
	assert_string_equal(path, scratch_path(s, "two.conf"));
	free(path);
	assert_int_equal(config_find("one.conf", &path, &e), 0);
	assert_string_equal(path, scratch_path(s, "one.conf"));
	free(path);
	assert_int_equal(config_find("none.conf", &path, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.msg, "--config: none.conf"));
	setenv("RIG_CONFIG", "gone.conf", 1);
	assert_int_equal(config_find(NULL, &path, &e), -ERR_CONFIG);
	assert_non_null(strstr(e.msg, "$RIG_CONFIG: gone.conf"));
	unsetenv("RIG_CONFIG");
	assert_int_equal(chdir(old), 0);
	free(old);
}

static void a_file_that_does_not_load_says_why(void **state)
{
	struct scratch *s = *state;
	struct err e;

	assert_null(load_at(s, "none.conf", &e));
	assert_non_null(strstr(e.msg, "none.conf: No such file"));
	refuses(state, "bench { name = 'x'\n state_dir = 'y' }", 2, "expected");
}

static void the_nearest_name_is_the_one_that_a_typo_meant(void **state)
{
	static const struct {
		const char *word, *near;
	} cases[] = {{"pwoer", "power"}, {"Power", "power"}, {"consol", "console"},
		{"porbe", "probe"}, {"xyz", NULL}, {"p", NULL}};
	json_t *names = json_pack("{sn sn sn}", "power", "console", "probe");

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *near = nearest_key(cases[i].word, names);

		if (cases[i].near)
			assert_string_equal(near, cases[i].near);
		else
			assert_null(near);
	}
	json_decref(names);
}

/* --- the example ---------------------------------------------------------------------------- */

static char *example(bool uncommented)
{
	FILE *in = fopen("rig.conf.example", "r");
	char *text = NULL, *line = NULL;
	size_t size, line_size = 0;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(in);
	while (getline(&line, &line_size, in) > 0) {
		bool setting = strncmp(line, "--", 2) == 0 && line[2] != ' ' && line[2] != '\n';

		fputs(uncommented && setting ? line + 2 : line, out);
	}
	free(line);
	fclose(in);
	fclose(out);
	return text;
}

/* Steals the catalogue. */
static json_t *load_example(struct scratch *s, json_t *catalogue, bool uncommented, struct err *e)
{
	char *text = example(uncommented);
	json_t *config = NULL;

	scratch_write(s, "boards/nrf52840dk.lua", TYPE);
	scratch_write(s, "build/firmware/broken/bootloader.hex", "");
	if (config_load(scratch_write(s, "rig.conf", text), catalogue, &config, e) != 0)
		config = NULL;
	json_decref(catalogue);
	free(text);
	return config;
}

static void the_example_is_a_bench_of_three_virtual_boards(void **state)
{
	static const char *const want[] = {"demo-1", "demo-2", "demo-broken"};
	const char *name;
	json_t *config, *board;
	struct err e;
	size_t i = 0;

	config = load_example(*state, driver_catalogue(), false, &e);
	if (!config)
		fail_msg("%s", e.msg);
	json_object_foreach (json_object_get(config, "boards"), name, board)
		assert_string_equal(name, want[i++]);
	assert_int_equal(i, 3);
	json_decref(config);
}

/* The drivers without their defaults, so that a board's object has what rig.conf says and no more.
 */
static json_t *without_defaults(void)
{
	json_t *catalogue = driver_catalogue(), *driver, *option;
	const char *name, *key;

	json_object_foreach (catalogue, name, driver)
		json_object_foreach (json_object_get(driver, "options"), key, option)
			json_object_set_new(option, "default", json_null());
	return catalogue;
}

/* {DRIVER: {OPTION: …}} of all that the boards set. */
static json_t *settings_of(json_t *config)
{
	json_t *all = json_object(), *board, *device;
	const char *name, *capability;

	json_object_foreach (json_object_get(config, "boards"), name, board)
		json_object_foreach (json_object_get(board, "devices"), capability, device) {
			const char *driver = json_string_value(json_object_get(device, "driver"));

			if (!json_object_get(all, driver))
				json_object_set_new(all, driver, json_object());
			json_object_update(json_object_get(all, driver), device);
		}
	return all;
}

static void the_example_loads_and_sets_every_option_of_every_driver(void **state)
{
	json_t *catalogue = driver_catalogue(), *driver, *option, *settings, *config;
	const char *name, *key;
	struct err e;

	config = load_example(*state, without_defaults(), true, &e);
	if (!config)
		fail_msg("%s", e.msg);
	settings = settings_of(config);
	json_object_foreach (catalogue, name, driver) {
		if (!json_object_get(settings, name))
			fail_msg("rig.conf.example shows no board with driver %s", name);
		json_object_foreach (json_object_get(driver, "options"), key, option)
			if (!json_object_get(json_object_get(settings, name), key))
				fail_msg("rig.conf.example does not set %s of %s", key, name);
	}
	json_decref(settings);
	json_decref(config);
	json_decref(catalogue);
}

/* --- the manifest --------------------------------------------------------------------------- */

#define RELEASE(v) "    { version = '" v "', images = { application = 'fw/" v ".bin' } },\n"

static int manifest(struct scratch *s, const char *text, json_t **m, struct err *e)
{
	scratch_write(s, "fw/1.0.0.bin", "x");
	scratch_write(s, "fw/2.0.0.bin", "x");
	return manifest_load(scratch_write(s, "releases.lua", text), m, e);
}

static void a_manifest_has_absolute_images_lines_and_a_whole_policy(void **state)
{
	struct scratch *s = *state;
	json_t *m, *r, *policy;
	struct err e;

	if (manifest(s,
		    "return {\n  product = 'demo',\n  releases = {\n" RELEASE("1.0.0")
			    RELEASE("2.0.0") "  },\n  policy = { refuse = { { '1.0.0', '2.0.0' } } "
					     "},\n}\n",
		    &m, &e) != 0)
		fail_msg("%s", e.msg);
	r = json_array_get(json_object_get(m, "releases"), 1);
	assert_int_equal(json_integer_value(json_object_get(r, "line")), 5);
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(r, "images"), "application")),
		scratch_path(s, "fw/2.0.0.bin"));
	policy = json_object_get(m, "policy");
	assert_string_equal(json_string_value(json_object_get(policy, "updates")), "any");
	assert_true(json_is_false(json_object_get(policy, "downgrade")));
	assert_true(json_is_object(json_object_get(policy, "via")));
	assert_int_equal(json_array_size(json_object_get(policy, "refuse")), 1);
	assert_int_equal(json_integer_value(json_object_get(policy, "line")), 7);
	assert_string_equal(
		json_string_value(json_object_get(m, "file")), scratch_path(s, "releases.lua"));
	json_decref(m);
}

static void what_is_wrong_in_a_manifest_is_said_with_its_line(void **state)
{
	static const struct {
		const char *text;
		int line;
		const char *want;
	} cases[] = {
		{"return {\n  product = 'd',\n  releases = {\n" RELEASE("1.0.0")
				RELEASE("3.0.0") "} }",
			5, "releases[2].images.application: image "},
		{"return { product = 'd', releases = {} }", 1,
			"releases: expected 1 to 10000 items"},
		{"return { product = 'd',\n releases = {\n { } } }", 3,
			"releases[1]: version is missing"},
		{"return { product = 'd', releases = {\n { version = '1', images = {} } } }", 2,
			"releases[1]: images is empty"},
		{"return { product = 'd', releases = {\n" RELEASE("1.0.0") "},\n policy = {\n"
									   "  updates = 'all' } }",
			5, "policy.updates: \"all\" is unknown; known are any incremental window"},
		{"return { product = 'd', releases = {\n" RELEASE(
			 "1.0.0") "},\n policy = { refuse = "
				  "{ { '1.0.0' } } } }",
			4, "policy.refuse[1]: expected 2 items, not 1"},
		{"return { product = 'd', releases = {\n { version = '1.0.0', reverts = 'yes',\n"
		 " images = { application = 'fw/1.0.0.bin' } } } }",
			2, "releases[1].reverts: expected true or false"},
		{"return { product = 'd', releases = {\n" RELEASE("1.0.0") "},\n polcy = {} }", 4,
			"polcy: unknown key; did you mean \"policy\"?"},
	};
	struct scratch *s = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char head[600];
		struct err e;
		json_t *m;

		assert_int_equal(manifest(s, cases[i].text, &m, &e), -ERR_CONFIG);
		snprintf(head, sizeof(head), "%s/releases.lua:%d: ", s->dir, cases[i].line);
		if (strncmp(e.msg, head, strlen(head)) != 0 || !strstr(e.msg, cases[i].want))
			fail_msg("expected \"%s...%s\", got \"%s\"", head, cases[i].want, e.msg);
	}
}

/* --- docs/configuration.md ------------------------------------------------------------------ */

/* The n-th Lua example of the page; the caller frees it. */
static char *doc_example(unsigned n)
{
	FILE *in = fopen("docs/configuration.md", "r");
	char *text = NULL, *line = NULL;
	size_t size, line_size = 0;
	FILE *out = open_memstream(&text, &size);
	bool inside = false;

	assert_non_null(in);
	while (getline(&line, &line_size, in) > 0) {
		if (strcmp(line, "```lua\n") == 0) {
			inside = true;
			n--;
		} else if (strcmp(line, "```\n") == 0) {
			inside = false;
		} else if (inside && n == 0) {
			fputs(line, out);
		}
	}
	free(line);
	fclose(in);
	fclose(out);
	assert_true(size > 0);
	return text;
}

static void the_examples_of_the_documentation_load(void **state)
{
	static const char *const files[] = {"rig.conf", "boards/kit.lua", "releases.lua"};
	struct scratch *s = *state;
	json_t *config, *m;
	struct err e;

	for (unsigned i = 0; i < 3; i++) {
		char *text = doc_example(i + 1);

		scratch_write(s, files[i], text);
		free(text);
	}
	scratch_write(s, "1.0.0/app.bin", "x");
	scratch_write(s, "2.0.0/app.bin", "x");
	config = load_at(s, "rig.conf", &e);
	if (!config)
		fail_msg("%s", e.msg);
	if (manifest_load(json_string_value(json_object_get(config, "releases")), &m, &e) != 0)
		fail_msg("%s", e.msg);
	assert_int_equal(json_array_size(json_object_get(m, "releases")), 2);
	json_decref(m);
	json_decref(config);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, scratch_teardown)
	const struct CMUnitTest tests[] = {
		T(a_board_is_the_object_of_the_protocol),
		T(paths_are_relative_to_rig_conf),
		T(state_dir_and_releases_have_defaults),
		T(boards_are_in_the_order_of_the_file),
		T(a_board_says_otherwise_than_its_type),
		T(a_virtual_board_wears_out_only_where_rig_conf_says_so),
		T(two_boards_of_a_type_do_not_share_what_one_of_them_changes),
		T(what_is_wrong_in_rig_conf_is_said_with_its_line),
		T(two_devices_that_are_one_are_refused),
		T(what_only_looks_alike_is_accepted),
		T(devices_that_follow_from_the_boards_name_are_two),
		T(what_is_wrong_in_a_board_type_is_said_with_its_line),
		T(an_update_may_write_all_regions_but_the_bootloader_unless_it_is_said),
		T(what_an_update_may_write_must_be_regions),
		T(board_types_are_searched_beside_rig_conf_first_and_then_in_the_data_folder),
		T(a_program_of_the_source_tree_finds_its_data_there),
		T(rig_conf_is_searched_in_the_order_of_the_command_line),
		T(a_file_that_does_not_load_says_why),
		T(the_nearest_name_is_the_one_that_a_typo_meant),
		T(the_example_is_a_bench_of_three_virtual_boards),
		T(the_example_loads_and_sets_every_option_of_every_driver),
		T(a_manifest_has_absolute_images_lines_and_a_whole_policy),
		T(what_is_wrong_in_a_manifest_is_said_with_its_line),
		T(the_examples_of_the_documentation_load),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
