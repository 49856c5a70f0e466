/*
 * Of a device's options some say which of several it is. What they name together is its claim; a
 * device on several GPIO lines has a claim on each. Two claims on the same thing conflict, unless
 * they are on different parts of it (relays of one card, outputs of one supply).
 *
 * What is named in two ways, a port once by its path and once by its serial number, cannot be seen
 * here; the one that comes second finds it taken when it is opened.
 */
#include "config_conflicts.h"

#include "err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What says where a device is. "serial" is a number that means something to its driver alone. */
static const char *const places[] = {"serial", "usb_vendor", "usb_product", "usb_id", "usb_serial",
	"usb_path", "path", "hub", "host", "port", "dir", "socket", "url", "hostname", "pdu",
	"interface", NULL};
/* Of these one is enough to know; the rest only goes with them. */
static const char *const enough[] = {"serial", "usb_vendor", "usb_product", "usb_id", "usb_serial",
	"usb_path", "path", "hub", "host", "port", "dir", "socket", "url", "hostname", "pdu", NULL};
/* Places that mean the same whatever the driver is; so do USB devices for drivers of ports. */
static const char *const common[] = {"path", "host", NULL};
/* Parts of a thing that boards may share. */
static const char *const parts[] = {"channel", "outlet", "output", "alias", NULL};

static bool has_any(const json_t *device, const char *const *names)
{
	for (; *names; names++)
		if (json_object_get(device, *names))
			return true;
	return false;
}

/* Adds "NAME VALUE" to text, with ", " between. */
static void add_option(char *text, size_t size, const char *name, const json_t *value)
{
	size_t used = strlen(text);
	const char *comma = used ? ", " : "";

	if (json_is_string(value))
		snprintf(
			text + used, size - used, "%s%s %s", comma, name, json_string_value(value));
	else if (json_is_integer(value))
		snprintf(text + used, size - used, "%s%s %" JSON_INTEGER_FORMAT, comma, name,
			json_integer_value(value));
}

static void add_options(char *text, size_t size, const json_t *device, const char *const *names)
{
	for (; *names; names++)
		add_option(text, size, *names, json_object_get(device, *names));
}

/* Of a driver of serial ports the interface is an option. */
static bool is_of_ports(json_t *catalogue, const char *driver)
{
	return json_object_get(
		json_object_get(json_object_get(catalogue, driver), "options"), "interface");
}

/* "1-1.4:1.0" is usb_path "1-1.4" and interface 0. A new reference. */
static json_t *split_path(json_t *device)
{
	json_t *copy = json_copy(device);
	const char *path = json_string_value(json_object_get(device, "usb_path"));
	const char *colon = path ? strchr(path, ':') : NULL;
	const char *point = colon ? strchr(colon, '.') : NULL;

	if (point) {
		json_object_set_new(copy, "usb_path", json_stringn(path, (size_t)(colon - path)));
		json_object_set_new(copy, "interface", json_integer(strtol(point + 1, NULL, 10)));
	}
	return copy;
}

/* The claim on what the options name as one; nothing when they name nothing in particular. */
static void claim_device(json_t *claims, json_t *device, json_t *catalogue)
{
	const char *driver = json_string_value(json_object_get(device, "driver"));
	char what[512] = "", part[128] = "";
	bool shared;

	if (!has_any(device, enough) && !has_any(device, parts))
		return;
	device = split_path(device);
	add_options(what, sizeof(what), device, places);
	add_options(part, sizeof(part), device, parts);
	shared = has_any(device, common) ||
		 (is_of_ports(catalogue, driver) && !json_object_get(device, "serial"));
	json_array_append_new(claims, json_pack("{s:s, s:s, s:s, s:b}", "what", what, "part", part,
					      "of", shared ? "" : driver, "line", 0));
	json_decref(device);
}

/* chip may be NULL: a line by its name on any chip. */
static void claim_line(json_t *claims, const json_t *chip, const json_t *line, const char *key,
	size_t index, bool listed)
{
	const char *name = json_string_value(chip);
	char what[512] = "";
	size_t used;

	if (name && strncmp(name, "/dev/", 5) == 0)
		name += 5;
	add_option(what, sizeof(what), "line", line);
	used = strlen(what);
	if (name && used)
		snprintf(what + used, sizeof(what) - used, " of %s", name);
	if (used)
		json_array_append_new(
			claims, json_pack("{s:s, s:s, s:s, s:b, s:s, s:i, s:b}", "what", what,
					"part", "", "of", "", "line", 1, "key", key, "index",
					(int)index, "listed", listed));
}

