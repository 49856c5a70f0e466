#include "progress.h"

#include "phrase.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#define BOARDS_MAX 64
#define NAME_SIZE 129 /* of a board, an item or a trial: as many bytes as a key may have */
#define COLUMNS_DEFAULT 80
#define LABEL_COLUMNS 14 /* of a closing line; what is wrapped goes on under its text */
#define REDRAW_NS 100000000
#define ESTIMATE_AFTER_NS 2000000000 /* sooner the rate is that of flashing and of starting */

struct lane {
	char board[NAME_SIZE], item[NAME_SIZE], trial[NAME_SIZE];
	long long trials, planned; /* of this item; planned: 0 when nobody knows */
	long long before_cuts;     /* trials before cuts were chosen, or -1 */
	long long known;           /* of trials: from before the run was taken up again */
	bool ended, in_error;      /* the item; in_error: with that verdict */
};

struct progress {
	FILE *out;
	bool terminal, drawn;
	unsigned columns; /* 0: as wide as the terminal says */
	struct lane lanes[BOARDS_MAX];
	size_t lane_count;
	bool past;                              /* what comes was told before */
	long long started_ns, now_ns, drawn_ns; /* of this stretch of the run */
	long long last_ns;                      /* of the record before */
	long long before_ns;                    /* how long those before took */
	long long items, items_done, trials, failed;
	long long trials_before; /* of trials: from the stretches before */
	double worth_before;     /* of items_worth(): the same */
	json_t *end;
	json_t *findings; /* {item: {"board", "windows": [texts], "sentence"?}} */
};

struct progress *progress_create(FILE *out, bool terminal, unsigned columns)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (p) {
		p->out = out;
		p->terminal = terminal;
		p->columns = columns;
		p->findings = json_object();
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
	p->lanes[p->lane_count].ended = true; /* none has begun */
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
	char text[1024];
	size_t len, columns;
};

