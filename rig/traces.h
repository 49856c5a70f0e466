/*
 * Traces of uncut updates that runs left behind, so that a plan can say what a campaign would cut
 * without a board. A cache: below <state_dir>/.traces/<board type>/ a file <key>.trace, in which a
 * ":" of the key is "--", and beside it <key>.json, which says what the trace was made with. It may
 * be removed at any time.
 */
#ifndef RIG_TRACES_H
#define RIG_TRACES_H

#include <jansson.h>

struct err;

#define TRACES_MAX 200      /* kept per board type */
#define TRACES_NAME_MAX 128 /* bytes of a board type, and of a key */

/*
 * Keeps a copy of the operation log at path as the trace of the transition key ("1.0.0:2.0.0") on
 * boards of board_type, in the place of an earlier one. identity is the caller's text for what the
 * trace depends on: the hashes of the images concerned. meta (may be NULL) is kept with it. Where
 * there are then more than TRACES_MAX, the oldest go. Several processes may do this at once.
 *
 * ERR_USAGE when board_type or key are not of 1 to TRACES_NAME_MAX letters, digits and "._+-", in a
 * key also ":", or begin with "."; ERR_IO, ERR_NOMEM. After a failure what was kept of this key may
 * be gone, but is never half there.
 */
int traces_save(const char *state_dir, const char *board_type, const char *key,
	const char *identity, const char *path, const json_t *meta, struct err *e);

/*
 * Finds the trace that was kept with the same identity. *path is allocated, and the caller's to
 * free; *meta is a new reference (null when there was none). The file stays as it is until the
 * next traces_save().
 *
 * ERR_USAGE when there is none: none was kept, it was made with another identity, it is damaged, or
 * the names are none that could be kept; the message says which. ERR_NOMEM. On failure *path and
 * *meta are NULL.
 */
int traces_find(const char *state_dir, const char *board_type, const char *key,
	const char *identity, char **path, json_t **meta, struct err *e);

#endif
