/*
 * A board's lock, and its quarantine: two files below <state_dir>/.boards/<board>/.
 *
 * `lock` is held by the board's keeper as an open file description lock (fcntl(2), F_OFD_SETLK),
 * which the kernel drops with the keeper's last descriptor, however it ends. Its text is one JSON
 * object: who holds it or held it last, and whether the board is "dirty" (taken, perhaps powered)
 * or "clean" (made safe). A lock that nobody holds and that says dirty was left by a keeper that
 * was killed: whoever takes it makes the board safe first.
 *
 * `quarantine` says why nobody may use the board, until a person removes it.
 */
#ifndef RIG_LOCK_H
#define RIG_LOCK_H

#include "err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct lock;

enum lock_state {
	LOCK_FREE,        /* nobody holds it, and the board was left safe */
	LOCK_LEASED,      /* a keeper lives */
	LOCK_DIRTY,       /* its keeper was killed; not made safe yet */
	LOCK_QUARANTINED, /* nobody may use it */
};

/* "free", "leased", "dirty", "quarantined" */
const char *lock_state_name(enum lock_state state);

/*
 * The folder kept for a board over runs, <state_dir>/.boards/<board>; into buf. create: makes it
 * and its parents. ERR_IO; ERR_USAGE when the name is not one
 * of letters, digits, '-', '_' and '.', not beginning with '.'.
 */
int lock_board_dir(const char *state_dir, const char *board, bool create, char *buf, size_t size,
	struct err *e);

/*
 * Takes the board's lock for holder ({user, host, pid, what}; borrowed) until expires (RFC 3339
 * text, or NULL), and marks it dirty on disk before it returns. *left, when not NULL, gets the
 * text of a keeper that was killed before (a new object: make safe before anything else), else
 * NULL. ERR_BUSY names the holder and since when; ERR_IO; ERR_NOMEM. Does not look at quarantine.
 */
int lock_take(const char *state_dir, const char *board, const json_t *holder, const char *expires,
	struct lock **out, json_t **left, struct err *e);

/* Writes another expiry into the text. */
int lock_renew(struct lock *lock, const char *expires, struct err *e);

/*
 * Lets the lock go and frees it; NULL is accepted. clean: the board was made safe; else the text
 * stays dirty. On ERR_IO the lock is gone all the same, and dirty.
 */
int lock_release(struct lock *lock, bool clean, struct err *e);

/*
 * Looks without taking. *text, when not NULL, gets a new object or NULL: the lock's text for
 * LOCK_LEASED and LOCK_DIRTY, the quarantine's for LOCK_QUARANTINED ({board, since, reason,
 * holder}). Returns 0; ERR_IO; ERR_USAGE for a bad name.
 */
int lock_look(const char *state_dir, const char *board, enum lock_state *state, json_t **text,
	struct err *e);

/* Writes the quarantine file (fsync): reason is one line. holder may be NULL, and is borrowed. */
int lock_quarantine(const char *state_dir, const char *board, const char *reason,
	const json_t *holder, struct err *e);

/* Removes it, on a person's word. ERR_USAGE when the board is not quarantined. */
int lock_clear_quarantine(const char *state_dir, const char *board, struct err *e);

#endif
