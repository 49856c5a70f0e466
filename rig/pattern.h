/*
 * A PCRE2 pattern (pcre2pattern(3)), matched byte by byte against lines.
 */
#ifndef RIG_PATTERN_H
#define RIG_PATTERN_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>

struct pattern;

/* Returns 0 and a pattern to be freed in *out; ERR_USAGE says where the pattern is wrong. */
int pattern_compile(const char *text, size_t len, struct pattern **out, struct err *e);

/* NULL is accepted. */
void pattern_free(struct pattern *pattern);

/*
 * Looks for the pattern in line, beginning at offset start. While the line is not complete, only a
 * match that no further byte could change counts. Returns 1 when found, 0 when not, ERR_USAGE when
 * the pattern backtracks beyond all measure.
 */
int pattern_match(struct pattern *pattern, const char *line, size_t len, size_t start,
	bool complete, struct err *e);

/* Of the last match: how many groups there are, the whole match being number 0. */
size_t pattern_groups(const struct pattern *pattern);

/* Of the last match: where group n lies in the line. False when it took no part. */
bool pattern_group(const struct pattern *pattern, size_t n, size_t *begin, size_t *end);

#endif
