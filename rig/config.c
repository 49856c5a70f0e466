#include "config.h"

#include "config_conflicts.h"
#include "config_files.h"
#include "config_schema.h"
#include "err.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DATADIR "/usr/local/share/rig" /* where it would be */

#define STATE_DIR "reports/runs"
#define READY_WITHIN_S 10
#define MAX_RESETS 3
#define NOT_WRITTEN "bootloader" /* the region that no update writes, unless may_write says so */

/* --- finding things ------------------------------------------------------------------------ */

/*
 * What was installed or built with the program is found from where the program is, so that the tree
 * may be moved and DESTDIR need not be known.
 */
static char *data_beside_program(void)
{
	static const char *const places[] = {
		"../../share/rig", /* PREFIX/lib/rig/rig */
		"../..",           /* build/VARIANT/rig */
		"../../..",        /* build/VARIANT/tests/test_x */
	};
	char exe[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n <= 0)
		return NULL;
	exe[n] = '\0';
	*strrchr(exe, '/') = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(path, sizeof(path), "%s/%s/rig/board.lua", exe, places[i]);
		if (access(path, R_OK) == 0) {
			snprintf(path, sizeof(path), "%s/%s", exe, places[i]);
			return realpath(path, NULL);
		}
	}
	return NULL;
}

char *data_dir(void)
{
	const char *given = getenv("RIG_DATADIR");
	char *found;

	if (given && *given)
		return strdup(given);
	found = data_beside_program();
	return found ? found : strdup(DATADIR);
}

int config_find(const char *given, char **path, struct err *e)
{
	static const char *const places[] = {"./rig.conf", "/etc/rig/rig.conf"};
	const char *env = getenv("RIG_CONFIG");

	if (given) {
		if (config_absolute(given, path, e) == 0)
			return 0;
		return err_prefix(e, "--config");
	}
	if (env && *env) {
		if (config_absolute(env, path, e) == 0)
			return 0;
		return err_prefix(e, "$RIG_CONFIG");
	}
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (access(places[i], F_OK) == 0)
			return config_absolute(places[i], path, e);
	return err_set(e, ERR_CONFIG,
		"there is no rig.conf: neither ./rig.conf nor /etc/rig/rig.conf; copy "
		"rig.conf.example, or name one with --config or $RIG_CONFIG");
}

/* --- what may stand where ------------------------------------------------------------------ */

#define ADDRESS_MAX 4294967295.0

static const struct schema any_function = {.type = SCHEMA_FUNCTION};
static const struct schema address = {.type = SCHEMA_INTEGER, .min = 0, .max = ADDRESS_MAX};
static const struct schema region = {.type = SCHEMA_LIST, .min = 2, .max = 2, .fields = &address};

static const char *const abilities[] = {
	"revert", "resume_upload", "settings", "memory_stats", NULL};
static const struct schema ability = {.type = SCHEMA_STRING, .choices = abilities};

static const struct schema region_name = {.type = SCHEMA_STRING};

static const struct schema openocd_fields[] = {
	{.name = "target", .type = SCHEMA_STRING, .required = true},
	{0},
};

static const struct schema flash_fields[] = {
	{.name = "base", .type = SCHEMA_INTEGER, .required = true, .min = 0, .max = ADDRESS_MAX},
	{.name = "size", .type = SCHEMA_INTEGER, .required = true, .min = 1, .max = ADDRESS_MAX},
	{.name = "page", .type = SCHEMA_INTEGER, .required = true, .min = 1, .max = 1 << 24},
	{.name = "write", .type = SCHEMA_INTEGER, .required = true, .min = 1, .max = 4096},
	{0},
};

static const struct schema boot_fields[] = {
	{.name = "ready_within", .type = SCHEMA_NUMBER, .min = 0.1, .max = 3600}, /* seconds */
	{.name = "max_resets", .type = SCHEMA_INTEGER, .min = 1, .max = 1000},
	{.name = "failed", .type = SCHEMA_STRING}, /* PCRE2 */
	{.name = "ready", .type = SCHEMA_STRING},  /* PCRE2 */
	{.name = "start", .type = SCHEMA_STRING},  /* PCRE2 */
	{.name = "trial_boots", .type = SCHEMA_INTEGER, .min = 1, .max = 1000},
	{0},
};

static const struct schema wear_fields[] = {
	{.name = "erases", .type = SCHEMA_INTEGER, .min = 1, .max = ADDRESS_MAX}, /* of a page */
	{.name = "relay_cycles", .type = SCHEMA_INTEGER, .min = 1, .max = ADDRESS_MAX},
	{0},
};

