/*
 * Records of the journal in words for people, the same in every report. The text is the caller's
 * to free; NULL: out of memory. A field that is missing is left out.
 */
#ifndef RIG_PHRASE_H
#define RIG_PHRASE_H

#include <jansson.h>

/* Of a "window": "operations 5112-5118 torn: bricked". */
char *phrase_window(const json_t *record);

/* Of a "coverage": its counts in two to four lines, each ended by a line end, without its sentence.
 */
char *phrase_coverage(const json_t *record);

/* Of a "wear": "at most 12 erases of one page (page 127), 34 relay cycles". */
char *phrase_wear(const json_t *record);

#endif
