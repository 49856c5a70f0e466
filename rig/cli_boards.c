#include "cli.h"
#include "lock.h"
#include "wear.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

static bool want_json(int argc, char **argv, int *status)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
	bool json = false;
	int opt;

	*status = EXIT_PASS;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 'j')
			json = true;
		else
			*status = EXIT_USAGE;
	}
	if (optind < argc)
		*status = cli_usage(argv[0], "'%s' is one argument too many", argv[optind]);
	return json;
}

/* Adds what the board has been through, if anything was counted. */
static int add_wear(struct cli *cli, const char *name, json_t *conf, json_t *row, struct err *e)
{
	const struct wear_budget budget = wear_budget_of(conf);
	char dir[PATH_MAX];
	struct wear wear;

	if (lock_board_dir(cli_state_dir(cli), name, false, dir, sizeof(dir), e) ||
		wear_init(&wear, dir, false, e))
		return -(int)e->code;
	json_object_set_new(row, "wear", wear_summary(&wear, &budget));
	wear_finish(&wear);
	return 0;
}

static json_t *board_row(struct cli *cli, const char *name, json_t *conf, struct err *e)
{
	enum lock_state state;
	json_t *text = NULL, *row;

	if (lock_look(cli_state_dir(cli), name, &state, &text, e))
		return NULL;
	row = json_pack("{s:s, s:O, s:s}", "name", name, "type", json_object_get(conf, "type"),
		"state", lock_state_name(state));
	json_object_update_missing(row, text);
	json_decref(text);
	if (add_wear(cli, name, conf, row, e)) {
		json_decref(row);
		return NULL;
	}
	return row;
}

static const char *field(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

/* "worn 3 % (page 127: 312 erases), 1234 power cycles"; nothing of a board that is new. */
static void print_wear(const json_t *wear)
{
	bool erased = number(wear, "erases_max") > 0;

	if (erased || number(wear, "relay_cycles")) {
		if (json_is_integer(json_object_get(wear, "percent")))
			printf(" worn %" JSON_INTEGER_FORMAT " %%%s", number(wear, "percent"),
				erased ? "" : ",");
		if (erased)
			printf(" (page %" JSON_INTEGER_FORMAT ": %" JSON_INTEGER_FORMAT " erases),",
				number(wear, "erases_page"), number(wear, "erases_max"));
		printf(" %" JSON_INTEGER_FORMAT " power cycles", number(wear, "relay_cycles"));
	}
	if (json_is_true(json_object_get(wear, "damaged")))
		printf(" (counted from %s: what was before is lost, see wear.json.damaged)",
			field(wear, "since"));
}

static void print_row(const json_t *row)
{
	const json_t *holder =
		json_object_get(row, "holder") ? json_object_get(row, "holder") : row;

	printf("%-16s %-14s %-12s", field(row, "name"), field(row, "type"), field(row, "state"));
	if (*field(holder, "what"))
		printf(" %s by %s@%s since %s", field(holder, "what"), field(holder, "user"),
			field(holder, "host"), field(row, "since"));
	if (*field(row, "expires"))
		printf(" until %s", field(row, "expires"));
	if (*field(row, "reason"))
		printf(" %s", field(row, "reason"));
	print_wear(json_object_get(row, "wear"));
	putchar('\n');
}

int cli_boards(struct cli *cli, int argc, char **argv)
{
	json_t *rows, *conf, *row;
	const char *name;
	size_t i;
	int status;
	bool json = want_json(argc, argv, &status);
	struct err e;

	if (status)
		return status;
	if (cli_load(cli, &e))
		return cli_fail(&e);
	rows = json_array();
	json_object_foreach (json_object_get(cli->config, "boards"), name, conf) {
		row = board_row(cli, name, conf, &e);
		if (!row)
			return cli_fail(&e);
		json_array_append_new(rows, row);
	}
	if (json) {
		json_dumpf(rows, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach (rows, i, row)
			print_row(row);
	}
	json_decref(rows);
	return EXIT_PASS;
}

int cli_drivers(struct cli *cli, int argc, char **argv)
{
	json_t *catalogue, *driver, *option, *cap;
	const char *name, *option_name;
	size_t i;
	int status;
	bool json = want_json(argc, argv, &status);
	struct err e;

	(void)cli;
	if (status)
		return status;
	if (cli_catalogue(&catalogue, &e))
		return cli_fail(&e);
	if (json) {
		json_dumpf(catalogue, stdout, JSON_INDENT(2));
		putchar('\n');
		json_decref(catalogue);
		return EXIT_PASS;
	}
	json_object_foreach (catalogue, name, driver) {
		printf("%s: %s\n  offers:", name, field(driver, "help"));
		json_array_foreach (json_object_get(driver, "caps"), i, cap)
			printf(" %s", json_string_value(cap));
		putchar('\n');
		json_object_foreach (json_object_get(driver, "options"), option_name, option)
			printf("  %-14s %-8s %s%s\n", option_name, field(option, "type"),
				field(option, "help"),
				json_is_true(json_object_get(option, "required")) ? " (required)"
										  : "");
	}
	json_decref(catalogue);
	return EXIT_PASS;
}