static void claim_lines(json_t *claims, json_t *device)
{
	static const struct {
		const char *chip, *line, *name, *list;
	} options[] = {
		{"chip", "line", "line_name", "lines"},
		{"sense_chip", "sense_line", "sense_line_name", "sense_lines"},
	};
	json_t *item;
	size_t n;

	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		json_t *chip = json_object_get(device, options[i].chip);

		claim_line(claims, chip, json_object_get(device, options[i].line), options[i].line,
			0, false);
		claim_line(claims, chip, json_object_get(device, options[i].name), options[i].name,
			0, false);
		json_array_foreach (json_object_get(device, options[i].list), n, item)
			claim_line(claims, chip, item, options[i].list, n, true);
	}
}

static json_t *claims_of(json_t *device, json_t *catalogue)
{
	json_t *claims = json_array();

	claim_lines(claims, device);
	if (json_array_size(claims) == 0)
		claim_device(claims, device, catalogue);
	return claims;
}

static const char *text_of(const json_t *claim, const char *name)
{
	const char *text = json_string_value(json_object_get(claim, name));

	return text ? text : "";
}

/* The one of theirs that conflicts with ours, or NULL; borrowed. */
static json_t *conflicting(const json_t *ours, json_t *theirs, bool same_driver)
{
	json_t *other;
	size_t i;

	json_array_foreach (theirs, i, other)
		if (strcmp(text_of(other, "what"), text_of(ours, "what")) == 0 &&
			strcmp(text_of(other, "of"), text_of(ours, "of")) == 0 &&
			(!same_driver ||
				strcmp(text_of(other, "part"), text_of(ours, "part")) == 0))
			return other;
	return NULL;
}

/* --- saying so -------------------------------------------------------------------------------- */

/* A claim's place in the file, as a path of three steps at most. */
struct place {
	struct lua_data_path capability, key, item;
};

static const struct lua_data_path *place_of(
	const json_t *claim, const char *capability, struct place *place)
{
	place->capability = (struct lua_data_path){NULL, capability, 0};
	place->key = (struct lua_data_path){&place->capability, text_of(claim, "key"), 0};
	place->item = (struct lua_data_path){
		&place->key, NULL, (size_t)json_integer_value(json_object_get(claim, "index"))};
	if (!*text_of(claim, "key"))
		return &place->capability;
	return json_is_true(json_object_get(claim, "listed")) ? &place->item : &place->key;
}

static const struct lua_data_block *block_of(const struct lua_data *data, const char *board)
{
	for (size_t i = 0; i < data->count; i++)
		if (strcmp(data->blocks[i].call, "board") == 0 &&
			strcmp(data->blocks[i].which, board) == 0)
			return &data->blocks[i];
	return NULL;
}

struct side {
	const char *board; /* NULL: the board under check itself */
	const char *capability;
	const json_t *claim;
};

static int say(const struct schema_where *where, const struct side *ours, const struct side *theirs,
	struct err *e)
{
	struct place here, there;
	const struct lua_data_path *path = place_of(theirs->claim, theirs->capability, &there);
	const struct lua_data_block *block =
		theirs->board ? block_of(where->data, theirs->board) : where->block;
	int line = block ? lua_data_line(where->data, block, path) : 0;
	const char *part = text_of(ours->claim, "part"), *what = text_of(ours->claim, "what");

	return schema_error(where, place_of(ours->claim, ours->capability, &here), e,
		"%s%s%s: %s%s%s has that as %s already (line %d)", what, *what && *part ? ", " : "",
		part, theirs->board ? "board \"" : "this board", theirs->board ? theirs->board : "",
		theirs->board ? "\"" : "", theirs->capability, line);
}

/* What a probe's adapter is, unless each board has one of its own. */
static const char *adapter_of(const json_t *device)
{
	const char *adapter = json_string_value(json_object_get(device, "adapter"));

	return adapter && strcmp(adapter, "virtual") != 0 ? adapter : NULL;
}

