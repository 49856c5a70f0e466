#include "pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>

/* Steps of backtracking allowed on one line: some milliseconds, so that no pattern stops the loop.
 */
#define STEPS_MAX 1000000

struct pattern {
	pcre2_code *code;
	pcre2_match_data *data;
	pcre2_match_context *limits;
	uint32_t groups;
};

int pattern_compile(const char *text, size_t len, struct pattern **out, struct err *e)
{
	struct pattern *p = calloc(1, sizeof(*p));
	PCRE2_SIZE at = 0;
	PCRE2_UCHAR why[200];
	int n = 0;

	*out = NULL;
	if (!p)
		return err_set(e, ERR_NOMEM, "out of memory");
	p->code = pcre2_compile((PCRE2_SPTR)text, len, PCRE2_NEVER_UTF, &n, &at, NULL);
	if (!p->code) {
		free(p);
		pcre2_get_error_message(n, why, sizeof(why));
		return err_set(e, ERR_USAGE, "pattern /%.200s/: %s at character %zu", text,
			(const char *)why, (size_t)at + 1);
	}
	/* without JIT (no such processor) it is slower, no more */
	pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
	pcre2_pattern_info(p->code, PCRE2_INFO_CAPTURECOUNT, &p->groups);
	p->groups++;
	p->data = pcre2_match_data_create_from_pattern(p->code, NULL);
	p->limits = pcre2_match_context_create(NULL);
	if (!p->data || !p->limits) {
		pattern_free(p);
		return err_set(e, ERR_NOMEM, "out of memory");
	}
	pcre2_set_match_limit(p->limits, STEPS_MAX);
	*out = p;
	return 0;
}

void pattern_free(struct pattern *pattern)
{
	if (!pattern)
		return;
	pcre2_match_context_free(pattern->limits);
	pcre2_match_data_free(pattern->data);
	pcre2_code_free(pattern->code);
	free(pattern);
}

int pattern_match(struct pattern *pattern, const char *line, size_t len, size_t start,
	bool complete, struct err *e)
{
	uint32_t options = complete ? 0 : PCRE2_PARTIAL_HARD;
	PCRE2_UCHAR why[200];
	int n;

	n = pcre2_match(pattern->code, (PCRE2_SPTR)line, len, start, options, pattern->data,
		pattern->limits);
	if (n == PCRE2_ERROR_JIT_STACKLIMIT)
		n = pcre2_match(pattern->code, (PCRE2_SPTR)line, len, start, options | PCRE2_NO_JIT,
			pattern->data, pattern->limits);
	if (n >= 0)
		return 1;
	if (n == PCRE2_ERROR_NOMATCH || n == PCRE2_ERROR_PARTIAL)
		return 0;
	pcre2_get_error_message(n, why, sizeof(why));
	return err_set(e, ERR_USAGE, "pattern: %s on a line of %zu bytes; make it simpler",
		(const char *)why, len);
}

size_t pattern_groups(const struct pattern *pattern)
{
	return pattern->groups;
}

bool pattern_group(const struct pattern *pattern, size_t n, size_t *begin, size_t *end)
{
	PCRE2_SIZE *at = pcre2_get_ovector_pointer(pattern->data);

	*begin = *end = 0;
	if (n >= pattern->groups || at[2 * n] == PCRE2_UNSET)
		return false;
	*begin = at[2 * n];
	/* \K can put the beginning behind the end */
	*end = at[2 * n + 1] < *begin ? *begin : at[2 * n + 1];
	return true;
}