static const char *const proofs[] = {"auto", "console", "meter", "read-back", "none", NULL};

static const struct schema power_off_fields[] = {
	{.name = "discharge_ms", .type = SCHEMA_INTEGER, .min = 1, .max = 4000},
	{.name = "verify", .type = SCHEMA_STRING, .choices = proofs},
	{.name = "volts_below", .type = SCHEMA_NUMBER, .min = 0, .max = 100},
	{.name = "amps_below", .type = SCHEMA_NUMBER, .min = 0, .max = 100},
	{0},
};

/* What a board type says and a board of rig.conf may say otherwise. */
#define OF_BOTH                                                                                    \
	{.name = "transport", .type = SCHEMA_TABLE}, {.name = "hw", .type = SCHEMA_STRING},        \
		{.name = "boot", .type = SCHEMA_OBJECT, .fields = boot_fields},                    \
		{.name = "wear", .type = SCHEMA_OBJECT, .fields = wear_fields},                    \
		{.name = "power_off", .type = SCHEMA_OBJECT, .fields = power_off_fields},          \
	{                                                                                          \
		.name = "can", .type = SCHEMA_LIST, .fields = &ability                             \
	}

static const struct schema type_fields[] = {
	{.name = "soc", .type = SCHEMA_STRING, .required = true},
	{.name = "openocd", .type = SCHEMA_OBJECT, .fields = openocd_fields},
	/* both, or neither: a board whose flash no probe reaches */
	{.name = "flash", .type = SCHEMA_OBJECT, .fields = flash_fields},
	{.name = "regions", .type = SCHEMA_MAP, .fields = &region},
	{.name = "may_write",
		.type = SCHEMA_LIST,
		.min = 1,
		.max = 64,
		.fields = &region_name}, /* names of regions */
	{.name = "dut", .type = SCHEMA_MAP, .fields = &any_function},
	OF_BOTH,
	{0},
};

static const struct schema board_fields[] = {
	{.name = "type", .type = SCHEMA_STRING, .required = true},
	{.name = "power", .type = SCHEMA_TABLE},
	{.name = "console", .type = SCHEMA_TABLE},
	{.name = "probe", .type = SCHEMA_TABLE},
	{.name = "trigger", .type = SCHEMA_TABLE},
	{.name = "snapshot", .type = SCHEMA_TABLE},
	{.name = "meter", .type = SCHEMA_TABLE},
	{.name = "reset", .type = SCHEMA_TABLE},
	{.name = "strap", .type = SCHEMA_TABLE},
	{.name = "images", .type = SCHEMA_OBJECT, .fields = config_image_fields},
	OF_BOTH,
	{0},
};

static const char *const capabilities[] = {
	"power", "console", "probe", "trigger", "snapshot", "transport", "meter", "reset", "strap"};

static const struct schema bench_fields[] = {
	{.name = "name", .type = SCHEMA_STRING, .required = true},
	{.name = "state_dir", .type = SCHEMA_STRING},
	{.name = "releases", .type = SCHEMA_STRING},
	{0},
};

/* --- devices ------------------------------------------------------------------------------- */

static bool offers(json_t *driver, const char *capability)
{
	json_t *cap;
	size_t i;

	json_array_foreach (json_object_get(driver, "caps"), i, cap)
		if (strcmp(json_string_value(cap), capability) == 0)
			return true;
	return false;
}

static void names_offering(json_t *catalogue, const char *capability, char *text, size_t size)
{
	const char *name;
	json_t *driver;
	int used = 0;

	*text = '\0';
	json_object_foreach (catalogue, name, driver)
		if (offers(driver, capability) && (size_t)used < size)
			used += snprintf(text + used, size - (size_t)used, " %s", name);
	if (!*text)
		snprintf(text, size, " none");
}

static int check_driver(const struct schema_where *where, json_t *catalogue, const char *capability,
	json_t *name, const struct lua_data_path *at, struct err *e)
{
	const struct lua_data_path path = {at, "driver", 0};
	const char *word = json_string_value(name), *near;
	json_t *driver = word ? json_object_get(catalogue, word) : NULL;
	char known[300];

	if (driver && offers(driver, capability))
		return 0;
	names_offering(catalogue, capability, known, sizeof(known));
	if (!name)
		return schema_error(where, at, e, "driver is missing; drivers that offer %s:%s",
			capability, known);
	if (!word)
		return schema_error(where, &path, e, "expected the name of a driver");
	if (driver)
		return schema_error(where, &path, e,
			"the driver \"%s\" offers no %s; drivers that do:%s", word, capability,
			known);
	near = nearest_key(word, catalogue);
	if (near)
		return schema_error(where, &path, e,
			"there is no driver \"%s\"; did you mean \"%s\"?", word, near);
	return schema_error(where, &path, e, "there is no driver \"%s\"; drivers that offer %s:%s",
		word, capability, known);
}

