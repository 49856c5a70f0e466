#include "cli.h"
#include "runs.h"

#include "../reports/report.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *field(const json_t *row, const char *name)
{
	const char *text = json_string_value(json_object_get(row, name));

	return text ? text : "";
}

int cli_runs(struct cli *cli, int argc, char **argv)
{
	bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
	json_t *runs, *run;
	size_t i;
	struct err e;

	if (argc > 1 && !json)
		return cli_usage(argv[0], "unknown argument '%s'", argv[1]);
	if (cli_load(cli, &e) || runs_list(cli_state_dir(cli), &runs, &e))
		return cli_fail(&e);
	if (json) {
		json_dumpf(runs, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		json_array_foreach (runs, i, run)
			printf("%-44s %-9s %-13s %7.1f s  %s\n", field(run, "id"),
				field(run, "state"), field(run, "verdict"),
				json_number_value(json_object_get(run, "seconds")),
				field(run, "reason"));
	}
	json_decref(runs);
	return EXIT_PASS;
}

/* Finds the run named by the only positional argument. */
static int named_run(struct cli *cli, const char *command, int argc, char **argv, char **id)
{
	struct err e;

	if (optind + 1 != argc)
		return cli_usage(command, "expected one run: an id, a part of one, or \"last\"");
	if (cli_load(cli, &e) || runs_find(cli_state_dir(cli), argv[optind], id, &e))
		return cli_fail(&e);
	return EXIT_PASS;
}

int cli_show(struct cli *cli, int argc, char **argv)
{
	char *id = NULL;
	struct err e;
	int status;

	optind = 1;
	status = named_run(cli, argv[0], argc, argv, &id);
	if (status == EXIT_PASS && runs_show(cli_state_dir(cli), id, stdout, &e))
		status = cli_fail(&e);
	free(id);
	return status;
}

const char cli_report_options[] =
	"\n"
	"  RUN              an id, a part of one, or last\n"
	"  --format F       tap (default)\n"
	"  --item FROM:TO   this item alone\n"
	"  --tap 13|14      version line of the TAP document (default 13)\n";

int cli_report(struct cli *cli, int argc, char **argv)
{
	static const struct option options[] = {
		{"format", required_argument, NULL, 'f'},
		{"item", required_argument, NULL, 'i'},
		{"tap", required_argument, NULL, 't'},
		{NULL, 0, NULL, 0},
	};
	struct report_options how = {.out = stdout};
	const struct report_format *format = report_find("tap");
	char *id = NULL, *path;
	long long version;
	struct err e;
	int opt, status;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'f':
			format = report_find(optarg);
			if (!format)
				return cli_usage(argv[0], "there is no format '%s'", optarg);
			break;
		case 'i':
			how.item = optarg;
			break;
		case 't':
			if (!cli_number(optarg, 13, 14, &version))
				return cli_usage(argv[0], "--tap: expected 13 or 14");
			how.tap_version = (int)version;
			break;
		default:
			return EXIT_USAGE;
		}
	}
	status = named_run(cli, argv[0], argc, argv, &id);
	if (status)
		return status;
	path = runs_path(cli_state_dir(cli), id, "journal.ndjson");
	if (!path || report_from_journal(format, &how, path, &e))
		status = path ? cli_fail(&e) : EXIT_BENCH;
	free(path);
	free(id);
	return status;
}

static void note_closed(void *arg, const struct err *why)
{
	(void)why;
	*(bool *)arg = true;
}

int cli_cancel(struct cli *cli, int argc, char **argv)
{
	static const struct rpc_handlers handlers = {cli_refuse_call, note_closed};
	bool closed = false;
	char *id = NULL, *path;
	struct rpc *rpc;
	struct err e;
	int fd, status;

	optind = 1;
	status = named_run(cli, argv[0], argc, argv, &id);
	if (status)
		return status;
	path = runs_path(cli_state_dir(cli), id, "worker.sock");
	fd = path ? rpc_connect_unix(path, &e) : -1;
	free(path);
	if (fd < 0) {
		fprintf(stderr, "rig: run %s is not running\n", id);
		free(id);
		return EXIT_USAGE;
	}
	rpc = rpc_create(&cli->loop, fd, &handlers, &closed);
	if (cli_call(cli, rpc, "cancel", json_object(), 10000, NULL, &e)) {
		free(id);
		return cli_fail(&e);
	}
	while (!closed) /* the worker ends when its boards are safe */
		uv_run(&cli->loop, UV_RUN_ONCE);
	printf("run %s is cancelled; its boards are safe\n", id);
	rpc_destroy(rpc);
	free(id);
	return EXIT_PASS;
}
