/*
 * rig-keeper --fd N      keep a board; the owner is connected at descriptor N (docs/protocol.md)
 * rig-keeper --drivers   print what the drivers offer and take, as JSON
 * rig-keeper --scan      print what the drivers find on this host, as JSON
 */
#include "../drivers/driver.h"
#include "keeper.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steals what. */
static int print(json_t *what)
{
	int bad = json_dumpf(what, stdout, JSON_INDENT(1) | JSON_SORT_KEYS) != 0;

	bad |= putchar('\n') == EOF || fflush(stdout) != 0;
	json_decref(what);
	return bad;
}

static int keep(const char *number)
{
	char *end;
	long fd = strtol(number, &end, 10);
	struct keeper_options options = {.fd = (int)fd, .find_driver = driver_find};

	if (*number == '\0' || *end != '\0' || fd < 0 || fd > 1 << 20 ||
		fcntl(options.fd, F_SETFD, FD_CLOEXEC) != 0) {
		fprintf(stderr, "rig-keeper: --fd %s: no open descriptor\n", number);
		return 2;
	}
	return keeper_run(&options);
}

int main(int argc, char **argv)
{
	struct err e;

	if (drivers_check(&e) != 0) {
		fprintf(stderr, "rig-keeper: %s\n", e.msg);
		return 1;
	}
	if (argc == 2 && strcmp(argv[1], "--drivers") == 0)
		return print(driver_catalogue());
	if (argc == 2 && strcmp(argv[1], "--scan") == 0)
		return print(driver_scan(drivers));
	if (argc == 3 && strcmp(argv[1], "--fd") == 0)
		return keep(argv[2]);
	fprintf(stderr, "usage: rig-keeper --fd N | --drivers | --scan\n"
			"It is started by rig and rig-worker; docs/protocol.md says how.\n");
	return 2;
}
