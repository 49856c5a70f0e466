/*
 * rig check: the devices of a board tried, or of all; rig check --scan: what this host has.
 */
#include "check.h"
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

const char cli_check_options[] =
	"\n"
	"  --scan        list the relays, ports, hubs and probes of this host, with lines for rig.conf\n"
	"  --no-switch   do not switch the power on and off, to see whether that changes anything\n"
	"  --json        for programs\n"
	"\n"
	"Without BOARD every board is tried. A board that is free is leased, switched on and off once,\n"
	"and left off. Exit status: 0 nothing is wrong, 3 something is, 4 a board is busy.\n";

#define INDENT 6

/* --- text that fits the terminal -------------------------------------------------------------- */

/* 0: no terminal; every item is a line then. */
static unsigned columns(void)
{
	struct winsize size;

	if (!isatty(STDOUT_FILENO))
		return 0;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col < 40)
		return 80;
	return size.ws_col;
}

/* Characters, not bytes: a byte that goes on another one's takes no room. */
static unsigned width_of(const char *text, size_t len)
{
	unsigned width = 0;

	for (size_t i = 0; i < len; i++)
		width += ((unsigned char)text[i] & 0xc0) != 0x80;
	return width;
}

/* Prints words from column at on; further lines begin at column indent. */
static void print_wrapped(const char *text, unsigned at, unsigned indent)
{
	unsigned room = columns(), begin = at;

	while (*text) {
		size_t len = strcspn(text, " ");
		unsigned width = width_of(text, len);

		if (room && at > begin && at + 1 + width > room) {
			printf("\n%*s", (int)indent, "");
			at = begin = indent;
		} else if (at > begin) {
			putchar(' ');
			at++;
		}
		printf("%.*s", (int)len, text);
		at += width;
		text += len + strspn(text + len, " ");
	}
	putchar('\n');
}

