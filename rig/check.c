#include "check.h"

#include "keeper_client.h"
#include "lock.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_MS 120000 /* the keeper owns the deadlines of opening */
#define CALL_MS 40000
#define LEASE_MS (10 * 60 * 1000) /* should we hang */

/* --- what was found --------------------------------------------------------------------------- */

static const char *const verdicts[] = {"ok", "warn", "fail", "busy"};

const char *check_verdict_name(enum check_verdict verdict)
{
	return verdicts[verdict];
}

static enum check_verdict verdict_of(const json_t *check)
{
	const char *name = json_string_value(json_object_get(check, "verdict"));

	for (size_t i = 0; name && i < sizeof(verdicts) / sizeof(*verdicts); i++)
		if (strcmp(name, verdicts[i]) == 0)
			return (enum check_verdict)i;
	return CHECK_OK;
}

static json_t *find(const struct check *c, const char *what)
{
	json_t *check;
	size_t i;

	json_array_foreach (c->checks, i, check)
		if (strcmp(json_string_value(json_object_get(check, "what")), what) == 0)
			return check;
	return NULL;
}

json_t *check_of(struct check *c, const char *what)
{
	json_t *devices = json_object_get(c->board, "devices"), *check = find(c, what);

	if (check)
		return check;
	check = json_pack("{s:s, s:O*, s:s, s:[], s:[]}", "what", what, "driver",
		json_object_get(json_object_get(devices, what), "driver"), "verdict", verdicts[0],
		"says", "mend");
	json_array_append_new(c->checks, check);
	return check;
}

bool check_works(const struct check *c, const char *what)
{
	const json_t *check = find(c, what);

	return check && json_object_get(check, "driver") && verdict_of(check) < CHECK_FAIL;
}

static void add(json_t *check, const char *list, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));

static void add(json_t *check, const char *list, const char *fmt, va_list ap)
{
	json_array_append_new(json_object_get(check, list), json_vsprintf(fmt, ap));
}

void check_say(json_t *check, enum check_verdict verdict, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(check, "says", fmt, ap);
	va_end(ap);
	if (verdict > verdict_of(check))
		json_object_set_new(check, "verdict", json_string(verdicts[verdict]));
}

void check_mend(json_t *check, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(check, "mend", fmt, ap);
	va_end(ap);
}

/* The message behind "board B: capability (driver): ", which the line says already. */
static const char *own_words(const struct check *c, const char *msg)
{
	char head[256];
	size_t len = (size_t)snprintf(head, sizeof(head), "board %s: ", c->name);
	const char *colon;

	if (strncmp(msg, head, len) != 0)
		return msg;
	msg += len;
	colon = strstr(msg, "): ");
	return colon && (size_t)(colon - msg) < strcspn(msg, ":") ? colon + 3 : msg;
}

bool check_error(const struct check *c, json_t *check, const char *before, const struct err *e)
{
	const char *text = own_words(c, e->msg);

	check_say(check, CHECK_FAIL, "%s%s", before, text);
	return check_suggest(check, json_string_value(json_object_get(check, "driver")), text);
}

/* --- the devices ------------------------------------------------------------------------------ */

static void add_all(json_t *check, const char *list, const json_t *from)
{
	json_array_extend(json_object_get(check, list), json_object_get(from, list));
}

/* Tries one that is open. */
static void try_device(struct check *c, const char *capability)
{
	json_t *check = check_of(c, capability), *result = NULL;
	struct err e;

	if (cli_call(c->cli, c->keeper, "check", json_pack("{s:s}", "device", capability), CALL_MS,
		    &result, &e)) {
		if (e.code == ERR_BUSY && c->leased_by_hand)
			check_say(check, CHECK_WARN, "not tried: %s", own_words(c, e.msg));
		else
			check_error(c, check, "", &e);
		return;
	}
	add_all(check, "says", result);
	add_all(check, "mend", result);
	if (json_array_size(json_object_get(result, "mend")))
		json_object_set_new(check, "verdict", json_string(verdicts[CHECK_WARN]));
	if (json_array_size(json_object_get(check, "says")) == 0)
		check_say(check, CHECK_OK, "opened");
	json_decref(result);
}

void check_probe(struct check *c)
{
	if (c->probe_waits)
		try_device(c, "probe");
	c->probe_waits = false;
}

static void try_devices(struct check *c, const json_t *opened)
{
	static const char *const order[] = {"power", "meter", "console", "probe", "trigger",
		"reset", "strap", "transport", "snapshot"};
	json_t *devices = json_object_get(c->board, "devices"), *device;
	struct err e;

	for (size_t i = 0; i < sizeof(order) / sizeof(*order); i++) {
		const char *capability = order[i];

		if (!json_object_get(devices, capability))
			continue;
		device = json_object_get(json_object_get(opened, "devices"), capability);
		check_of(c, capability);
		if (!device || json_is_true(json_object_get(device, "ok"))) {
			if (strcmp(capability, "probe") == 0)
				c->probe_waits = true;
			else
				try_device(c, capability);
			continue;
		}
		err_set(&e, err_code_of(json_string_value(json_object_get(device, "code"))), "%s",
			json_string_value(json_object_get(device, "error")));
		check_error(c, check_of(c, capability), "", &e);
	}
}

/* --- the lease -------------------------------------------------------------------------------- */

