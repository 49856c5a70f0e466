#include "releases.h"

#include "err.h"

#include <ctype.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- semantic versions ----------------------------------------------------------------------- */

/* A version in its parts, pointing into its text; pre and build are without their sign. */
struct semver {
	const char *core[3];
	size_t core_len[3];
	const char *pre, *build; /* NULL: none */
	size_t pre_len;
};

static size_t digits_at(const char *text)
{
	return strspn(text, "0123456789");
}

/* Takes "a.b-c" and the like; *at moves behind it. Returns what was expected, or NULL. */
static const char *take_identifiers(const char **at, bool numbers_are_canonical)
{
	static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyz"
				       "ABCDEFGHIJKLMNOPQRSTUVWXYZ-";

	for (;;) {
		size_t len = strspn(*at, alphabet);

		if (len == 0)
			return "a letter, a digit or '-'";
		if (numbers_are_canonical && len > 1 && **at == '0' && digits_at(*at) == len)
			return "a number without a leading 0";
		*at += len;
		if (**at != '.')
			return NULL;
		(*at)++;
	}
}

/* Fills *v; returns what was expected at *at, or NULL. */
static const char *semver_parse(const char **at, struct semver *v)
{
	const char *wrong = NULL;

	*v = (struct semver){.pre = NULL};
	for (int i = 0; i < 3; i++) {
		size_t len = digits_at(*at);

		if (len == 0)
			return "a number (a version is MAJOR.MINOR.PATCH)";
		if (len > 1 && **at == '0')
			return "a number without a leading 0";
		v->core[i] = *at;
		v->core_len[i] = len;
		*at += len;
		if (i == 2)
			break;
		if (**at != '.')
			return "'.' (a version is MAJOR.MINOR.PATCH)";
		(*at)++;
	}
	if (**at == '-') {
		v->pre = ++*at;
		wrong = take_identifiers(at, true);
		v->pre_len = (size_t)(*at - v->pre);
	}
	if (!wrong && **at == '+') {
		v->build = ++*at;
		wrong = take_identifiers(at, false);
	}
	return wrong ? wrong : **at ? "nothing more" : NULL;
}

int semver_check(const char *text, struct err *e)
{
	const char *at = text, *wrong;
	struct semver v;

	wrong = semver_parse(&at, &v);
	if (wrong)
		return err_set(e, ERR_CONFIG, "\"%.100s\" is no version: column %zu: expected %s",
			text, (size_t)(at - text) + 1, wrong);
	return 0;
}

static int sign(int n)
{
	return n < 0 ? -1 : n > 0;
}

/* Numbers of any length, without leading zeros. */
static int compare_numbers(const char *a, size_t a_len, const char *b, size_t b_len)
{
	if (a_len != b_len)
		return a_len < b_len ? -1 : 1;
	return sign(memcmp(a, b, a_len));
}

/* Section 11.4: numbers by value and before words, words by their bytes. */
static int compare_identifiers(const char *a, size_t a_len, const char *b, size_t b_len)
{
	bool a_number = digits_at(a) >= a_len, b_number = digits_at(b) >= b_len;
	int c;

	if (a_number && b_number)
		return compare_numbers(a, a_len, b, b_len);
	if (a_number != b_number)
		return a_number ? -1 : 1;
	c = memcmp(a, b, a_len < b_len ? a_len : b_len);
	return c ? sign(c) : a_len < b_len ? -1 : a_len > b_len;
}

static int compare_pre(const char *a, size_t a_len, const char *b, size_t b_len)
{
	const char *a_end = a + a_len, *b_end = b + b_len;

	while (a < a_end && b < b_end) {
		const char *a_dot = memchr(a, '.', (size_t)(a_end - a));
		const char *b_dot = memchr(b, '.', (size_t)(b_end - b));
		size_t a_part = (size_t)((a_dot ? a_dot : a_end) - a);
		size_t b_part = (size_t)((b_dot ? b_dot : b_end) - b);
		int c = compare_identifiers(a, a_part, b, b_part);

		if (c)
			return c;
		a += a_part + (a_dot != NULL);
		b += b_part + (b_dot != NULL);
	}
	return a < a_end ? 1 : b < b_end ? -1 : 0;
}

