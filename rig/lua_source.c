/*
 * Just enough of Lua's syntax (reference manual 5.4, section 3.1 and 9) to find a key in a table
 * constructor: names, strings, comments and what nests.
 */
#include "lua_source.h"

#include "lua_data.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_STRING, TOKEN_OTHER };

struct scanner {
	const char *p; /* behind the token */
	int line;      /* at p */
	/* the token */
	enum token_kind kind;
	const char *text; /* a string's contents, as written */
	size_t len;
	int token_line;
};

static void advance(struct scanner *s, size_t n)
{
	for (; n > 0 && *s->p; n--)
		if (*s->p++ == '\n')
			s->line++;
}

/* The level of a long bracket that opens at p, or -1. */
static int long_level(const char *p)
{
	size_t level = *p == '[' ? strspn(p + 1, "=") : 0;

	return *p == '[' && p[1 + level] == '[' ? (int)level : -1;
}

/* Behind a long bracket that opens here; its contents are the token. */
static void skip_long(struct scanner *s, int level)
{
	advance(s, (size_t)level + 2);
	s->text = s->p;
	for (; *s->p; advance(s, 1)) {
		if (*s->p != ']' || strspn(s->p + 1, "=") != (size_t)level ||
			s->p[1 + level] != ']')
			continue;
		s->len = (size_t)(s->p - s->text);
		advance(s, (size_t)level + 2);
		return;
	}
	s->len = (size_t)(s->p - s->text);
}

static void skip_blank(struct scanner *s)
{
	for (;;) {
		if (isspace((unsigned char)*s->p)) {
			advance(s, 1);
		} else if (s->p[0] == '-' && s->p[1] == '-') {
			int level = long_level(s->p + 2);

			if (level >= 0) {
				advance(s, 2);
				skip_long(s, level);
			} else {
				advance(s, strcspn(s->p, "\n"));
			}
		} else {
			return;
		}
	}
}