static void heard_console(struct check *c, const json_t *params)
{
	const json_t *data = json_object_get(params, "data");
	const char *text = json_string_value(data);
	size_t used = strlen(c->console_line), room = sizeof(c->console_line) - 1 - used;

	if (!text)
		return;
	c->console_bytes += json_string_length(data);
	while (used == 0 && (*text == '\r' || *text == '\n'))
		text++;
	if (!strchr(c->console_line, '\n'))
		strncat(c->console_line, text, room);
}

static void heard(void *arg, struct rpc_call *call, const char *method, json_t *params)
{
	struct check *c = arg;
	const char *device = json_string_value(json_object_get(params, "device"));

	if (strcmp(method, "console") == 0)
		heard_console(c, params);
	if (strcmp(method, "back") == 0 && device)
		snprintf(c->back, sizeof(c->back), "%s", device);
	if (call)
		cli_refuse_call(arg, call, method, params);
}

/* Who has it by hand lends it; else it is busy. */
static int join(struct check *c, json_t **opened, struct err *e)
{
	json_t *info = NULL;
	const char *what;
	int code = cli_call(c->cli, c->keeper, "info", json_object(), CALL_MS, &info, e);

	what = json_string_value(json_object_get(json_object_get(info, "owner"), "what"));
	if (code == 0 && !json_is_true(json_object_get(info, "hand")))
		code = err_set(e, ERR_BUSY, "board %s is used by %s since %s", c->name,
			what ? what : "somebody",
			json_string_value(json_object_get(info, "since")));
	c->leased_by_hand = true;
	if (code == 0)
		*opened = info;
	else
		json_decref(info);
	return code;
}

/* Without "hand": what we switched on does not stay so when we are killed. */
static int lease(struct check *c, json_t **opened, struct err *e)
{
	static const struct rpc_handlers handlers = {heard, NULL};
	char dir[PATH_MAX], log[PATH_MAX];
	int code;

	if (keeper_client_connect(&c->cli->loop, cli_state_dir(c->cli), c->name, &handlers, c,
		    &c->keeper, e) == 0)
		return join(c, opened, e);
	code = lock_board_dir(cli_state_dir(c->cli), c->name, true, dir, sizeof(dir), e);
	if (code)
		return code;
	if (snprintf(log, sizeof(log), "%s/keeper.log", dir) >= (int)sizeof(log))
		return err_set(e, ERR_IO, "%s: too long a path", dir);
	code = keeper_client_spawn(&c->cli->loop, log, &handlers, c, &c->keeper, NULL, e);
	if (code)
		return code;
	return cli_call(c->cli, c->keeper, "open",
		json_pack("{s:O, s:s, s:o, s:i, s:b}", "board", c->board, "log_dir", dir, "owner",
			keeper_client_owner("rig check"), "ttl_ms", LEASE_MS, "try", 1),
		OPEN_MS, opened, e);
}

static void say_how_it_was(struct check *c, const json_t *opened)
{
	const char *quarantined = json_string_value(json_object_get(opened, "quarantined"));
	const char *made_safe = json_string_value(json_object_get(opened, "made_safe"));
	json_t *check;

	c->quarantined = quarantined != NULL;
	if (quarantined) {
		check = check_of(c, "board");
		check_say(check, CHECK_FAIL, "it is in quarantine: %s", quarantined);
		check_mend(check, "when that is mended: rig unlock %s", c->name);
	} else if (made_safe && !c->leased_by_hand) {
		check_say(
			check_of(c, "board"), CHECK_WARN, "it was made safe first: %s", made_safe);
	}
}

static void end_lease(struct check *c)
{
	struct err e;
	json_t *check;

	if (c->leased_by_hand)
		cli_call(c->cli, c->keeper, "leave", NULL, CALL_MS, NULL, &e);
	else if (cli_call(c->cli, c->keeper, "end", NULL, CALL_MS, NULL, &e) && !c->quarantined) {
		check = check_of(c, "board");
		check_say(check, CHECK_FAIL, "it is in quarantine now: %s", own_words(c, e.msg));
		check_mend(check, "when that is mended: rig unlock %s", c->name);
	}
}

static enum check_verdict worst(const struct check *c)
{
	enum check_verdict verdict = CHECK_OK;
	json_t *check;
	size_t i;

	json_array_foreach (c->checks, i, check)
		if (verdict_of(check) > verdict)
			verdict = verdict_of(check);
	return verdict;
}

json_t *check_board(struct cli *cli, json_t *board, const struct check_options *options)
{
	struct check c = {
		.cli = cli,
		.board = board,
		.name = json_string_value(json_object_get(board, "name")),
		.options = *options,
		.checks = json_array(),
	};
	json_t *opened = NULL, *result;
	struct err e;

	if (lease(&c, &opened, &e) == 0) {
		c.caps = json_object_get(opened, "caps");
		say_how_it_was(&c, opened);
		try_devices(&c, opened);
		check_power(&c);
		check_probe(&c);
		end_lease(&c);
	} else if (e.code == ERR_BUSY) {
		check_say(check_of(&c, "board"), CHECK_BUSY, "%s", own_words(&c, e.msg));
	} else {
		check_error(&c, check_of(&c, "board"), "", &e);
	}
	rpc_destroy(c.keeper);
	json_decref(opened);
	result = json_pack("{s:s, s:O, s:s, s:o}", "board", c.name, "type",
		json_object_get(board, "type"), "verdict", verdicts[worst(&c)], "checks", c.checks);
	return result;
}