int semver_compare(const char *a, const char *b)
{
	const char *a_at = a, *b_at = b;
	struct semver x, y;

	/* what is no version orders by its bytes, behind every version */
	bool a_wrong = semver_parse(&a_at, &x), b_wrong = semver_parse(&b_at, &y);

	if (a_wrong || b_wrong)
		return a_wrong && b_wrong ? sign(strcmp(a, b)) : a_wrong ? 1 : -1;
	for (int i = 0; i < 3; i++) {
		int c = compare_numbers(x.core[i], x.core_len[i], y.core[i], y.core_len[i]);

		if (c)
			return c;
	}
	if (!x.pre || !y.pre)
		return x.pre ? -1 : y.pre ? 1 : 0; /* a pre-release comes before its release */
	return compare_pre(x.pre, x.pre_len, y.pre, y.pre_len);
}

/* --- reading --------------------------------------------------------------------------------- */

struct reader {
	struct manifest *m;
	const char *file;
	int line; /* of what is being read; 0: unknown */
	char where[128];
	struct err *e;
};

/* "FILE:LINE: WHERE: " and the text, as ERR_CONFIG. */
__attribute__((format(printf, 2, 3))) static int fail(struct reader *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(r->e, ERR_CONFIG, fmt, ap);
	va_end(ap);
	if (r->where[0])
		err_prefix(r->e, "%s", r->where);
	return r->line ? err_prefix(r->e, "%s:%d", r->file, r->line)
		       : err_prefix(r->e, "%s", r->file);
}

static int no_memory(struct reader *r)
{
	return err_set(r->e, ERR_NOMEM, "%s: out of memory", r->file);
}

enum value_type { A_STRING, A_COUNT, A_BOOLEAN, A_LIST, A_TABLE };

static const char *const value_names[] = {[A_STRING] = "a string",
	[A_COUNT] = "a whole number from 0",
	[A_BOOLEAN] = "true or false",
	[A_LIST] = "a list",
	[A_TABLE] = "a table"};

struct key {
	const char *name;
	enum value_type type;
	bool required;
};

static bool has_type(const json_t *value, enum value_type type)
{
	switch (type) {
	case A_STRING:
		return json_is_string(value) && json_string_length(value) > 0;
	case A_COUNT:
		return json_is_integer(value) && json_integer_value(value) >= 0 &&
		       json_integer_value(value) <= INT_MAX;
	case A_BOOLEAN:
		return json_is_boolean(value);
	case A_LIST:
		return json_is_array(value) ||
		       (json_is_object(value) && json_object_size(value) == 0);
	case A_TABLE:
		return json_is_object(value) ||
		       (json_is_array(value) && json_array_size(value) == 0);
	}
	return false;
}

static int check_keys(struct reader *r, json_t *table, const struct key *keys)
{
	const char *name;
	json_t *value;

	json_object_foreach (table, name, value) {
		const struct key *key = keys;

		while (key->name && strcmp(key->name, name) != 0)
			key++;
		if (!key->name)
			return fail(r, "unknown key \"%s\"", name);
		if (!json_is_null(value) && !has_type(value, key->type))
			return fail(r, "%s: expected %s", name, value_names[key->type]);
	}
	for (const struct key *key = keys; key->name; key++) {
		value = json_object_get(table, key->name);
		if (key->required && (!value || json_is_null(value)))
			return fail(
				r, "%s is missing: expected %s", key->name, value_names[key->type]);
	}
	return 0;
}

static int count_of(json_t *table, const char *key)
{
	return (int)json_integer_value(json_object_get(table, key));
}

