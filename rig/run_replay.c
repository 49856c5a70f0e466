#include "run_replay.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_quoted(FILE *out, const char *word)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-_./:,=+@%";

	if (*word && word[strspn(word, plain)] == '\0') {
		fputs(word, out);
		return;
	}
	fputc('\'', out);
	for (; *word; word++)
		if (*word == '\'')
			fputs("'\\''", out);
		else
			fputc(*word, out);
	fputc('\'', out);
}

static void put_option(FILE *out, const char *name, const char *value)
{
	if (!value)
		return;
	fprintf(out, " %s ", name);
	put_quoted(out, value);
}

json_t *run_replay(const json_t *job, const char *board, const json_t *item, const char *witness,
	const char *cut)
{
	const json_t *options = json_object_get(job, "options");
	const char *shown = json_string_value(json_object_get(job, "scenario_as_given"));
	const json_t *cuts = json_object_get(options, "cuts");
	char *text = NULL, number[32];
	size_t len, i;
	json_t *command, *asked;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return json_null();
	fputs("rig", out);
	put_option(out, "--config", json_string_value(json_object_get(job, "config_as_given")));
	fputs(" run ", out);
	put_quoted(out, shown ? shown : json_string_value(json_object_get(job, "scenario")));
	put_option(out, "--board", board);
	if (json_object_get(item, "from"))
		put_option(out, "--only", json_string_value(json_object_get(item, "key")));
	put_option(out, "--cut", witness);
	put_option(out, "--cut", cut);
	json_array_foreach (json_object_get(options, "cut"), i, asked)
		if (!cut)
			put_option(out, "--cut", json_string_value(asked));
	if (!cut && json_is_integer(cuts) && json_integer_value(cuts) != RUN_DEFAULT_CUTS) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(cuts));
		put_option(out, "--cuts", number);
	} else if (!cut && json_is_string(cuts)) {
		put_option(out, "--cuts", json_string_value(cuts));
	}
	snprintf(number, sizeof(number), "%lld",
		(long long)json_integer_value(json_object_get(options, "seed")));
	put_option(out, "--seed", number);
	fclose(out);
	command = json_string(text);
	free(text);
	return command;
}

json_t *run_command(const json_t *job, const char *command, const char *board)
{
	char *text = NULL;
	size_t len;
	json_t *line;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return json_null();
	fputs("rig", out);
	put_option(out, "--config", json_string_value(json_object_get(job, "config_as_given")));
	fprintf(out, " %s ", command);
	put_quoted(out, board);
	fclose(out);
	line = json_string(text);
	free(text);
	return line;
}