/* A list's texts as one, put together with "; ". The caller's to free. */
static char *joined(const json_t *list)
{
	char *all = strdup(""), *longer;
	json_t *one;
	size_t i;

	json_array_foreach (list, i, one) {
		if (!all ||
			asprintf(&longer, "%s%s%s", all, i ? "; " : "", json_string_value(one)) < 0)
			longer = NULL;
		free(all);
		all = longer;
	}
	return all;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

/* --- boards ----------------------------------------------------------------------------------- */

static const char *mark_of(const json_t *check)
{
	const char *verdict = text_of(check, "verdict");

	return strcmp(verdict, "fail") == 0 ? "FAIL" : verdict;
}

static void print_check(const json_t *check)
{
	char *says = joined(json_object_get(check, "says"));
	int at = printf("%-4s  %-9s %-13s ", mark_of(check), text_of(check, "what"),
		text_of(check, "driver"));

	print_wrapped(says ? says : "", (unsigned)at, INDENT + 10);
	free(says);
}

static void print_mends(const json_t *checks)
{
	json_t *check, *mend;
	size_t i, j;
	bool any = false;

	json_array_foreach (checks, i, check) {
		json_array_foreach (json_object_get(check, "mend"), j, mend) {
			if (!any)
				puts("to mend:");
			any = true;
			print_wrapped(json_string_value(mend),
				(unsigned)printf("      %-9s ", text_of(check, "what")),
				INDENT + 10);
		}
	}
}

static void print_board(const json_t *result)
{
	json_t *checks = json_object_get(result, "checks"), *check;
	size_t i;

	json_array_foreach (checks, i, check)
		print_check(check);
	print_mends(checks);
	fflush(stdout);
}

/* Tries one, prints it unless for programs, and adds it to results. */
static void check_one(struct cli *cli, json_t *board, const struct check_options *options,
	bool json, json_t *results)
{
	json_t *result;

	if (!json) {
		printf("%s%s (%s)\n", json_array_size(results) ? "\n" : "", text_of(board, "name"),
			text_of(board, "type"));
		fflush(stdout);
	}
	result = check_board(cli, board, options);
	if (!json)
		print_board(result);
	json_array_append_new(results, result);
}

static bool any_is(const json_t *results, const char *verdict)
{
	json_t *result;
	size_t i;

	json_array_foreach (results, i, result)
		if (strcmp(text_of(result, "verdict"), verdict) == 0)
			return true;
	return false;
}

static void print_json(json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
}

static int check_boards(
	struct cli *cli, const char *name, const struct check_options *options, bool json)
{
	json_t *results = json_array(), *board;
	const char *each;
	struct err e;
	int status;

	if (cli_load(cli, &e) || (name && !cli_board(cli, name, &e))) {
		json_decref(results);
		return cli_fail(&e);
	}
	json_object_foreach (json_object_get(cli->config, "boards"), each, board)
		if (!name || strcmp(each, name) == 0)
			check_one(cli, board, options, json, results);
	if (json)
		print_json(results);
	status = any_is(results, "fail")   ? EXIT_BENCH
		 : any_is(results, "busy") ? EXIT_BUSY
					   : EXIT_PASS;
	json_decref(results);
	return status;
}

/* --- scan ------------------------------------------------------------------------------------- */

static void print_found(const json_t *one)
{
	const char *at = text_of(one, "at"), *conf = text_of(one, "conf");
	const char *mend = text_of(one, "mend");
	char *line = NULL;

	if (asprintf(&line, "%s%s%s", text_of(one, "what"), *at ? ", at " : "", at) < 0)
		return;
	print_wrapped(line, (unsigned)printf("  "), INDENT);
	free(line);
	/* whole, to be copied */
	if (*conf)
		printf("      %s\n", conf);
	if (*mend)
		print_wrapped(mend, (unsigned)printf("      to mend: "), INDENT + 9);
}

/* What drivers that offer this above all have found; true: something. */
static bool print_group(const json_t *all, const char *capability)
{
	const char *name;
	json_t *driver, *one;
	size_t i;
	bool any = false;

	json_object_foreach ((json_t *)(uintptr_t)all, name, driver) {
		json_t *found = json_object_get(driver, "found");

		if (strcmp(json_string_value(json_array_get(json_object_get(driver, "caps"), 0)),
			    capability) != 0)
			continue;
		if (json_array_size(found) || json_object_get(driver, "error")) {
			printf("%s: %s (%s)\n", capability, name, text_of(driver, "help"));
			any = true;
		}
		json_array_foreach (found, i, one)
			print_found(one);
		if (json_object_get(driver, "error"))
			print_wrapped(text_of(driver, "error"), (unsigned)printf("  cannot look: "),
				INDENT);
	}
	return any;
}

static void print_looked_for(json_t *all)
{
	const char *name;
	json_t *driver;

	puts("Nothing was found on this host. Looked for:");
	json_object_foreach (all, name, driver)
		print_wrapped(text_of(driver, "help"), (unsigned)printf("  %-14s ", name), 17);
	if (json_object_size(all) == 0)
		puts("  nothing: no driver can look");
}

static int scan(bool json)
{
	static const char *const groups[] = {"power", "console", "probe", "trigger", "snapshot",
		"transport", "meter", "reset", "strap", "supply", "modem"};
	json_t *all = NULL;
	bool any = false;
	struct err e;

	if (cli_scan(&all, &e))
		return cli_fail(&e);
	if (json)
		print_json(all);
	for (size_t i = 0; !json && i < sizeof(groups) / sizeof(*groups); i++)
		any |= print_group(all, groups[i]);
	if (!json && !any)
		print_looked_for(all);
	json_decref(all);
	return EXIT_PASS;
}

int cli_check(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"json", no_argument, NULL, 'j'},
		{"no-switch", no_argument, NULL, 'n'},
		{"scan", no_argument, NULL, 's'},
		{NULL, 0, NULL, 0},
	};
	struct check_options how = {0};
	bool json = false, scanning = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'n':
			how.no_switch = true;
			break;
		case 's':
			scanning = true;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	if (argc - optind > 1 || (scanning && (optind < argc || how.no_switch)))
		return cli_usage(argv[0], "expected a board, none for all, or --scan alone");
	return scanning ? scan(json)
			: check_boards(cli, optind < argc ? argv[optind] : NULL, &how, json);
}