/* A driver's option as a field of a schema. */
static struct schema option_field(const char *name, json_t *option)
{
	static const struct schema words[] = {{.type = SCHEMA_WORD}};
	static const struct {
		const char *name;
		struct schema field;
	} types[] = {
		{"string", {.type = SCHEMA_STRING}},
		{"integer", {.type = SCHEMA_INTEGER}},
		{"boolean", {.type = SCHEMA_BOOLEAN}},
		{"number", {.type = SCHEMA_NUMBER}},
		{"list", {.type = SCHEMA_LIST, .min = 1, .max = 64, .fields = words}},
	};
	const char *type = json_string_value(json_object_get(option, "type"));
	struct schema field = {.type = SCHEMA_STRING};

	for (size_t i = 0; type && i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(types[i].name, type) == 0)
			field = types[i].field;
	field.name = name;
	field.required = json_is_true(json_object_get(option, "required"));
	return field;
}

/* A driver's options as a schema, "driver" among them; the caller frees it. */
static struct schema *options_schema(json_t *options)
{
	struct schema *fields = calloc(json_object_size(options) + 2, sizeof(*fields));
	const char *name;
	json_t *option;
	size_t n = 0;

	if (!fields)
		return NULL;
	fields[n++] = (struct schema){.name = "driver", .type = SCHEMA_STRING, .required = true};
	json_object_foreach (options, name, option)
		fields[n++] = option_field(name, option);
	return fields;
}

/* Checks one capability's table and gives it with the defaults filled in, as a new reference. */
static int resolve_device(const struct schema_where *where, json_t *catalogue,
	const char *capability, json_t *given, json_t **device, struct err *e)
{
	const struct lua_data_path at = {NULL, capability, 0};
	json_t *name = json_object_get(given, "driver"), *options, *option;
	struct schema *fields;
	const char *key;
	int rc = check_driver(where, catalogue, capability, name, &at, e);

	if (rc != 0)
		return rc;
	options = json_object_get(json_object_get(catalogue, json_string_value(name)), "options");
	fields = options_schema(options);
	if (!fields)
		return err_set(e, ERR_NOMEM, "out of memory");
	rc = schema_check(where, fields, given, &at, e);
	free(fields);
	if (rc != 0)
		return rc;
	*device = json_pack("{sO}", "driver", name);
	json_object_foreach (options, key, option) {
		json_t *value = json_object_get(given, key);

		value = value ? value : json_object_get(option, "default");
		if (value && !json_is_null(value))
			json_object_set(*device, key, value);
	}
	return 0;
}

/* --- board types --------------------------------------------------------------------------- */

/* What one load of a configuration carries about. */
struct load {
	struct lua_data *file;
	char *dir;  /* of rig.conf */
	char *data; /* data_dir() */
	json_t *catalogue;
	json_t *types;  /* {NAME: board type, with type_file and its devices} */
	json_t *config; /* the result */
};

static int check_regions(const struct schema_where *where, json_t *type, struct err *e)
{
	json_t *flash = json_object_get(type, "flash"), *regions = json_object_get(type, "regions");
	json_int_t base = json_integer_value(json_object_get(flash, "base"));
	json_int_t end = base + json_integer_value(json_object_get(flash, "size"));
	json_int_t page = json_integer_value(json_object_get(flash, "page"));
	const struct lua_data_path up = {NULL, "regions", 0};
	const char *name, *other;
	json_t *r, *q;

	if (!flash != !regions)
		return schema_error(where, NULL, e,
			"%s is missing; expected flash and regions, or neither where no probe "
			"reaches the flash",
			flash ? "regions" : "flash");
	json_object_foreach (regions, name, r) {
		const struct lua_data_path path = {&up, name, 0};
		json_int_t from = json_integer_value(json_array_get(r, 0));
		json_int_t size = json_integer_value(json_array_get(r, 1));

		if (size <= 0 || from < base || from + size > end)
			return schema_error(where, &path, e,
				"expected {base, size} inside the flash, 0x%jx to 0x%jx",
				(intmax_t)base, (intmax_t)end);
		if ((from - base) % page != 0 || size % page != 0)
			return schema_error(where, &path, e,
				"expected {base, size} in whole pages of %jd bytes",
				(intmax_t)page);
		json_object_foreach (regions, other, q) {
			json_int_t start = json_integer_value(json_array_get(q, 0));

			if (q != r && start >= from && start < from + size)
				return schema_error(where, &path, e, "overlaps with %s", other);
		}
	}
	return 0;
}

