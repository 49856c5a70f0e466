#include "phrase.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static json_int_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static bool has(const json_t *object, const char *name)
{
	return json_is_number(json_object_get(object, name));
}

/* A list of numbers with words behind them, divided by commas. */
static void put(FILE *out, const char **between, json_int_t n, const char *words)
{
	fprintf(out, "%s%" JSON_INTEGER_FORMAT " %s", *between, n, words);
	*between = ", ";
}

char *phrase_window(const json_t *record)
{
	json_int_t first = number(record, "first"), last = number(record, "last");
	const char *tear = json_string_value(json_object_get(record, "tear")), *between = ": ";
	char *text = NULL;
	size_t size, i;
	json_t *name;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (first == last)
		fprintf(out, "operation %" JSON_INTEGER_FORMAT, first);
	else
		fprintf(out, "operations %" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT, first,
			last);
	if (tear)
		fprintf(out, " %s", strcmp(tear, "any") == 0 ? "clean and torn" : tear);
	json_array_foreach (json_object_get(record, "findings"), i, name) {
		fprintf(out, "%s%s", between, json_string_value(name));
		between = ", ";
	}
	if (json_is_false(json_object_get(record, "whole")))
		fputs(" (how far it goes is not known)", out);
	fclose(out);
	return text;
}

static void put_cuts(FILE *out, const json_t *record)
{
	const json_t *tears = json_object_get(record, "tears");
	const char *between = "";

	put(out, &between, number(record, "cuts"), "distinct cuts landed");
	fprintf(out, ", at %" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT " positions",
		number(record, "positions"), number(record, "operations") + 1);
	between = ": ";
	put(out, &between, number(tears, "clean"), "clean");
	put(out, &between, number(tears, "torn"), "torn");
	if (json_is_boolean(json_object_get(record, "end")))
		fprintf(out, ", %s after the last operation",
			json_is_true(json_object_get(record, "end")) ? "one" : "none");
	fputc('\n', out);
}

static void put_metadata(FILE *out, const json_t *metadata)
{
	const char *between = ": ";

	if (!json_is_object(metadata))
		return;
	fprintf(out, "of %" JSON_INTEGER_FORMAT " metadata operations",
		number(metadata, "operations"));
	put(out, &between, number(metadata, "before"), "cut before");
	put(out, &between, number(metadata, "torn"), "torn");
	if (number(metadata, "untearable"))
		put(out, &between, number(metadata, "untearable"), "that cannot be torn");
	put(out, &between, number(metadata, "after"), "cut after");
	fputc('\n', out);
}

static void put_gap(FILE *out, const json_t *record)
{
	const json_t *at = json_object_get(record, "gap_at");

	fprintf(out, "largest gap %" JSON_INTEGER_FORMAT " positions", number(record, "gap"));
	if (json_array_size(at) == 2)
		fprintf(out, ", %" JSON_INTEGER_FORMAT " to %" JSON_INTEGER_FORMAT,
			json_integer_value(json_array_get(at, 0)),
			json_integer_value(json_array_get(at, 1)));
	fprintf(out, "; depth %" JSON_INTEGER_FORMAT, number(record, "depth"));
	if (number(record, "second"))
		fprintf(out, ", a second cut in %" JSON_INTEGER_FORMAT " trials",
			number(record, "second"));
	fputc('\n', out);
}

static void put_error(FILE *out, const json_t *record)
{
	const json_t *error = json_object_get(record, "landing_error");
	const char *between = "";

	if (has(error, "max")) {
		fprintf(out, "landing error at most %" JSON_INTEGER_FORMAT, number(error, "max"));
		if (has(error, "mean"))
			fprintf(out, ", %.2f in the mean",
				json_number_value(json_object_get(error, "mean")));
		between = "; ";
	}
	if (number(record, "unplaced"))
		put(out, &between, number(record, "unplaced"), "unplaced");
	if (*between)
		fputc('\n', out);
}

char *phrase_coverage(const json_t *record)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	put_cuts(out, record);
	put_metadata(out, json_object_get(record, "metadata"));
	put_gap(out, record);
	put_error(out, record);
	fclose(out);
	return text;
}

char *phrase_wear(const json_t *record)
{
	const char *between = "";
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	if (has(record, "erases_max")) {
		fprintf(out, "at most %" JSON_INTEGER_FORMAT " erases of one page",
			number(record, "erases_max"));
		if (has(record, "erases_page"))
			fprintf(out, " (page %" JSON_INTEGER_FORMAT ")",
				number(record, "erases_page"));
		between = ", ";
	}
	if (has(record, "relay_cycles"))
		put(out, &between, number(record, "relay_cycles"), "relay cycles");
	fclose(out);
	return text;
}