static void quoted(struct scanner *s)
{
	char quote = *s->p;

	advance(s, 1);
	s->text = s->p;
	while (*s->p && *s->p != quote)
		advance(s, *s->p == '\\' ? 2 : 1);
	s->len = (size_t)(s->p - s->text);
	advance(s, 1);
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static void next(struct scanner *s)
{
	skip_blank(s);
	s->token_line = s->line;
	s->text = s->p;
	if (!*s->p) {
		s->kind = TOKEN_END;
		s->len = 0;
	} else if (is_word(*s->p)) {
		/* a number is a word here too: it is no key and nests nothing */
		s->kind = TOKEN_NAME;
		while (is_word(*s->p))
			advance(s, 1);
		s->len = (size_t)(s->p - s->text);
	} else if (*s->p == '"' || *s->p == '\'') {
		s->kind = TOKEN_STRING;
		quoted(s);
	} else if (long_level(s->p) >= 0) {
		s->kind = TOKEN_STRING;
		skip_long(s, long_level(s->p));
	} else {
		s->kind = TOKEN_OTHER;
		s->len = strchr("=~<>", *s->p) && s->p[1] == '=' ? 2 : 1;
		advance(s, s->len);
	}
}

static bool token_is(const struct scanner *s, const char *text)
{
	return s->kind != TOKEN_STRING && s->len == strlen(text) &&
	       strncmp(s->text, text, s->len) == 0;
}

/* +1 where something nests from this token on, -1 where it ends. */
static int nesting(const struct scanner *s)
{
	static const struct {
		const char *text;
		int step;
	} tokens[] = {{"{", 1}, {"(", 1}, {"[", 1}, {"}", -1}, {")", -1}, {"]", -1},
		{"function", 1}, {"if", 1}, {"do", 1}, {"repeat", 1}, {"end", -1}, {"until", -1}};

	for (size_t i = 0; i < sizeof(tokens) / sizeof(*tokens); i++)
		if (token_is(s, tokens[i].text))
			return tokens[i].step;
	return 0;
}

/* Goes over the rest of a field. True at the "," behind it, false at the table's end. */
static bool skip_field(struct scanner *s)
{
	int depth = 0;

	for (;;) {
		if (s->kind == TOKEN_END || (depth == 0 && nesting(s) < 0))
			return false;
		if (depth == 0 && (token_is(s, ",") || token_is(s, ";")))
			return true;
		depth += nesting(s);
		next(s);
	}
}

/*
 * s is at the first token of a field. When it is KEY = or ["KEY"] =, s goes to the value's first
 * token and what it says is given; else s stays.
 */
static bool field_key(struct scanner *s, const char **key, size_t *len)
{
	struct scanner ahead = *s;

	if (ahead.kind == TOKEN_NAME) {
		*key = ahead.text;
		*len = ahead.len;
		next(&ahead);
	} else if (token_is(&ahead, "[")) {
		next(&ahead);
		*key = ahead.text;
		*len = ahead.len;
		next(&ahead);
		next(&ahead);
	} else {
		return false;
	}
	if (!token_is(&ahead, "="))
		return false;
	next(&ahead);
	*s = ahead;
	return true;
}

/* s is at a table's "{". Finds one of its fields: its line, and s at the value's first token. */
static bool find_field(struct scanner *s, const struct lua_data_path *want, int *line)
{
	size_t index = 0;

	if (!token_is(s, "{"))
		return false;
	for (;;) {
		const char *key;
		size_t len;
		int at;

		next(s);
		at = s->token_line;
		if (s->kind == TOKEN_END || token_is(s, "}"))
			return false;
		if (field_key(s, &key, &len)) {
			if (want->key && len == strlen(want->key) &&
				strncmp(key, want->key, len) == 0) {
				*line = at;
				return true;
			}
		} else if (!want->key && index++ == want->index) {
			*line = at;
			return true;
		}
		if (!skip_field(s))
			return false;
	}
}

/* Finds the fields from the outermost on. */
static bool find_path(struct scanner *s, const struct lua_data_path *path, int *line)
{
	if (path->up && !find_path(s, path->up, line))
		return false;
	return find_field(s, path, line);
}

/* Goes behind call at line to the "{" of its table; over a name, in quotes or computed. */
static bool find_table(struct scanner *s, const char *call, int line)
{
	do
		next(s);
	while (s->kind != TOKEN_END && (s->token_line < line || !token_is(s, call)));
	next(s);
	if (s->kind == TOKEN_STRING) {
		next(s);
	} else if (token_is(s, "(")) {
		next(s);
		if (token_is(s, "{"))
			return true;
		while (skip_field(s))
			next(s);
		next(s);
	}
	return token_is(s, "{");
}

int lua_source_line(
	const char *source, const char *call, int line, const struct lua_data_path *path)
{
	struct scanner s = {.p = source, .line = 1};

	if (path && line > 0 && find_table(&s, call, line))
		find_path(&s, path, &line);
	return line;
}

int lua_source_return_line(const char *source)
{
	struct scanner s = {.p = source, .line = 1};
	int depth = 0, line = 1;

	for (next(&s); s.kind != TOKEN_END; next(&s)) {
		if (depth == 0 && token_is(&s, "return"))
			line = s.token_line;
		depth += nesting(&s);
	}
	return line;
}

int lua_data_line(const struct lua_data *data, const struct lua_data_block *block,
	const struct lua_data_path *path)
{
	return lua_source_line(data->source, block->call, block->line, path);
}

void lua_data_path_text(const struct lua_data_path *path, char *text, size_t size)
{
	size_t used;

	*text = '\0';
	if (!path)
		return;
	lua_data_path_text(path->up, text, size);
	used = strlen(text);
	if (path->key)
		snprintf(text + used, size - used, "%s%s", used ? "." : "", path->key);
	else
		snprintf(text + used, size - used, "[%zu]", path->index + 1);
}