static bool lists(json_t *list, const char *word)
{
	json_t *item;
	size_t i;

	json_array_foreach (list, i, item)
		if (strcmp(json_string_value(item), word) == 0)
			return true;
	return false;
}

static int no_region(const struct schema_where *where, const struct lua_data_path *path,
	const char *word, json_t *regions, struct err *e)
{
	const char *near = nearest_key(word, regions), *name;
	char known[300] = "";
	json_t *at;
	size_t used;

	if (near)
		return schema_error(where, path, e,
			"there is no region \"%s\"; did you mean \"%s\"?", word, near);
	json_object_foreach (regions, name, at) {
		used = strlen(known);
		snprintf(known + used, sizeof(known) - used, " %s", name);
	}
	return schema_error(where, path, e, "there is no region \"%s\"; there are%s", word, known);
}

/* Turns may_write from names into [[address, size], ...]; without it, all but the bootloader. */
static int resolve_may_write(const struct schema_where *where, json_t *type, struct err *e)
{
	json_t *names = json_object_get(type, "may_write"), *regions, *ranges, *at, *word;
	const struct lua_data_path up = {NULL, "may_write", 0};
	const char *name;
	size_t i;

	regions = json_object_get(type, "regions");
	json_array_foreach (names, i, word) {
		const struct lua_data_path path = {&up, NULL, i};

		name = json_string_value(word);
		if (!json_object_get(regions, name))
			return no_region(where, &path, name, regions, e);
	}
	ranges = json_array();
	json_object_foreach (regions, name, at)
		if (names ? lists(names, name) : strcmp(name, NOT_WRITTEN) != 0)
			json_array_append(ranges, at);
	return json_object_set_new(type, "may_write", ranges) == 0
		       ? 0
		       : err_set(e, ERR_NOMEM, "out of memory");
}

/* A map of functions as the list of their names. */
static json_t *function_names(json_t *dut)
{
	json_t *names = json_array(), *value;
	const char *name;

	json_object_foreach (dut, name, value)
		json_array_append_new(names, json_string(name));
	return names;
}

static int check_type(
	const struct load *l, const struct lua_data *data, json_t **type, struct err *e)
{
	const struct schema_where where = {data, &data->blocks[0]};
	json_t *given = data->blocks[0].value, *transport, *device = NULL;
	int rc = schema_check(&where, type_fields, given, NULL, e);

	if (rc == 0)
		rc = check_regions(&where, given, e);
	if (rc == 0)
		rc = resolve_may_write(&where, given, e);
	transport = json_object_get(given, "transport");
	if (rc == 0 && transport)
		rc = resolve_device(&where, l->catalogue, "transport", transport, &device, e);
	if (rc != 0)
		return rc;
	*type = json_pack("{s{si si} s[]}", "boot", "ready_within", READY_WITHIN_S, "max_resets",
		MAX_RESETS, "can");
	json_object_update_recursive(*type, given);
	json_object_del(*type, "transport");
	json_object_set_new(
		*type, "devices", device ? json_pack("{so}", "transport", device) : json_object());
	json_object_set_new(*type, "dut", function_names(json_object_get(given, "dut")));
	return 0;
}

static int read_type(const struct load *l, const char *path, json_t **type, struct err *e)
{
	const char *const roots[] = {l->dir, l->data, NULL};
	struct lua_data *data;
	char *abs;
	int rc = lua_data_load(path, NULL, roots, &data, e);

	if (rc != 0)
		return rc;
	rc = check_type(l, data, type, e);
	lua_data_destroy(data);
	if (rc != 0)
		return rc;
	rc = config_absolute(path, &abs, e);
	if (rc != 0) {
		json_decref(*type);
		return rc;
	}
	json_object_set_new(*type, "type_file", json_string(abs));
	free(abs);
	return 0;
}

