#include "progress.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define BOARDS_MAX 64
#define COLUMNS_DEFAULT 80
#define REDRAW_NS 100000000
#define ESTIMATE_AFTER_NS 2000000000 /* sooner the rate is that of flashing and of starting */

struct lane {
	char board[48], item[64], trial[64];
	long long trials, planned; /* of this item; planned: 0 when nobody knows */
};

struct progress {
	FILE *out;
	bool terminal, drawn;
	unsigned columns; /* 0: as wide as the terminal says */
	struct lane lanes[BOARDS_MAX];
	size_t lane_count;
	long long started_ns, now_ns, drawn_ns;
	long long items, items_done, trials, cuts, failed;
	json_t *end;
	long long item_counts[5];
};

struct progress *progress_create(FILE *out, bool terminal, unsigned columns)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (p) {
		p->out = out;
		p->terminal = terminal;
		p->columns = columns;
	}
	return p;
}

static const char *text(const json_t *record, const char *name)
{
	const char *value = json_string_value(json_object_get(record, name));

	return value ? value : "";
}

static struct lane *lane_of(struct progress *p, const json_t *record)
{
	const char *board = text(record, "board");

	for (size_t i = 0; i < p->lane_count; i++)
		if (strcmp(p->lanes[i].board, board) == 0)
			return &p->lanes[i];
	if (p->lane_count == BOARDS_MAX)
		return NULL;
	snprintf(p->lanes[p->lane_count].board, sizeof(p->lanes[0].board), "%s", board);
	return &p->lanes[p->lane_count++];
}

static void clear_line(struct progress *p)
{
	if (p->drawn)
		fputs("\r\033[K", p->out);
	p->drawn = false;
}

/* The terminal may be resized at any time. Its last column stays free: some wrap when it is used.
 */
