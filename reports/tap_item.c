#include "tap_item.h"

#include "yaml.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define SUBTEST_INDENT 4

struct tap_line {
	char *text; /* of a point: what comes behind its number; each line of it with its end */
	char *name; /* of a point that failed, else NULL */
	bool is_point, ok, stays;
};

/* --- writing ------------------------------------------------------------------------------ */

void tap_put_escaped(FILE *out, const char *text, bool escape)
{
	for (const char *p = text; *p; p++) {
		if (escape && (*p == '#' || *p == '\\'))
			putc('\\', out);
		putc((unsigned char)*p < ' ' || *p == 0x7f ? ' ' : *p, out);
	}
}

static void put_comment(FILE *out, int indent, const char *text)
{
	fprintf(out, "%*s# ", indent, "");
	tap_put_escaped(out, text ? text : "(out of memory)", false);
	putc('\n', out);
}

void tap_put_comment(FILE *out, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	put_comment(out, 0, text);
	free(text);
}

static void put_number(FILE *out, int indent, bool ok, unsigned number)
{
	fprintf(out, "%*s%s %u", indent, "", ok ? "ok" : "not ok", number);
}

/* What comes behind a point's number. */
static void put_rest(FILE *out, int indent, const struct tap_point *p)
{
	fputs(" - ", out);
	tap_put_escaped(out, p->text, true);
	if (p->more) {
		fputs(" (", out);
		tap_put_escaped(out, p->more, true);
		putc(')', out);
	}
	if (p->skip) {
		fputs(" # SKIP ", out);
		tap_put_escaped(out, p->skip, true);
	}
	putc('\n', out);
	if (json_object_size(p->diag) == 0)
		return;
	fprintf(out, "%*s---\n", indent + 2, "");
	yaml_write(out, p->diag, indent + 2);
	fprintf(out, "%*s...\n", indent + 2, "");
}

void tap_put_point(FILE *out, unsigned number, const struct tap_point *p)
{
	put_number(out, 0, p->ok, number);
	put_rest(out, 0, p);
}

/* --- an item ------------------------------------------------------------------------------ */

struct tap_item *tap_item_create(const char *board, const char *key, const char *title)
{
	struct tap_item *it = calloc(1, sizeof(*it));

	if (!it)
		return NULL;
	it->board = strdup(board ? board : "");
	it->key = strdup(key ? key : "?");
	it->title = title ? strdup(title) : NULL;
	if (it->board && it->key && (it->title || !title))
		return it;
	tap_item_destroy(it);
	return NULL;
}

static void free_line(struct tap_line *line)
{
	free(line->text);
	free(line->name);
}

static void clear_trial(struct tap_trial *trial)
{
	free(trial->key);
	json_decref(trial->cuts);
	json_decref(trial->findings);
	json_decref(trial->last_point);
	memset(trial, 0, sizeof(*trial));
}

void tap_item_destroy(struct tap_item *it)
{
	if (!it)
		return;
	clear_trial(&it->trial);
	for (size_t i = 0; i < it->line_count; i++)
		free_line(&it->lines[i]);
	free(it->lines);
	free(it->board);
	free(it->key);
	free(it->title);
	json_decref(it->end);
	free(it);
}

/* Adds a line, whose text and name are stolen. */
static void add_line(struct tap_item *it, const struct tap_line *line)
{
	if (it->line_count == it->line_space) {
		size_t space = it->line_space ? it->line_space * 2 : 16;
		struct tap_line *lines = realloc(it->lines, space * sizeof(*lines));

		if (!lines) {
			it->nomem = true;
			free(line->text);
			free(line->name);
			return;
		}
		it->lines = lines;
		it->line_space = space;
	}
	it->lines[it->line_count++] = *line;
	it->nomem = it->nomem || !line->text;
}

static void add_comment(struct tap_item *it, const char *words)
{
	struct tap_line line = {0};
	size_t size;
	FILE *out = open_memstream(&line.text, &size);

	if (out) {
		put_comment(out, SUBTEST_INDENT, words);
		fclose(out);
	}
	add_line(it, &line);
}

void tap_item_comment(struct tap_item *it, const char *fmt, ...)
{
	char *words = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&words, fmt, ap) < 0)
		words = NULL;
	va_end(ap);
	add_comment(it, words);
	free(words);
}

void tap_item_comments(struct tap_item *it, const char *lines)
{
	for (const char *end; (end = strchr(lines, '\n')); lines = end + 1)
		tap_item_comment(it, "%.*s", (int)(end - lines), lines);
}

static void count_point(struct tap_item *it, bool ok)
{
	it->points++;
	it->failed += !ok;
}

void tap_item_point(struct tap_item *it, const struct tap_point *p)
{
	struct tap_line line = {.is_point = true, .ok = p->ok, .stays = p->stays};
	size_t size;
	FILE *out = open_memstream(&line.text, &size);

	if (out) {
		put_rest(out, SUBTEST_INDENT, p);
		fclose(out);
	}
	if (!p->ok)
		line.name = strdup(p->text);
	count_point(it, p->ok);
	add_line(it, &line);
}

void tap_item_trial(struct tap_item *it, const char *key)
{
	clear_trial(&it->trial);
	if (!key)
		return;
	it->trial.key = strdup(key);
	it->trial.cuts = json_array();
	it->trial.findings = json_array();
	it->nomem = it->nomem || !it->trial.key;
}

void tap_item_resume(struct tap_item *it)
{
	size_t kept = 0;

	clear_trial(&it->trial);
	json_decref(it->end);
	it->end = NULL;
	it->points = it->failed = 0;
	for (size_t i = 0; i < it->line_count; i++) {
		if (!it->lines[i].stays) {
			free_line(&it->lines[i]);
			continue;
		}
		count_point(it, it->lines[i].ok);
		it->lines[kept++] = it->lines[i];
	}
	it->line_count = kept;
}

json_t *tap_item_failed(const struct tap_item *it)
{
	json_t *names = json_array();

	for (size_t i = 0; i < it->line_count; i++)
		if (it->lines[i].name)
			json_array_append_new(names, json_string(it->lines[i].name));
	return names;
}

static void write_subtest(const struct tap_item *it, FILE *out, const char *title)
{
	unsigned number = 0;

	fputs("# Subtest: ", out);
	tap_put_escaped(out, title, false);
	putc('\n', out);
	for (size_t i = 0; i < it->line_count; i++) {
		if (it->lines[i].is_point)
			put_number(out, SUBTEST_INDENT, it->lines[i].ok, ++number);
		fputs(it->lines[i].text ? it->lines[i].text : "", out);
	}
	fprintf(out, "%*s1..%u\n", SUBTEST_INDENT, "", number);
}

void tap_item_write(
	const struct tap_item *it, FILE *out, unsigned number, const struct tap_point *own)
{
	if (it->points > 0)
		write_subtest(it, out, own->text);
	else /* comments of an item that has no points stand beside its own point */
		for (size_t i = 0; i < it->line_count; i++)
			if (it->lines[i].text)
				fputs(it->lines[i].text + SUBTEST_INDENT, out);
	tap_put_point(out, number, own);
}
