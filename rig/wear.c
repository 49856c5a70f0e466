#include "wear.h"

#include "err.h"
#include "file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FILE_MAX ((size_t)64 << 20)
#define PAGES_MAX ((size_t)1 << 20)

/* Room for a page; false when there is none, and it is not counted. */
static bool make_room(struct wear *w, size_t page)
{
	size_t want = (page | 255) + 1;
	uint64_t *grown;

	if (page < w->pages)
		return true;
	grown = page < PAGES_MAX ? realloc(w->erases, want * sizeof(*grown)) : NULL;
	if (!grown)
		return false;
	memset(grown + w->pages, 0, (want - w->pages) * sizeof(*grown));
	w->erases = grown;
	w->pages = want;
	return true;
}

static bool add(struct wear *w, size_t page, json_int_t n)
{
	if (n < 0 || !make_room(w, page))
		return false;
	w->erases[page] += (uint64_t)n;
	w->changed = w->changed || n > 0;
	return true;
}

static bool add_named(struct wear *w, const char *name, const json_t *n)
{
	char *end;
	unsigned long page;

	if (*name < '0' || *name > '9' || !json_is_integer(n))
		return false;
	page = strtoul(name, &end, 10);
	return !*end && add(w, page, json_integer_value(n));
}

/* --- the file --------------------------------------------------------------------------------- */

static void start_anew(struct wear *w)
{
	time_t now = time(NULL);
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(w->since, sizeof(w->since), "%Y-%m-%dT%H:%M:%SZ", &tm);
	w->relay_cycles = 0;
	w->changed = false;
	memset(w->erases, 0, w->pages * sizeof(*w->erases));
}

/* False: it is not what wear_save() writes. */
static bool take(struct wear *w, const json_t *root)
{
	const char *since = json_string_value(json_object_get(root, "since")), *name;
	const json_t *cycles = json_object_get(root, "relay_cycles");
	json_t *erases = json_object_get(root, "erases"), *n;

	if (!since || strlen(since) >= sizeof(w->since) || !json_is_integer(cycles) ||
		json_integer_value(cycles) < 0 || !json_is_object(erases))
		return false;
	snprintf(w->since, sizeof(w->since), "%s", since);
	w->relay_cycles = (uint64_t)json_integer_value(cycles);
	json_object_foreach (erases, name, n)
		if (!add_named(w, name, n))
			return false;
	w->changed = false;
	return true;
}

static bool read_file(struct wear *w)
{
	char *text;
	size_t len;
	json_t *root;
	bool good;
	struct err e;

	if (file_read(w->path, FILE_MAX, &text, &len, &e) != 0)
		return false;
	root = json_loadb(text, len, 0, NULL);
	free(text);
	good = root && take(w, root);
	json_decref(root);
	return good;
}

int wear_init(struct wear *w, const char *board_dir, bool keep_aside, struct err *e)
{
	char aside[PATH_MAX + 16];
	int n;

	memset(w, 0, sizeof(*w));
	n = snprintf(w->path, sizeof(w->path), "%s/wear.json", board_dir);
	if (n < 0 || (size_t)n >= sizeof(w->path))
		return err_set(e, ERR_IO, "%s: the path is too long", board_dir);
	if (!make_room(w, 0))
		return err_set(e, ERR_NOMEM, "out of memory");
	snprintf(aside, sizeof(aside), "%s.damaged", w->path);
	start_anew(w);
	w->damaged = access(aside, F_OK) == 0;
	if (access(w->path, F_OK) != 0 || read_file(w))
		return 0;
	start_anew(w);
	w->damaged = true;
	if (keep_aside && rename(w->path, aside) != 0) {
		wear_finish(w);
		return err_errno(e, ERR_IO, errno, "%s is damaged, and cannot be renamed", aside);
	}
	return 0;
}

void wear_finish(struct wear *w)
{
	free(w->erases);
	w->erases = NULL;
	w->pages = 0;
}

static json_t *erases_json(const struct wear *w)
{
	json_t *erases = json_object();
	char name[24];

	for (size_t page = 0; page < w->pages; page++) {
		if (!w->erases[page])
			continue;
		snprintf(name, sizeof(name), "%zu", page);
		json_object_set_new(erases, name, json_integer((json_int_t)w->erases[page]));
	}
	return erases;
}

