/*
 * rig: the command line.
 */
#include "cli.h"

#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef RIG_VERSION
#define RIG_VERSION "0.1.0"
#endif

static const struct command commands[] = {
	{"boards", "[--json]", "every board: free, leased by whom, quarantined why", cli_boards,
		NULL},
	{"cancel", "RUN", "stop a run; its boards are made safe", cli_cancel, NULL},
	{"check", "[BOARD] | --scan [options]", "try a board's devices; find what is here",
		cli_check, cli_check_options},
	{"console", "BOARD", "look into a board's console; Ctrl-] leaves", cli_console, NULL},
	{"drivers", "[--json]", "what can be driven, and every driver's options", cli_drivers,
		NULL},
	{"flash", "BOARD VERSION", "put a release on it as the factory does, all else erased",
		cli_flash, NULL},
	{"lock", "BOARD [--for 2h]", "lease a board by hand", cli_lock, NULL},
	{"plan", "SCENARIO [--json] [options]", "what a run would do", cli_plan, cli_run_options},
	{"power", "BOARD on|off|cycle|get", "switch a board's power by hand", cli_power, NULL},
	{"report", "RUN [--format tap]", "a report, made from the run's journal", cli_report,
		cli_report_options},
	{"reset", "BOARD", "reset a board through its probe", cli_reset, NULL},
	{"run", "SCENARIO [options]", "run a scenario; TAP on standard output", cli_run,
		cli_run_options},
	{"runs", "[--json]", "present and past runs", cli_runs, NULL},
	{"safe-state", "[BOARD]", "make a board, or all, safe now, whoever uses it", cli_safe_state,
		NULL},
	{"show", "RUN", "one run, for people", cli_show, NULL},
	{"unlock", "BOARD", "end a lease by hand; the board is made safe", cli_unlock, NULL},
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static void help(FILE *out)
{
	fputs("rig: hardware-in-the-loop test rig controller for firmware updates\n\n"
	      "usage: rig [--config FILE] COMMAND …\n\n",
		out);
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		fprintf(out, "  %-11s %-26s %s\n", commands[i].name, commands[i].args,
			commands[i].help);
	fputs("\nThe bench is described by --config FILE, else $RIG_CONFIG, ./rig.conf, "
	      "/etc/rig/rig.conf.\n"
	      "Exit status: 0 passed, 1 a test failed, 2 usage or configuration, 3 the bench failed, "
	      "4 busy,\n5 inconclusive, 130 interrupted. `rig COMMAND --help` says more.\n",
		out);
}

/*
 * A descriptor that was closed would be given to the next file or socket, which then got what is
 * printed. Opened for reading, standard output still refuses what is written to it.
 */
static int fill_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= STDERR_FILENO);
	return fd < 0 ? -1 : close(fd);
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--help") == 0)
			return true;
	return false;
}

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	const struct command *command;
	static struct cli cli; /* what a command holds lives until the process ends */
	char name[64];
	int opt, status;

	if (fill_standard_descriptors())
		return EXIT_BENCH;
	signal(SIGPIPE, SIG_IGN);
	while ((opt = getopt_long(argc, argv, "+hv", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			cli.config_arg = optarg;
			break;
		case 'h':
			help(stdout);
			return EXIT_PASS;
		case 'v':
			puts("rig " RIG_VERSION);
			return EXIT_PASS;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind >= argc) {
		help(stderr);
		return EXIT_USAGE;
	}
	command = find(argv[optind]);
	if (!command) {
		fprintf(stderr, "rig: there is no command '%s'; `rig --help` lists them\n",
			argv[optind]);
		return EXIT_USAGE;
	}
	argc -= optind;
	argv += optind;
	snprintf(name, sizeof(name), "rig %s", command->name);
	argv[0] = name; /* getopt and cli_usage() begin their messages with it */
	if (wants_help(argc, argv)) {
		printf("usage: %s %s\n\n%s\n%s", name, command->args, command->help,
			command->more ? command->more : "");
		return EXIT_PASS;
	}
	optind = 0; /* getopt starts again on the command's own arguments */
	uv_loop_init(&cli.loop);
	status = command->run(&cli, argc, argv);
	if (fflush(stdout) != 0 && status == EXIT_PASS)
		status = EXIT_BENCH;
	return status;
}