/* The board type of that name, borrowed from l->types. */
static int find_type(struct load *l, const struct schema_where *where, const char *name,
	json_t **type, struct err *e)
{
	const struct lua_data_path at = {NULL, "type", 0};
	const char *const dirs[] = {l->dir, l->data};
	int rc = 1;

	*type = json_object_get(l->types, name);
	if (*type)
		return 0;
	if (strchr(name, '/') || name[0] == '.')
		return schema_error(where, &at, e, "\"%s\" is no name of a board type", name);
	for (size_t i = 0; rc == 1 && i < sizeof(dirs) / sizeof(*dirs); i++) {
		char *path = NULL;

		if (asprintf(&path, "%s/boards/%s.lua", dirs[i], name) < 0)
			return err_set(e, ERR_NOMEM, "out of memory");
		if (access(path, F_OK) == 0)
			rc = read_type(l, path, type, e);
		free(path);
	}
	if (rc == 1)
		return schema_error(where, &at, e,
			"there is no board type \"%s\": neither %s/boards/%s.lua nor "
			"%s/boards/%s.lua",
			name, l->dir, name, l->data, name);
	if (rc == 0)
		json_object_set_new(l->types, name, *type);
	return rc;
}

/* --- boards -------------------------------------------------------------------------------- */

/* A board's name is a folder's, and part of a command line. */
static bool is_board_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";

	return *name && *name != '.' && *name != '-' && strlen(name) <= 64 &&
	       name[strspn(name, letters)] == '\0';
}

static int resolve_devices(const struct load *l, const struct schema_where *where, json_t *given,
	json_t *devices, struct err *e)
{
	for (size_t i = 0; i < sizeof(capabilities) / sizeof(*capabilities); i++) {
		json_t *table = json_object_get(given, capabilities[i]), *device;
		int rc;

		if (!table)
			continue;
		rc = resolve_device(where, l->catalogue, capabilities[i], table, &device, e);
		if (rc != 0)
			return rc;
		json_object_set_new(devices, capabilities[i], device);
	}
	return 0;
}

/* A table of the type's, key by key with what rig.conf says otherwise. */
static void override(json_t *board, const json_t *given, const char *name)
{
	json_t *said = json_object_get(given, name), *own = json_object_get(board, name);

	if (own)
		json_object_update(own, said);
	else if (said)
		json_object_set(board, name, said);
}

/* The board without its images and own devices: its type, and what rig.conf says otherwise. */
static json_t *merge(const struct load *l, const struct lua_data_block *b, json_t *type)
{
	static const char *const overrides[] = {"hw", "can"};
	json_t *board = json_deep_copy(type);
	const char *power =
		json_string_value(json_object_get(json_object_get(b->value, "power"), "driver"));

	if (!board)
		return NULL;
	/* a virtual board wears out for those alone who want to see that */
	if (power && strcmp(power, "virtual") == 0)
		json_object_del(board, "wear");
	override(board, b->value, "wear");
	override(board, b->value, "power_off");
	json_object_set_new(board, "name", json_string(b->which));
	json_object_set(board, "type", json_object_get(b->value, "type"));
	json_object_set(board, "state_dir", json_object_get(l->config, "state_dir"));
	json_object_update(json_object_get(board, "boot"), json_object_get(b->value, "boot"));
	for (size_t i = 0; i < sizeof(overrides) / sizeof(*overrides); i++) {
		json_t *value = json_object_get(b->value, overrides[i]);

		if (value)
			json_object_set(board, overrides[i], value);
	}
	return board;
}

/* What a probe reaches, the board type has to say. */
static int check_probe(const struct schema_where *where, json_t *board, struct err *e)
{
	const struct lua_data_path at = {NULL, "probe", 0};

	if (json_object_get(json_object_get(board, "devices"), "probe") &&
		!json_object_get(board, "flash"))
		return schema_error(where, &at, e,
			"board type \"%s\" has no flash for a probe to reach",
			json_string_value(json_object_get(board, "type")));
	return 0;
}

static bool has_meter(json_t *board, json_t *catalogue)
{
	json_t *devices = json_object_get(board, "devices");
	const char *power =
		json_string_value(json_object_get(json_object_get(devices, "power"), "driver"));

	return json_object_get(devices, "meter") ||
	       (power && offers(json_object_get(catalogue, power), "meter"));
}

/* A proof that the board has no device for is none. */
static int check_power_off(
	const struct schema_where *where, json_t *board, json_t *catalogue, struct err *e)
{
	const struct lua_data_path up = {NULL, "power_off", 0}, at = {&up, "verify", 0};
	const char *verify =
		json_string_value(json_object_get(json_object_get(board, "power_off"), "verify"));

	if (verify && strcmp(verify, "console") == 0 &&
		!json_object_get(json_object_get(board, "devices"), "console"))
		return schema_error(where, &at, e, "the board has no console");
	if (verify && strcmp(verify, "meter") == 0 && !has_meter(board, catalogue))
		return schema_error(
			where, &at, e, "the board has no meter, nor a power device that measures");
	return 0;
}