static size_t columns_of(const struct progress *p)
{
	struct winsize size;

	if (p->columns)
		return p->columns - 1;
	if (ioctl(fileno(p->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		return size.ws_col - 1U;
	return COLUMNS_DEFAULT - 1;
}

struct line {
	char text[512];
	size_t len, columns;
};

/* Adds all of it or nothing. */
static bool add(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool add(struct line *line, const char *fmt, ...)
{
	char part[256];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(part, sizeof(part), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(part) || line->len + (size_t)n > line->columns ||
		line->len + (size_t)n >= sizeof(line->text))
		return false;
	memcpy(line->text + line->len, part, (size_t)n + 1);
	line->len += (size_t)n;
	return true;
}

static void add_time_left(struct line *line, double seconds)
{
	if (seconds < 100)
		add(line, ", %.0f s left", seconds);
	else if (seconds < 6000)
		add(line, ", %.0f min left", seconds / 60);
	else
		add(line, ", %.1f h left", seconds / 3600);
}

/* Items, and of those under way the part of their trials that is done. */
static double items_worth(const struct progress *p)
{
	double done = (double)p->items_done;

	for (size_t i = 0; i < p->lane_count; i++)
		if (p->lanes[i].item[0] && p->lanes[i].planned > p->lanes[i].trials)
			done += (double)p->lanes[i].trials / (double)p->lanes[i].planned;
	return done;
}

static void add_head(const struct progress *p, struct line *line, bool brief)
{
	double seconds = (double)(p->now_ns - p->started_ns) / 1e9;
	double rate = seconds > 0 ? (double)p->trials / seconds : 0, done = items_worth(p);

	add(line, "%lld/%lld items", p->items_done, p->items);
	if (p->failed)
		add(line, ", %lld failed", p->failed);
	if (p->trials && rate >= 1)
		add(line, brief ? ", %.1f/s" : ", %.1f trials/s", rate);
	else if (p->trials)
		add(line, brief ? ", %.1f/min" : ", %.1f trials/min", rate * 60);
	if (p->now_ns - p->started_ns >= ESTIMATE_AFTER_NS && done > 0 && done < (double)p->items)
		add_time_left(line, seconds / done * ((double)p->items - done));
}

/* False: a board found no place, not even in as few words as can be. */
static bool add_lane(const struct lane *lane, struct line *line, bool brief)
{
	char count[32] = "", trial[80] = "";

	if (lane->planned)
		snprintf(count, sizeof(count), " %lld/%lld", lane->trials, lane->planned);
	if (lane->trial[0] && !brief)
		snprintf(trial, sizeof(trial), " %s", lane->trial);
	return add(line, " | %s %s%s%s", lane->board, lane->item, count, trial);
}

static bool compose(const struct progress *p, struct line *line, bool brief)
{
	bool whole = true;

	line->len = 0;
	add_head(p, line, brief);
	for (size_t i = 0; i < p->lane_count; i++)
		if (p->lanes[i].item[0])
			whole = add_lane(&p->lanes[i], line, brief) && whole;
	return whole;
}

static void draw(struct progress *p, bool force)
{
	struct line line = {.columns = columns_of(p)};

	if (!p->terminal || p->end || (!force && p->now_ns - p->drawn_ns < REDRAW_NS))
		return;
	p->drawn_ns = p->now_ns;
	if (!compose(p, &line, false))
		compose(p, &line, true);
	fprintf(p->out, "\r\033[K%s", line.text);
	fflush(p->out);
	p->drawn = true;
}

static void item_ended(struct progress *p, const json_t *record, struct lane *lane)
{
	const char *verdict = text(record, "verdict");
	const char *skipped = text(record, "skipped");

	p->items_done++;
	clear_line(p);
	fprintf(p->out, "%-13s %s on %s%s%s\n", *skipped ? "skip" : verdict, text(record, "item"),
		text(record, "board"), *skipped ? ": " : "", skipped);
	if (strcmp(verdict, "error") == 0)
		fprintf(p->out, "              %s%s%s\n", text(record, "at"),
			*text(record, "at") ? ": " : "", text(record, "reason"));
	if (lane)
		lane->item[0] = lane->trial[0] = '\0';
}

static void trial_ended(struct progress *p, const json_t *record, struct lane *lane)
{
	const char *verdict = text(record, "verdict");
	const json_t *finding = json_array_get(json_object_get(record, "findings"), 0);

	p->trials++;
	if (lane)
		lane->trials++;
	if (strcmp(verdict, "pass") == 0)
		return;
	p->failed += strcmp(verdict, "fail") == 0;
	clear_line(p);
	fprintf(p->out, "%-13s %s %s: %s %s\n", verdict, lane ? lane->item : "",
		text(record, "trial"), text(finding, "name"), text(record, "again"));
	if (*text(record, "replay"))
		fprintf(p->out, "              replay: %s\n", text(record, "replay"));
}

static void board_held(struct progress *p, const json_t *record)
{
	const json_t *line;
	size_t i;

	clear_line(p);
	fprintf(p->out, "held          %s is left on and leased until %s\n", text(record, "board"),
		text(record, "until"));
	if (*text(record, "reason"))
		fprintf(p->out, "              no port for gdb: %s\n", text(record, "reason"));
	json_array_foreach (json_object_get(record, "how"), i, line)
		fprintf(p->out, "              %s\n", json_string_value(line));
}

void progress_record(struct progress *p, const json_t *record)
{
	const char *kind = text(record, "kind");
	struct lane *lane = *text(record, "board") ? lane_of(p, record) : NULL;

	p->now_ns = json_integer_value(json_object_get(record, "t_mono_ns"));
	if (!p->started_ns)
		p->started_ns = p->now_ns;
	if (strcmp(kind, "plan") == 0) {
		p->items = json_integer_value(json_object_get(record, "total"));
	} else if (strcmp(kind, "item-start") == 0 && lane) {
		snprintf(lane->item, sizeof(lane->item), "%s", text(record, "item"));
		lane->trial[0] = '\0';
		lane->trials = lane->planned = 0;
	} else if (strcmp(kind, "chosen") == 0 && lane) {
		lane->planned = lane->trials + json_integer_value(json_object_get(record, "cuts"));
	} else if (strcmp(kind, "trial-start") == 0 && lane) {
		snprintf(lane->trial, sizeof(lane->trial), "%s", text(record, "trial"));
	} else if (strcmp(kind, "verdict") == 0) {
		trial_ended(p, record, lane);
	} else if (strcmp(kind, "cut") == 0) {
		p->cuts += json_is_integer(json_object_get(record, "landed"));
	} else if (strcmp(kind, "item-end") == 0) {
		item_ended(p, record, lane);
	} else if (strcmp(kind, "bench-error") == 0) {
		clear_line(p);
		fprintf(p->out, "bench         %s: %s: %s\n", text(record, "board"),
			text(record, "device"), text(record, "reason"));
	} else if (strcmp(kind, "held") == 0) {
		board_held(p, record);
	} else if (strcmp(kind, "end") == 0) {
		json_decref(p->end);
		p->end = json_deep_copy(record);
	}
	draw(p, strcmp(kind, "item-start") == 0);
}

static long long total(const struct progress *p, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(p->end, "totals"), name));
}

static void put_items(struct progress *p)
{
	static const struct {
		const char *name, *text;
	} others[] = {{"fail", "failed"}, {"error", "in error"}, {"inconclusive", "inconclusive"},
		{"skipped", "skipped"}};

	fprintf(p->out, "items         %lld of %lld passed", total(p, "pass"), total(p, "items"));
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (total(p, others[i].name))
			fprintf(p->out, ", %lld %s", total(p, others[i].name), others[i].text);
	fputc('\n', p->out);
}

void progress_finish(struct progress *p, const char *run_dir)
{
	double seconds = (double)(p->now_ns - p->started_ns) / 1e9;

	clear_line(p);
	if (!p->end) {
		fprintf(p->out, "the run died: its journal has no end\n");
	} else {
		fprintf(p->out, "\nverdict       %s%s%s\n", text(p->end, "verdict"),
			*text(p->end, "text") ? ": " : "", text(p->end, "text"));
		put_items(p);
		if (total(p, "trials"))
			fprintf(p->out, "cuts          %lld landed in %lld trials\n",
				total(p, "cuts"), total(p, "trials"));
	}
	fprintf(p->out, "time          %.1f s\n", seconds);
	if (run_dir)
		fprintf(p->out, "reports       %s\n", run_dir);
	fflush(p->out);
}

void progress_destroy(struct progress *p)
{
	if (!p)
		return;
	json_decref(p->end);
	free(p);
}
