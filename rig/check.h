/*
 * `rig check`: a board's devices tried one by one through its keeper, and then what belongs
 * together: whether the power switches, and what sees it.
 */
#ifndef RIG_CHECK_H
#define RIG_CHECK_H

#include "cli.h"

struct check_options {
	bool no_switch;
};

/*
 * Tries a board of the configuration, under a lease of its own unless it is leased by hand. The
 * result is a new reference:
 *
 *   {"board", "type", "verdict": "ok"|"warn"|"fail"|"busy",
 *    "checks": [{"what": capability or "board", "driver": or left out, "verdict", "says": [text …],
 *                "mend": [text …]}, …]}
 *
 * A board that somebody uses is "busy", with a check that says who.
 */
json_t *check_board(struct cli *cli, json_t *board, const struct check_options *options);

/* --- what its parts share: check.c, check_power.c, check_mend.c */

struct check {
	struct cli *cli;
	json_t *board;
	const char *name;
	struct check_options options;
	struct rpc *keeper;
	bool leased_by_hand; /* the keeper was there before us */
	bool quarantined;
	bool probe_waits;   /* it is tried when the board has power, if it gets it */
	const json_t *caps; /* what the board can do, each with its driver */
	json_t *checks;
	/* what the keeper tells while the power is switched */
	size_t console_bytes;
	char console_line[200];
	char back[200]; /* what came back, if anything did */
};

enum check_verdict { CHECK_OK, CHECK_WARN, CHECK_FAIL, CHECK_BUSY };

const char *check_verdict_name(enum check_verdict verdict);

/* The check of that name, made when it is not there; borrowed. */
json_t *check_of(struct check *c, const char *what);

/* Whether the board has the device, and nothing was wrong with it so far. */
bool check_works(const struct check *c, const char *what);

/* Adds a text, and makes the verdict at least as bad. Does not own check. */
void check_say(json_t *check, enum check_verdict verdict, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void check_mend(json_t *check, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for an error, without what the keeper has put in front of it, and with what can be said
 * of how to mend it. False: nothing can. */
bool check_error(const struct check *c, json_t *check, const char *before, const struct err *e);

/* Tries the probe, unless that was done. */
void check_probe(struct check *c);

/* Switches the board on and off, if that may be done, and says what was seen of it. */
void check_power(struct check *c);

/* Adds what may help against an error of a driver: a group, udev rules, what there is instead.
 * False: nothing is known of such an error. */
bool check_suggest(json_t *check, const char *driver, const char *error);

#endif
