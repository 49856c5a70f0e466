/*
 * The command that does one trial again.
 */
#ifndef RIG_RUN_REPLAY_H
#define RIG_RUN_REPLAY_H

#include <jansson.h>

#define RUN_DEFAULT_CUTS 22

/*
 * A new string: "rig run SCENARIO --board B --only ITEM --cut CUT --seed N", quoted for a POSIX
 * shell, with the job's configuration where it was given. cut may be NULL; witness
 * (may be NULL) is a cut that has to come before it.
 */
json_t *run_replay(const json_t *job, const char *board, const json_t *item, const char *witness,
	const char *cut);

/* The same for a command that takes a board: "rig COMMAND BOARD". */
json_t *run_command(const json_t *job, const char *command, const char *board);

#endif
