/*
 * The progress of a run on standard error, made from its journal records: what runs on each board,
 * how fast, how long it will take. One line that is rewritten on a terminal; else a line per
 * finished item or trial that failed.
 */
#ifndef RIG_PROGRESS_H
#define RIG_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct progress;

/*
 * terminal: out understands carriage return and erase-line. columns: how wide it is; 0: as wide as
 * it says itself. The line is never longer: a wrapped one could not be rewritten. NULL: out of
 * memory.
 */
struct progress *progress_create(FILE *out, bool terminal, unsigned columns);

/* Time is that of the records, t_mono_ns. */
void progress_record(struct progress *p, const json_t *record);

/*
 * A record of before the run was taken up again: it is counted, and nothing is printed for it; what
 * is void by the end should not have been said.
 */
void progress_past(struct progress *p, const json_t *record);

/*
 * Ends the line and prints the closing lines that a person reads, long ones wrapped at the columns
 * there are, or at 80 where out is no terminal and none were said. run_dir may be NULL.
 */
void progress_finish(struct progress *p, const char *run_dir);

void progress_destroy(struct progress *p);

#endif
