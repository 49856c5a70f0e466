#include "landing_touch.h"

#include "err.h"

#include <stdlib.h>
#include <string.h>

enum word { WORD_SAYS_NOTHING, WORD_OLD, WORD_NEW, WORD_NEITHER };

/* What the word at an offset shows of the update. */
static enum word look_at(const struct landing_touch *flash, size_t at)
{
	const uint8_t *before = flash->before + at, *after = flash->after + at;
	const uint8_t *rest = flash->rest + at;

	if (memcmp(before, rest, LANDING_TOUCH_WORD) == 0)
		return WORD_SAYS_NOTHING;
	if (memcmp(after, before, LANDING_TOUCH_WORD) == 0)
		return WORD_OLD;
	return memcmp(after, rest, LANDING_TOUCH_WORD) == 0 ? WORD_NEW : WORD_NEITHER;
}

void landing_touch_progress(const struct landing_touch *flash, struct landing_progress *progress)
{
	*progress = (struct landing_progress){0, 0, 0};
	for (size_t at = 0; at + LANDING_TOUCH_WORD <= flash->size; at += LANDING_TOUCH_WORD) {
		enum word word = look_at(flash, at);

		progress->old += word == WORD_OLD;
		progress->new += word == WORD_NEW;
		progress->neither += word == WORD_NEITHER;
	}
}

double landing_progress_share(const struct landing_progress *progress)
{
	size_t all = progress->old + progress->new + progress->neither;

	return all ? (double)progress->new / (double)all : 0;
}

bool landing_touch_knows(const struct oplog *log)
{
	if (!log->count || log->ops[0].kind != OPLOG_BREAKPOINT)
		return false;
	for (size_t i = 1; i < log->count; i++)
		if (log->ops[i].address != log->ops[0].address)
			return true;
	return false;
}

/* An operation that lies in flash. */
struct touch {
	size_t at; /* offset of its word */
	uint32_t number;
};

static int by_place(const void *a, const void *b)
{
	const struct touch *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static size_t collect(
	struct touch *touches, const struct landing_touch *flash, const struct oplog *log)
{
	size_t count = 0;

	for (size_t i = 0; i < log->count; i++) {
		uint32_t offset = log->ops[i].address - flash->base;
		size_t at = offset - offset % LANDING_TOUCH_WORD;

		if (log->ops[i].address < flash->base || at + LANDING_TOUCH_WORD > flash->size)
			continue;
		touches[count++] = (struct touch){at, (uint32_t)i + 1};
	}
	qsort(touches, count, sizeof(*touches), by_place);
	return count;
}

static bool is_alone(const struct touch *touches, size_t count, size_t i)
{
	return (i == 0 || touches[i - 1].at != touches[i].at) &&
	       (i + 1 == count || touches[i + 1].at != touches[i].at);
}

int landing_touch_find(struct landing *landing, const struct landing_touch *flash,
	const struct oplog *log, struct err *e)
{
	struct touch *touches = malloc((log->count + 1) * sizeof(*touches));
	uint32_t first = 0, last = (uint32_t)log->count;
	size_t count;

	memset(landing, 0, sizeof(*landing));
	landing->ranges = malloc(sizeof(*landing->ranges));
	if (!touches || !landing->ranges) {
		free(touches);
		landing_finish(landing);
		return err_set(e, ERR_NOMEM, "landing: out of memory");
	}
	count = collect(touches, flash, log);
	for (size_t i = 0; i < count; i++) {
		uint32_t number = touches[i].number;
		enum word word = is_alone(touches, count, i) ? look_at(flash, touches[i].at)
							     : WORD_SAYS_NOTHING;

		if (word == WORD_NEW && number > first)
			first = number;
		if (word == WORD_OLD && number - 1 < last)
			last = number - 1;
	}
	free(touches);
	if (first <= last)
		landing->ranges[landing->count++] =
			(struct landing_range){.first = first, .last = last, .torn = false};
	return 0;
}