/* An adapter of a kind that no serial number names takes any that is plugged in, also another
 * board's, unless a configuration of its own ("config") says which. */
static bool takes_any_of(const json_t *device, const json_t *other)
{
	const char *ours = adapter_of(device), *theirs = adapter_of(other);
	json_t *config = json_object_get(device, "config");
	bool named = json_object_get(device, "serial") && json_object_get(other, "serial");

	return ours && theirs && !named && strcmp(ours, theirs) == 0 &&
	       json_equal(json_object_get(device, "driver"), json_object_get(other, "driver")) &&
	       (config == json_object_get(other, "config") ||
		       json_equal(config, json_object_get(other, "config")));
}

static int check_adapters(const struct schema_where *where, const char *capability,
	const json_t *device, const char *board, const char *theirs, const json_t *other,
	struct err *e)
{
	struct lua_data_path here = {NULL, capability, 0}, there = {NULL, theirs, 0};
	const struct lua_data_block *block = block_of(where->data, board);
	bool ours = !json_object_get(device, "serial");

	if (!takes_any_of(device, other))
		return 0;
	return schema_error(where, &here, e,
		"adapter %s%s: board \"%s\" has such a %s%s (line %d), and one without serial takes any: "
		"set serial for each (`rig check --scan` lists the numbers)",
		adapter_of(device), ours ? " without serial" : "", board, theirs,
		json_object_get(other, "serial") ? "" : " without serial",
		block ? lua_data_line(where->data, block, &there) : 0);
}

/* Holds one device of the board against another one, of the board named or of its own (NULL). */
static int compare(const struct schema_where *where, json_t *catalogue, const char *capability,
	json_t *device, const char *board, const char *theirs, json_t *other, struct err *e)
{
	bool same_driver =
		json_equal(json_object_get(device, "driver"), json_object_get(other, "driver"));
	json_t *claims = claims_of(device, catalogue), *held = claims_of(other, catalogue);
	json_t *claim, *found;
	int rc = 0;
	size_t i;

	json_array_foreach (claims, i, claim) {
		found = conflicting(claim, held, same_driver);
		/* one device may be two things of one board, such as a supply that measures; a line
		 * may not */
		if (found && !board && same_driver && !json_is_true(json_object_get(claim, "line")))
			found = NULL;
		if (found && rc == 0)
			rc = say(where, &(struct side){NULL, capability, claim},
				&(struct side){board, theirs, found}, e);
	}
	json_decref(claims);
	json_decref(held);
	if (rc == 0 && board)
		rc = check_adapters(where, capability, device, board, theirs, other, e);
	return rc;
}

/* A line twice in one list. */
static int check_itself(const struct schema_where *where, json_t *catalogue, const char *capability,
	json_t *device, struct err *e)
{
	json_t *claims = claims_of(device, catalogue), *claim, *found;
	int rc = 0;
	size_t i;

	json_array_foreach (claims, i, claim) {
		found = conflicting(claim, claims, true);
		if (found != claim && rc == 0)
			rc = say(where, &(struct side){NULL, capability, claim},
				&(struct side){NULL, capability, found}, e);
	}
	json_decref(claims);
	return rc;
}

int config_conflicts(const struct schema_where *where, json_t *boards, json_t *board,
	json_t *catalogue, struct err *e)
{
	json_t *devices = json_object_get(board, "devices"), *device, *other, *theirs;
	const char *capability, *name, *against;
	int rc;

	json_object_foreach (devices, capability, device) {
		rc = check_itself(where, catalogue, capability, device, e);
		json_object_foreach (devices, against, theirs) {
			if (theirs == device)
				break; /* the rest is held against this one in its turn */
			if (rc == 0)
				rc = compare(where, catalogue, capability, device, NULL, against,
					theirs, e);
		}
		json_object_foreach (boards, name, other)
			json_object_foreach (json_object_get(other, "devices"), against, theirs)
				if (rc == 0)
					rc = compare(where, catalogue, capability, device, name,
						against, theirs, e);
		if (rc != 0)
			return rc;
	}
	return 0;
}
