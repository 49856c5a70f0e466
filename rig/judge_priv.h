/*
 * Inside the judge: the table of findings, a trial as it is read, and a claim in words. judge.c has
 * the shape of observations and the whole; judge_trial.c reads; judge_bench.c, judge_device.c and
 * judge_after.c have the findings, by what they are about; judge_writes.c those about operations.
 */
#ifndef RIG_JUDGE_PRIV_H
#define RIG_JUDGE_PRIV_H

#include "judge.h"

#include <jansson.h>
#include <stdbool.h>

#define JUDGE_TEXT_MAX 512

/*
 * Constant, function, name, verdict when not ok. In this order they are looked for: of several
 * names for one cause the first that fits is given.
 */
#define JUDGE_FINDINGS(X)                                                                          \
	X(BENCH_ERROR, bench_error, "bench-error", VERDICT_ERROR)                                  \
	X(CUT_SKEWED, cut_skewed, "cut-skewed", VERDICT_ERROR)                                     \
	X(CUT_UNPLACED, cut_unplaced, "cut-unplaced", VERDICT_INCONCLUSIVE)                        \
	X(CUT_MISSED, cut_missed, "cut-missed", VERDICT_INCONCLUSIVE)                              \
	X(NOT_SEEN, not_seen, "not-seen", VERDICT_INCONCLUSIVE)                                    \
	X(BOOT_LOOP, boot_loop, "boot-loop", VERDICT_FAIL)                                         \
	X(BRICKED, bricked, "bricked", VERDICT_FAIL)                                               \
	X(UNRESPONSIVE, unresponsive, "unresponsive", VERDICT_FAIL)                                \
	X(MIXED_IMAGE, mixed_image, "mixed-image", VERDICT_FAIL)                                   \
	X(IMAGE_DAMAGED, image_damaged, "image-damaged", VERDICT_FAIL)                             \
	X(NOT_REFUSED, not_refused, "not-refused", VERDICT_FAIL)                                   \
	X(DOWNGRADED, downgraded, "downgraded", VERDICT_FAIL)                                      \
	X(UPDATE_FAILED, update_failed, "update-failed", VERDICT_FAIL)                             \
	X(WRONG_VERSION, wrong_version, "wrong-version", VERDICT_FAIL)                             \
	X(NOT_REVERTED, not_reverted, "not-reverted", VERDICT_FAIL)                                \
	X(FALSE_VERSION, false_version, "false-version", VERDICT_FAIL)                             \
	X(COMMIT_NOT_MONOTONE, commit_not_monotone, "commit-not-monotone", VERDICT_FAIL)           \
	X(ILLEGAL_STATE, illegal_state, "illegal-state", VERDICT_FAIL)                             \
	X(FALLBACK_LOST, fallback_lost, "fallback-lost", VERDICT_FAIL)                             \
	X(DATA_LOST, data_lost, "data-lost", VERDICT_FAIL)                                         \
	X(LATE_REVERT, late_revert, "late-revert", VERDICT_FAIL)                                   \
	X(UNSTABLE, unstable, "unstable", VERDICT_FAIL)                                            \
	X(RETRY_FAILS, retry_fails, "retry-fails", VERDICT_FAIL)                                   \
	X(LATER_FAILS, later_fails, "later-fails", VERDICT_FAIL)                                   \
	X(WROTE_OUTSIDE, wrote_outside, "wrote-outside", VERDICT_FAIL)                             \
	X(PROGRAMMED_UNERASED, programmed_unerased, "programmed-unerased", VERDICT_FAIL)

enum judge_finding {
#define X(constant, function, name, verdict) JUDGE_##constant,
	JUDGE_FINDINGS(X)
#undef X
		JUDGE_FINDING_COUNT
};

/* Observations of the right shape, and what is asked of them again and again. */
struct judge_trial {
	const json_t *all;
	const char *from, *to;
	bool refuse, downgrade, revert; /* what is expected */
	bool cut;                       /* the power went during the update */
	const json_t *last;             /* the boot in which the device came to rest, or NULL */
	const char *runs;               /* the version it runs then, or NULL */
	bool bad[JUDGE_FINDING_COUNT];  /* of the findings before this one: it did not hold */
};

/* All three are filled in whatever the outcome; what counts is seen to by judge(). */
struct judge_claim {
	char what[JUDGE_TEXT_MAX], expected[JUDGE_TEXT_MAX], seen[JUDGE_TEXT_MAX];
};

/* The claim does not apply to these observations, holds, or does not. */
enum judge_outcome { JUDGE_SKIP, JUDGE_OK, JUDGE_BAD };

/* One function a finding. */
#define X(constant, function, name, verdict)                                                       \
	enum judge_outcome judge_##function(const struct judge_trial *t, struct judge_claim *c);
JUDGE_FINDINGS(X)
#undef X

/* --- judge_trial.c: all borrow from the observations ----------------------------------------- */

void judge_trial_read(struct judge_trial *t, const json_t *observations);

/* A field, or NULL when it is missing or null. */
const json_t *judge_get(const json_t *table, const char *name);
const char *judge_text(const json_t *table, const char *name);
json_int_t judge_number(const json_t *table, const char *name); /* 0 when missing */
bool judge_is_true(const json_t *table, const char *name);
bool judge_is_false(const json_t *table, const char *name);

/* Both are there and equal. */
bool judge_same(const char *a, const char *b);

/* Formats a claim's text, cut short where it is too long. */
void judge_say(char text[JUDGE_TEXT_MAX], const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Whether the boot reset more often than the limits allow. */
bool judge_over_limit(const struct judge_trial *t, const json_t *boot);

/* Whether the device says that what runs is only on trial, so that a reboot may go back. */
bool judge_on_trial(const struct judge_trial *t);

/* A boot ("not ready after 3 resets") and what stands in flash ("the image of 1.0.0"), in words. */
void judge_say_boot(char text[JUDGE_TEXT_MAX], const json_t *boot);
void judge_say_flash(char text[JUDGE_TEXT_MAX], const json_t *flash);

#endif