static int parse_date(struct reader *r, struct release *release)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	const char *d = release->date;
	int last;

	if (!d)
		return 0;
	for (int i = 0; i < 10; i++)
		if (i == 4 || i == 7 ? d[i] != '-' : !isdigit((unsigned char)d[i]))
			return fail(r, "date: \"%.100s\": expected YYYY-MM-DD", d);
	if (d[10])
		return fail(r, "date: \"%.100s\": expected YYYY-MM-DD", d);
	release->year = (d[0] - '0') * 1000 + (d[1] - '0') * 100 + (d[2] - '0') * 10 + d[3] - '0';
	release->month = (d[5] - '0') * 10 + d[6] - '0';
	release->day = (d[8] - '0') * 10 + d[9] - '0';
	if (release->month < 1 || release->month > 12)
		return fail(r, "date: \"%s\": there is no month %d", d, release->month);
	last = days[release->month - 1];
	if (release->month == 2 && release->year % 4 == 0 &&
		(release->year % 100 != 0 || release->year % 400 == 0))
		last = 29;
	if (release->day < 1 || release->day > last)
		return fail(r, "date: \"%s\": there is no day %d in that month", d, release->day);
	return 0;
}

static int read_hw(struct reader *r, struct release *release, json_t *list)
{
	const char **hw;
	json_t *value;
	size_t i;

	if (json_array_size(list) == 0)
		return 0;
	hw = calloc(json_array_size(list), sizeof(*hw));
	if (!hw)
		return no_memory(r);
	release->hw = hw;
	json_array_foreach (list, i, value) {
		if (!has_type(value, A_STRING))
			return fail(r, "hw[%zu]: expected a string", i + 1);
		hw[release->hw_count++] = json_string_value(value);
	}
	return 0;
}

static int read_images(struct reader *r, struct release *release, json_t *table)
{
	struct release_image *images;
	const char *name;
	json_t *value;

	if (json_object_size(table) == 0)
		return fail(r, "images: expected at least one");
	images = calloc(json_object_size(table), sizeof(*images));
	if (!images)
		return no_memory(r);
	release->images = images;
	json_object_foreach (table, name, value) {
		if (!has_type(value, A_STRING))
			return fail(r, "images.%s: expected a path", name);
		images[release->image_count++] =
			(struct release_image){.name = name, .path = json_string_value(value)};
	}
	return 0;
}

static int read_release(struct reader *r, struct release *release, json_t *json)
{
	static const struct key keys[] = {
		{"version", A_STRING, true},
		{"date", A_STRING, false},
		{"hw", A_LIST, false},
		{"data_format", A_COUNT, false},
		{"security_counter", A_COUNT, false},
		{"key", A_STRING, false},
		{"min_bootloader", A_COUNT, false},
		{"images", A_TABLE, true},
		{"reverts", A_BOOLEAN, false},
		{"line", A_COUNT, false},
		{NULL, A_COUNT, false},
	};
	struct err e;
	int code;

	r->line = count_of(json, "line");
	code = check_keys(r, json, keys);
	if (code)
		return code;
	*release = (struct release){
		.version = json_string_value(json_object_get(json, "version")),
		.date = json_string_value(json_object_get(json, "date")),
		.data_format = count_of(json, "data_format"),
		.security_counter = count_of(json, "security_counter"),
		.min_bootloader = count_of(json, "min_bootloader"),
		.key = json_string_value(json_object_get(json, "key")),
		.reverts = json_is_true(json_object_get(json, "reverts")),
		.line = r->line,
	};
	if (semver_check(release->version, &e) != 0)
		return fail(r, "%s", e.msg);
	snprintf(r->where, sizeof(r->where), "release %s", release->version);
	code = parse_date(r, release);
	if (!code)
		code = read_hw(r, release, json_object_get(json, "hw"));
	return code ? code : read_images(r, release, json_object_get(json, "images"));
}

/* Releases of equal precedence are refused later; their order makes the message certain. */
static int by_version(const void *a, const void *b)
{
	const struct release *x = a, *y = b;
	int c = semver_compare(x->version, y->version);

	if (c == 0)
		c = (x->line > y->line) - (x->line < y->line);
	return c ? c : strcmp(x->version, y->version);
}