/* Adds all of it or nothing. */
static bool add(struct line *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool add(struct line *line, const char *fmt, ...)
{
	char part[3 * NAME_SIZE + 64];
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
		if (!p->lanes[i].ended && p->lanes[i].planned > p->lanes[i].trials)
			done += (double)p->lanes[i].trials / (double)p->lanes[i].planned;
	return done;
}

static void add_head(const struct progress *p, struct line *line, bool brief)
{
	double seconds = (double)(p->now_ns - p->started_ns) / 1e9;
	double rate = seconds > 0 ? (double)(p->trials - p->trials_before) / seconds : 0;
	double left = (double)p->items - items_worth(p), done = items_worth(p) - p->worth_before;

	add(line, "%lld/%lld items", p->items_done, p->items);
	if (p->failed)
		add(line, ", %lld failed", p->failed);
	if (rate >= 1)
		add(line, brief ? ", %.1f/s" : ", %.1f trials/s", rate);
	else if (rate > 0)
		add(line, brief ? ", %.1f/min" : ", %.1f trials/min", rate * 60);
	if (p->now_ns - p->started_ns >= ESTIMATE_AFTER_NS && done > 0 && left > 0)
		add_time_left(line, seconds / done * left);
}

/* False: a board found no place, not even in as few words as can be. */
static bool add_lane(const struct lane *lane, struct line *line, bool brief)
{
	char count[48] = "", trial[NAME_SIZE + 1] = "";

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
		if (!p->lanes[i].ended)
			whole = add_lane(&p->lanes[i], line, brief) && whole;
	return whole;
}

static void draw(struct progress *p, bool force)
{
	struct line line = {.columns = columns_of(p)};

	if (!p->terminal || p->past || p->end || (!force && p->now_ns - p->drawn_ns < REDRAW_NS))
		return;
	p->drawn_ns = p->now_ns;
	if (!compose(p, &line, false))
		compose(p, &line, true);
	fprintf(p->out, "\r\033[K%s", line.text);
	fflush(p->out);
	p->drawn = true;
}

/* Prints lines of their own, unless they were told before. */
static void say(struct progress *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct progress *p, const char *fmt, ...)
{
	va_list ap;

	if (p->past)
		return;
	clear_line(p);
	va_start(ap, fmt);
	vfprintf(p->out, fmt, ap);
	va_end(ap);
}

static void on_plan(struct progress *p, const json_t *record, struct lane *lane)
{
	(void)lane;
	p->items = json_integer_value(json_object_get(record, "total"));
}

/* An item that is begun again goes on with the trials that have a verdict. */
static void on_item_start(struct progress *p, const json_t *record, struct lane *lane)
{
	bool resumed = json_is_true(json_object_get(record, "resumed"));

	json_object_del(p->findings, text(record, "item"));
	if (!lane)
		return;
	if (!resumed || strcmp(lane->item, text(record, "item")) != 0) {
		lane->trials = 0;
		lane->before_cuts = -1;
	} else if (lane->in_error) {
		p->items_done--;
	}
	snprintf(lane->item, sizeof(lane->item), "%s", text(record, "item"));
	lane->trial[0] = '\0';
	lane->known = lane->trials;
	lane->planned = 0;
	lane->ended = lane->in_error = false;
}

static void on_chosen(struct progress *p, const json_t *record, struct lane *lane)
{
	if (!lane)
		return;
	if (!lane->known || lane->before_cuts < 0)
		lane->before_cuts = lane->trials;
	lane->planned = lane->before_cuts + json_integer_value(json_object_get(record, "cuts"));
	if (lane->known && lane->planned >= lane->known)
		p->worth_before += (double)lane->known / (double)lane->planned;
	if (lane->known)
		lane->known = 0;
}

static void on_trial_start(struct progress *p, const json_t *record, struct lane *lane)
{
	(void)p;
	if (lane)
		snprintf(lane->trial, sizeof(lane->trial), "%s", text(record, "trial"));
}

static void on_verdict(struct progress *p, const json_t *record, struct lane *lane)
{
	const char *verdict = text(record, "verdict");
	const json_t *finding = json_array_get(json_object_get(record, "findings"), 0);

	/* one that the bench failed in is run again when the run is taken up again */
	if (strcmp(verdict, "error") != 0) {
		p->trials++;
		if (lane)
			lane->trials++;
	}
	if (strcmp(verdict, "pass") == 0)
		return;
	p->failed += strcmp(verdict, "fail") == 0;
	say(p, "%-13s %s %s: %s %s\n", verdict, lane ? lane->item : "", text(record, "trial"),
		text(finding, "name"), text(record, "again"));
	if (*text(record, "replay"))
		say(p, "              replay: %s\n", text(record, "replay"));
}

static void on_held(struct progress *p, const json_t *record, struct lane *lane)
{
	const json_t *line;
	size_t i;

	(void)lane;
	say(p, "held          %s is left on and leased until %s\n", text(record, "board"),
		text(record, "until"));
	if (*text(record, "reason"))
		say(p, "              no port for gdb: %s\n", text(record, "reason"));
	json_array_foreach (json_object_get(record, "how"), i, line)
		say(p, "              %s\n", json_string_value(line));
}

static void on_item_end(struct progress *p, const json_t *record, struct lane *lane)
{
	const char *verdict = text(record, "verdict");
	const char *skipped = text(record, "skipped");
	bool error = strcmp(verdict, "error") == 0;

	p->items_done++;
	say(p, "%-13s %s on %s%s%s\n", *skipped ? "skip" : verdict, text(record, "item"),
		text(record, "board"), *skipped ? ": " : "", skipped);
	if (error)
		say(p, "              %s%s%s\n", text(record, "at"),
			*text(record, "at") ? ": " : "", text(record, "reason"));
	if (lane) {
		lane->ended = true;
		lane->in_error = error;
	}
}

static json_t *finding_of(struct progress *p, const json_t *record, const struct lane *lane)
{
	json_t *finding;

	if (!lane || lane->ended)
		return NULL;
	finding = json_object_get(p->findings, lane->item);
	if (!finding) {
		finding = json_pack("{s:s, s:[]}", "board", text(record, "board"), "windows");
		json_object_set_new(p->findings, lane->item, finding);
	}
	return finding;
}

static void on_window(struct progress *p, const json_t *record, struct lane *lane)
{
	char *words = phrase_window(record);

	if (words) {
		say(p, "window        %s: %s\n", lane ? lane->item : "", words);
		json_array_append_new(json_object_get(finding_of(p, record, lane), "windows"),
			json_string(words));
	}
	free(words);
}

static void on_coverage(struct progress *p, const json_t *record, struct lane *lane)
{
	json_t *sentence = json_object_get(record, "sentence");

	if (json_is_string(sentence))
		json_object_set(finding_of(p, record, lane), "sentence", sentence);
}

static void on_bench_error(struct progress *p, const json_t *record, struct lane *lane)
{
	(void)lane;
	say(p, "bench         %s: %s: %s\n", text(record, "board"), text(record, "device"),
		text(record, "reason"));
}

static void on_end(struct progress *p, const json_t *record, struct lane *lane)
{
	(void)lane;
	json_decref(p->end);
	p->end = json_deep_copy(record);
}

/* The host may have been started anew in between, and its clock with it. */
static void on_resume(struct progress *p, const json_t *record, struct lane *lane)
{
	long long done = p->items_done;

	(void)lane;
	if (p->last_ns > p->started_ns)
		p->before_ns += p->last_ns - p->started_ns;
	p->started_ns = p->now_ns = json_integer_value(json_object_get(record, "t_mono_ns"));
	p->drawn_ns = 0;
	json_decref(p->end);
	p->end = NULL;
	for (size_t i = 0; i < p->lane_count; i++) {
		done -= p->lanes[i].in_error;
		p->lanes[i].ended = true;
	}
	p->trials_before = p->trials;
	p->worth_before = (double)done;
	say(p,
		"resumed       after record %lld: %lld of %lld items have ended, %lld trials have a "
		"verdict\n",
		(long long)json_integer_value(json_object_get(record, "after")), done, p->items,
		p->trials);
}

static const struct {
	const char *kind;
	void (*fn)(struct progress *p, const json_t *record, struct lane *lane);
} kinds[] = {
	{"plan", on_plan},
	{"resume", on_resume},
	{"item-start", on_item_start},
	{"chosen", on_chosen},
	{"trial-start", on_trial_start},
	{"verdict", on_verdict},
	{"window", on_window},
	{"coverage", on_coverage},
	{"item-end", on_item_end},
	{"bench-error", on_bench_error},
	{"held", on_held},
	{"end", on_end},
};

void progress_record(struct progress *p, const json_t *record)
{
	const char *kind = text(record, "kind");
	struct lane *lane = *text(record, "board") ? lane_of(p, record) : NULL;

	p->last_ns = p->now_ns;
	p->now_ns = json_integer_value(json_object_get(record, "t_mono_ns"));
	if (!p->started_ns)
		p->started_ns = p->now_ns;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].kind, kind) == 0)
			kinds[i].fn(p, record, lane);
	draw(p, strcmp(kind, "item-start") == 0);
}

