#include "progress.h"

#include <stdlib.h>
#include <string.h>

#define BOARDS_MAX 64
#define LINE_MAX_COLUMNS 110
#define REDRAW_NS 100000000

struct lane {
	char board[48], item[64], trial[64];
};

struct progress {
	FILE *out;
	bool terminal, drawn;
	struct lane lanes[BOARDS_MAX];
	size_t lane_count;
	long long started_ns, now_ns, drawn_ns;
	long long items, items_done, trials, cuts, failed, trials_planned;
	json_t *end;
	long long item_counts[5];
};

struct progress *progress_create(FILE *out, bool terminal)
{
	struct progress *p = calloc(1, sizeof(*p));

	if (p) {
		p->out = out;
		p->terminal = terminal;
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

static void draw(struct progress *p, bool force)
{
	double seconds = (double)(p->now_ns - p->started_ns) / 1e9;
	char line[512];
	size_t n = 0;

	if (!p->terminal || (!force && p->now_ns - p->drawn_ns < REDRAW_NS))
		return;
	p->drawn_ns = p->now_ns;
	n += (size_t)snprintf(line, sizeof(line), "%lld/%lld items", p->items_done, p->items);
	if (p->trials)
		n += (size_t)snprintf(line + n, sizeof(line) - n, ", %lld trials (%.1f/s)",
			p->trials, seconds > 0 ? (double)p->trials / seconds : 0);
	if (p->failed)
		n += (size_t)snprintf(line + n, sizeof(line) - n, ", %lld failed", p->failed);
	if (p->items_done && p->items_done < p->items)
		n += (size_t)snprintf(line + n, sizeof(line) - n, ", %.0f s left",
			seconds / (double)p->items_done * (double)(p->items - p->items_done));
	for (size_t i = 0; i < p->lane_count && n < sizeof(line) - 200; i++)
		if (p->lanes[i].item[0])
			n += (size_t)snprintf(line + n, sizeof(line) - n, " | %s %s %s",
				p->lanes[i].board, p->lanes[i].item, p->lanes[i].trial);
	fprintf(p->out, "\r\033[K%.*s", LINE_MAX_COLUMNS, line);
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
	if (strcmp(verdict, "pass") == 0)
		return;
	p->failed += strcmp(verdict, "fail") == 0;
	clear_line(p);
	fprintf(p->out, "%-13s %s %s: %s %s\n", verdict, lane ? lane->item : "",
		text(record, "trial"), text(finding, "name"), text(record, "again"));
	if (*text(record, "replay"))
		fprintf(p->out, "              replay: %s\n", text(record, "replay"));
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

void progress_finish(struct progress *p, const char *run_dir)
{
	double seconds = (double)(p->now_ns - p->started_ns) / 1e9;

	clear_line(p);
	if (!p->end) {
		fprintf(p->out, "the run died: its journal has no end\n");
	} else {
		fprintf(p->out, "\nverdict       %s%s%s\n", text(p->end, "verdict"),
			*text(p->end, "text") ? ": " : "", text(p->end, "text"));
		fprintf(p->out, "items         %lld of %lld passed", total(p, "pass"),
			total(p, "items"));
		if (total(p, "fail"))
			fprintf(p->out, ", %lld failed", total(p, "fail"));
		if (total(p, "error"))
			fprintf(p->out, ", %lld errors of the bench", total(p, "error"));
		if (total(p, "inconclusive"))
			fprintf(p->out, ", %lld inconclusive", total(p, "inconclusive"));
		if (total(p, "skipped"))
			fprintf(p->out, ", %lld skipped", total(p, "skipped"));
		fprintf(p->out, "\ncuts          %lld landed in %lld trials\n", total(p, "cuts"),
			total(p, "trials"));
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