int wear_save(struct wear *w, struct err *e)
{
	json_t *root;
	char *text;
	int code;

	if (!w->changed)
		return 0;
	root = json_pack("{s:s, s:I, s:o}", "since", w->since, "relay_cycles",
		(json_int_t)w->relay_cycles, "erases", erases_json(w));
	text = root ? json_dumps(root, JSON_COMPACT) : NULL;
	json_decref(root);
	if (!text)
		return err_set(e, ERR_NOMEM, "out of memory");
	code = file_write(w->path, text, strlen(text), e);
	free(text);
	if (!code)
		w->changed = false;
	return code;
}

/* --- counting --------------------------------------------------------------------------------- */

void wear_count_cycle(struct wear *w)
{
	w->relay_cycles++;
	w->changed = true;
}

void wear_count_erases(struct wear *w, const json_t *erases)
{
	const char *name;
	json_t *n;

	json_object_foreach ((json_t *)(uintptr_t)erases, name, n)
		add_named(w, name, n);
}

void wear_count_pages(struct wear *w, const json_t *runs)
{
	const json_t *run;
	size_t i;

	json_array_foreach (runs, i, run) {
		json_int_t first = json_integer_value(json_array_get(run, 0));
		json_int_t pages = json_integer_value(json_array_get(run, 1));

		for (json_int_t n = 0; first >= 0 && n < pages; n++)
			if (!add(w, (size_t)(first + n), 1))
				break;
	}
}

/* --- the budget ------------------------------------------------------------------------------- */

static uint64_t bound(const json_t *wear, const char *name)
{
	json_int_t n = json_integer_value(json_object_get(wear, name));

	return n > 0 ? (uint64_t)n : 0;
}

struct wear_budget wear_budget_of(const json_t *board)
{
	const json_t *wear = json_object_get(board, "wear");

	return (struct wear_budget){bound(wear, "erases"), bound(wear, "relay_cycles")};
}

static size_t most_erased(const struct wear *w)
{
	size_t most = 0;

	for (size_t page = 1; page < w->pages; page++)
		if (w->erases[page] > w->erases[most])
			most = page;
	return most;
}

static unsigned part(uint64_t used, uint64_t allowed)
{
	double percent = allowed ? (double)used * 100.0 / (double)allowed : 0;

	return percent < 1e6 ? (unsigned)percent : 1000000;
}

unsigned wear_percent(const struct wear *w, const struct wear_budget *budget)
{
	unsigned flash = part(w->erases[most_erased(w)], budget->erases);
	unsigned relay = part(w->relay_cycles, budget->relay_cycles);

	return flash > relay ? flash : relay;
}

const char *wear_describe(
	const struct wear *w, const struct wear_budget *budget, char *text, size_t size)
{
	size_t page = most_erased(w);

	if (part(w->erases[page], budget->erases) >= part(w->relay_cycles, budget->relay_cycles))
		snprintf(text, size, "page %zu has had %" PRIu64 " of %" PRIu64 " erases", page,
			w->erases[page], budget->erases);
	else
		snprintf(text, size,
			"the relay has had %" PRIu64 " of %" PRIu64 " power cycles (relay_cycles)",
			w->relay_cycles, budget->relay_cycles);
	return text;
}

json_t *wear_summary(const struct wear *w, const struct wear_budget *budget)
{
	size_t page = most_erased(w);
	json_t *bounds = json_object(), *summary;

	if (budget->erases)
		json_object_set_new(bounds, "erases", json_integer((json_int_t)budget->erases));
	if (budget->relay_cycles)
		json_object_set_new(
			bounds, "relay_cycles", json_integer((json_int_t)budget->relay_cycles));
	summary = json_pack("{s:s, s:I, s:I, s:o, s:o, s:o}", "since", w->since, "relay_cycles",
		(json_int_t)w->relay_cycles, "erases_max", (json_int_t)w->erases[page],
		"erases_page", w->erases[page] ? json_integer((json_int_t)page) : json_null(),
		"percent",
		json_object_size(bounds) ? json_integer((json_int_t)wear_percent(w, budget))
					 : json_null(),
		"budget", bounds);
	if (w->damaged)
		json_object_set_new(summary, "damaged", json_true());
	return summary;
}