void progress_past(struct progress *p, const json_t *record)
{
	p->past = true;
	progress_record(p, record);
	p->past = false;
}

static long long total(const struct progress *p, const char *name)
{
	return json_integer_value(json_object_get(json_object_get(p->end, "totals"), name));
}

/* How many columns the next word takes: bytes but for those that go on in UTF-8. */
static size_t word_columns(const char *word, size_t len)
{
	size_t columns = 0;

	for (size_t i = 0; i < len; i++)
		columns += ((unsigned char)word[i] & 0xc0) != 0x80;
	return columns;
}

/*
 * A closing line: label and text, wrapped between words. A word that is longer than a line is not
 * cut.
 */
static void put_wrapped(struct progress *p, const char *label, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void put_wrapped(struct progress *p, const char *label, const char *fmt, ...)
{
	size_t columns = columns_of(p), at = LABEL_COLUMNS, len;
	char *words = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&words, fmt, ap) < 0)
		words = NULL;
	va_end(ap);
	fprintf(p->out, "%-*s", LABEL_COLUMNS, label);
	for (const char *word = words ? words : "?"; *word; word += len + (word[len] == ' ')) {
		len = strcspn(word, " ");
		if (at > LABEL_COLUMNS && at + 1 + word_columns(word, len) > columns) {
			fprintf(p->out, "\n%*s", LABEL_COLUMNS, "");
			at = LABEL_COLUMNS;
		} else if (at > LABEL_COLUMNS) {
			fputc(' ', p->out);
			at++;
		}
		fwrite(word, 1, len, p->out);
		at += word_columns(word, len);
	}
	fputc('\n', p->out);
	free(words);
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

/* What is said of each item: where it fails, and what was tried. */
static void put_findings(struct progress *p)
{
	const char *item;
	json_t *finding, *window;
	size_t i;

	json_object_foreach (p->findings, item, finding) {
		json_array_foreach (json_object_get(finding, "windows"), i, window)
			put_wrapped(p, "window", "%s: %s", item, json_string_value(window));
		if (*text(finding, "sentence"))
			put_wrapped(p, "coverage", "%s: %s", item, text(finding, "sentence"));
	}
}

void progress_finish(struct progress *p, const char *run_dir)
{
	double seconds = (double)(p->before_ns + p->now_ns - p->started_ns) / 1e9;

	clear_line(p);
	if (!p->end) {
		fprintf(p->out, "the run died: its journal has no end\n");
	} else {
		fputc('\n', p->out);
		put_wrapped(p, "verdict", "%s%s%s", text(p->end, "verdict"),
			*text(p->end, "text") ? ": " : "", text(p->end, "text"));
		put_items(p);
		if (total(p, "trials"))
			fprintf(p->out, "cuts          %lld landed in %lld trials\n",
				total(p, "cuts"), total(p, "trials"));
	}
	put_findings(p);
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
	json_decref(p->findings);
	free(p);
}