static int add_board(struct load *l, const struct lua_data_block *b, struct err *e)
{
	const struct schema_where where = {l->file, b};
	json_t *boards = json_object_get(l->config, "boards"), *type, *board, *images;
	int rc = schema_check(&where, board_fields, b->value, NULL, e);

	if (rc != 0)
		return rc;
	if (!is_board_name(b->which))
		return schema_error(&where, NULL, e,
			"a board's name is made of letters, digits, '.', '_' and '-', at most 64, "
			"and begins with a letter or digit");
	if (json_object_get(boards, b->which))
		return schema_error(&where, NULL, e, "there is a board of that name already");
	rc = find_type(l, &where, json_string_value(json_object_get(b->value, "type")), &type, e);
	if (rc != 0)
		return rc;
	board = merge(l, b, type);
	if (!board)
		return err_set(e, ERR_NOMEM, "out of memory");
	rc = resolve_devices(l, &where, b->value, json_object_get(board, "devices"), e);
	if (rc == 0)
		rc = config_images(
			&where, l->dir, json_object_get(b->value, "images"), NULL, &images, e);
	if (rc == 0) {
		json_object_set_new(board, "images", images);
		rc = config_conflicts(&where, boards, board, l->catalogue, e);
	}
	if (rc == 0)
		rc = check_power_off(&where, board, l->catalogue, e);
	if (rc == 0)
		rc = check_probe(&where, board, e);
	if (rc == 0)
		json_object_set(boards, b->which, board);
	json_decref(board);
	return rc;
}

/* --- the bench ----------------------------------------------------------------------------- */

static const struct lua_data_call calls[] = {{"bench", false}, {"board", true}, {NULL, false}};

static int set_bench(struct load *l, const struct lua_data_block *b, struct err *e)
{
	const struct schema_where where = {l->file, b};
	const char *state_dir, *releases;
	int rc = schema_check(&where, bench_fields, b->value, NULL, e);

	if (rc != 0)
		return rc;
	if (json_object_get(l->config, "name"))
		return schema_error(&where, NULL, e, "a second bench; there is one per file");
	state_dir = json_string_value(json_object_get(b->value, "state_dir"));
	releases = json_string_value(json_object_get(b->value, "releases"));
	json_object_set(l->config, "name", json_object_get(b->value, "name"));
	json_object_set_new(
		l->config, "state_dir", config_resolved(l->dir, state_dir ? state_dir : STATE_DIR));
	json_object_set_new(
		l->config, "releases", releases ? config_resolved(l->dir, releases) : json_null());
	json_object_set_new(l->config, "boards", json_object());
	return 0;
}

static int load_blocks(struct load *l, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < l->file->count; i++)
		if (strcmp(l->file->blocks[i].call, "bench") == 0)
			rc = set_bench(l, &l->file->blocks[i], e);
	if (rc == 0 && !json_object_get(l->config, "name"))
		return err_set(e, ERR_CONFIG, "%s: bench { name = ... } is missing", l->file->file);
	for (size_t i = 0; rc == 0 && i < l->file->count; i++)
		if (strcmp(l->file->blocks[i].call, "board") == 0)
			rc = add_board(l, &l->file->blocks[i], e);
	return rc;
}

int config_load(const char *path, json_t *catalogue, json_t **config, struct err *e)
{
	struct load l = {.catalogue = catalogue};
	char *abs;
	int rc = config_absolute(path, &abs, e);

	if (rc != 0)
		return rc;
	l.dir = config_folder_of(abs);
	l.data = data_dir();
	l.types = json_object();
	l.config = json_pack("{ss}", "file", abs);
	if (!l.dir || !l.data || !l.types || !l.config) {
		rc = err_set(e, ERR_NOMEM, "out of memory");
	} else {
		const char *const roots[] = {l.dir, l.data, NULL};

		rc = lua_data_load(path, calls, roots, &l.file, e);
		if (rc == 0)
			rc = load_blocks(&l, e);
	}
	if (rc == 0)
		*config = json_incref(l.config);
	lua_data_destroy(l.file);
	json_decref(l.types);
	json_decref(l.config);
	free(l.dir);
	free(l.data);
	free(abs);
	return rc;
}