static int read_releases(struct reader *r, json_t *list)
{
	struct manifest *m = r->m;
	json_t *value;
	size_t i;

	if (json_array_size(list) == 0)
		return fail(r, "releases: expected at least one");
	m->releases = calloc(json_array_size(list), sizeof(*m->releases));
	if (!m->releases)
		return no_memory(r);
	json_array_foreach (list, i, value) {
		int code;

		snprintf(r->where, sizeof(r->where), "releases[%zu]", i + 1);
		if (!json_is_object(value))
			return fail(r, "expected a table");
		code = read_release(r, &m->releases[m->count++], value);
		if (code)
			return code;
	}
	qsort(m->releases, m->count, sizeof(*m->releases), by_version);
	for (i = 1; i < m->count; i++) {
		const struct release *a = &m->releases[i - 1], *b = &m->releases[i];

		if (semver_compare(a->version, b->version) != 0)
			continue;
		r->line = b->line;
		snprintf(r->where, sizeof(r->where), "release %s", b->version);
		if (a->line)
			return fail(r, "line %d has %s already, and they order as equal", a->line,
				a->version);
		return fail(r, "%s is there already, and they order as equal", a->version);
	}
	r->where[0] = '\0';
	return 0;
}

/* The index of a release that policy names, into *index. */
static int find_named(struct reader *r, const json_t *value, size_t *index)
{
	const char *version = json_string_value(value);

	if (!version)
		return fail(r, "expected a version");
	*index = manifest_find(r->m, version);
	if (*index == RELEASE_NONE)
		return fail(r, "no release \"%.100s\"", version);
	return 0;
}

/* A device never holds a release that reverts, so no update begins or stops over there. */
static int check_is_held(struct reader *r, size_t index)
{
	const struct release *release = &r->m->releases[index];

	if (!release->reverts)
		return 0;
	return fail(r, "%s reverts: no update starts from it", release->version);
}

static int read_refuse(struct reader *r, json_t *list)
{
	struct policy *policy = &r->m->policy;
	json_t *value;
	size_t i;

	if (json_array_size(list) == 0)
		return 0;
	policy->refuse = calloc(json_array_size(list), sizeof(*policy->refuse));
	if (!policy->refuse)
		return no_memory(r);
	json_array_foreach (list, i, value) {
		struct policy_pair *pair = &policy->refuse[policy->refuse_count++];
		int code;

		snprintf(r->where, sizeof(r->where), "policy.refuse[%zu]", i + 1);
		if (json_array_size(value) != 2)
			return fail(r, "expected { FROM, TO }");
		code = find_named(r, json_array_get(value, 0), &pair->from);
		if (!code)
			code = find_named(r, json_array_get(value, 1), &pair->to);
		if (!code)
			code = check_is_held(r, pair->from);
		if (code)
			return code;
		if (pair->from == pair->to)
			return fail(r, "from and to are the same release");
	}
	return 0;
}

static int read_via(struct reader *r, json_t *table)
{
	struct manifest *m = r->m;
	const char *from;
	json_t *value;

	m->policy.via = calloc(m->count, sizeof(*m->policy.via));
	if (!m->policy.via)
		return no_memory(r);
	for (size_t i = 0; i < m->count; i++)
		m->policy.via[i] = RELEASE_NONE;
	json_object_foreach (table, from, value) {
		size_t at = manifest_find(m, from), via;
		int code;

		snprintf(r->where, sizeof(r->where), "policy.via[\"%.60s\"]", from);
		if (at == RELEASE_NONE)
			return fail(r, "no release \"%.100s\"", from);
		code = find_named(r, value, &via);
		if (!code)
			code = check_is_held(r, at);
		if (!code)
			code = check_is_held(r, via);
		if (code)
			return code;
		if (via <= at)
			return fail(r, "%s is not later than %s", m->releases[via].version,
				m->releases[at].version);
		m->policy.via[at] = via;
	}
	return 0;
}

static int read_window(struct reader *r, json_t *table)
{
	static const struct key keys[] = {
		{"months", A_COUNT, false}, {"versions", A_COUNT, false}, {NULL, A_COUNT, false}};
	struct policy *policy = &r->m->policy;
	int code;

	snprintf(r->where, sizeof(r->where), "policy.window");
	if (policy->updates != UPDATES_WINDOW)
		return json_object_size(table) == 0
			       ? 0
			       : fail(r, "has a meaning only with updates = \"window\"");
	code = check_keys(r, table, keys);
	if (code)
		return code;
	policy->window_months = count_of(table, "months");
	policy->window_versions = count_of(table, "versions");
	if (!policy->window_months == !policy->window_versions)
		return fail(r, "expected either months = N or versions = N, N from 1");
	for (size_t i = 0; i < r->m->count && policy->window_months; i++) {
		const struct release *release = &r->m->releases[i];

		if (release->date)
			continue;
		r->line = release->line;
		snprintf(r->where, sizeof(r->where), "release %s", release->version);
		return fail(r, "date is missing: a window of months needs it");
	}
	return 0;
}

static int read_updates(struct reader *r, const json_t *value)
{
	static const char *const names[] = {[UPDATES_ANY] = "any",
		[UPDATES_INCREMENTAL] = "incremental",
		[UPDATES_WINDOW] = "window"};
	const char *text = json_string_value(value);

	r->m->policy.updates = UPDATES_ANY;
	if (!text)
		return 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(names[i], text) == 0) {
			r->m->policy.updates = (enum policy_updates)i;
			return 0;
		}
	return fail(
		r, "updates: \"%.100s\": expected \"any\", \"incremental\" or \"window\"", text);
}

static int read_policy(struct reader *r, json_t *json)
{
	static const struct key keys[] = {
		{"updates", A_STRING, false},
		{"window", A_TABLE, false},
		{"downgrade", A_BOOLEAN, false},
		{"refuse", A_LIST, false},
		{"via", A_TABLE, false},
		{"line", A_COUNT, false},
		{NULL, A_COUNT, false},
	};
	struct policy *policy = &r->m->policy;
	int code;

	policy->line = r->line = count_of(json, "line");
	snprintf(r->where, sizeof(r->where), "policy");
	code = check_keys(r, json, keys);
	if (!code)
		code = read_updates(r, json_object_get(json, "updates"));
	policy->downgrade = json_is_true(json_object_get(json, "downgrade"));
	if (!code)
		code = read_refuse(r, json_object_get(json, "refuse"));
	if (!code)
		code = read_via(r, json_object_get(json, "via"));
	return code ? code : read_window(r, json_object_get(json, "window"));
}

static int read_manifest(struct reader *r, json_t *json)
{
	static const struct key keys[] = {
		{"file", A_STRING, false},
		{"product", A_STRING, true},
		{"releases", A_LIST, true},
		{"policy", A_TABLE, false},
		{NULL, A_COUNT, false},
	};
	int code;

	if (!json_is_object(json))
		return fail(r, "expected a table");
	code = check_keys(r, json, keys);
	if (code)
		return code;
	r->m->product = json_string_value(json_object_get(json, "product"));
	code = read_releases(r, json_object_get(json, "releases"));
	return code ? code : read_policy(r, json_object_get(json, "policy"));
}

int manifest_init(struct manifest *manifest, json_t *json, struct err *e)
{
	struct reader r = {.m = manifest, .e = e};
	int code;

	memset(manifest, 0, sizeof(*manifest));
	r.file = json_string_value(json_object_get(json, "file"));
	if (!r.file)
		r.file = "manifest";
	manifest->json = json_incref(json);
	manifest->file = r.file;
	code = read_manifest(&r, json);
	if (code)
		manifest_finish(manifest);
	return code;
}

void manifest_finish(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->count; i++) {
		free((void *)manifest->releases[i].hw);
		free((void *)manifest->releases[i].images);
	}
	free(manifest->releases);
	free(manifest->policy.refuse);
	free(manifest->policy.via);
	json_decref(manifest->json);
	memset(manifest, 0, sizeof(*manifest));
}

size_t manifest_find(const struct manifest *manifest, const char *version)
{
	for (size_t i = 0; i < manifest->count; i++)
		if (strcmp(manifest->releases[i].version, version) == 0)
			return i;
	return RELEASE_NONE;
}

const char *release_image_path(const struct release *release, const char *name)
{
	for (size_t i = 0; i < release->image_count; i++)
		if (strcmp(release->images[i].name, name) == 0)
			return release->images[i].path;
	return NULL;
}
