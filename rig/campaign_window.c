/*
 * The width of what fails: from the failure outwards, by 1, 2, 4 … operations with the same tear
 * until a cut passes, then back by halves to the edge; on both sides. Then the other tear at both
 * ends and in the middle. Failure is not monotone: the edges are those of this one window, as far
 * as no gap in it was leapt over.
 */
#include "campaign_priv.h"

#include <stdlib.h>

/* One more than the last position that can be cut with this tear. */
static uint32_t end_of(const struct campaign *c, enum cut_tear tear)
{
	return c->operations + (tear == TEAR_CLEAN ? 2 : 1);
}

static struct campaign_window *current(struct campaign *c)
{
	return &c->windows[c->window_count - 1];
}

void campaign_window_failed(struct campaign *c, const struct cut *landed)
{
	uint32_t position = campaign_position(c, landed);

	if (!c->options.windows || c->search.active || c->window_count == CAMPAIGN_WINDOWS_MAX)
		return;
	/* beside one is in it: the other tear reaches one operation further as a rule */
	for (size_t i = 0; i < c->window_count; i++)
		if (position + 1 >= c->windows[i].first && position <= c->windows[i].last + 1)
			return;
	c->windows[c->window_count++] = (struct campaign_window){.first = position,
		.last = position,
		.tear = landed->tear == TEAR_CLEAN ? CAMPAIGN_CLEAN : CAMPAIGN_TORN,
		.found = *landed};
	c->search = (struct search){.active = true,
		.origin = position,
		.tear = landed->tear,
		.sides = {{.dir = -1, .in = position, .step = 1},
			{.dir = 1, .in = position, .step = 1}}};
}

/* The nearest position outwards that passed, or the one beyond the last. */
static uint32_t far_of(const struct campaign *c, const struct side *side)
{
	const uint8_t *state = c->state[c->search.tear];
	uint32_t end = side->dir < 0 ? 0 : end_of(c, c->search.tear), at = side->in;

	do
		at += (uint32_t)side->dir;
	while (at != end && !(state[at] & PASSED));
	return at;
}

static bool is_between(uint32_t at, uint32_t a, uint32_t b)
{
	return a < b ? a < at && at < b : b < at && at < a;
}

/* The position of which it would be best to know whether it fails. */
static uint32_t wanted(const struct campaign *c, struct side *side, uint32_t far)
{
	const struct search *search = &c->search;
	uint32_t distance = (uint32_t)labs((long)side->in - (long)search->origin);
	uint32_t room = (uint32_t)labs((long)far - (long)search->origin);

	while (side->step <= distance)
		side->step *= 2;
	if (!side->bisecting && side->step < room)
		return search->origin + (uint32_t)side->dir * side->step;
	side->bisecting = true;
	if (far != 0 && far != end_of(c, search->tear))
		return side->in / 2 + far / 2 + (side->in & far & 1);
	return far - (uint32_t)side->dir;
}

/*
 * The position nearest to want, between the two, that is known to fail or was not asked for yet; 0:
 * none is.
 */
static uint32_t usable(const struct campaign *c, uint32_t want, uint32_t in, uint32_t far)
{
	const uint8_t *state = c->state[c->search.tear];
	uint32_t span = (uint32_t)labs((long)far - (long)in);

	for (uint32_t d = 0; d < span; d++) {
		const uint32_t at[] = {
			far > in ? want + d : want - d, far > in ? want - d : want + d};

		for (int i = 0; i < 2; i++)
			if (is_between(at[i], in, far) &&
				(state[at[i]] & FAILED || !(state[at[i]] & ASKED)))
				return at[i];
	}
	return 0;
}

/* Whether nothing between the two can be torn, so that the edge is known all the same. */
static bool is_empty(const struct campaign *c, uint32_t a, uint32_t b)
{
	const uint8_t *state = c->state[c->search.tear];
	uint32_t low = a < b ? a : b, high = a < b ? b : a;

	for (uint32_t at = low + 1; at < high; at++)
		if (!(state[at] & UNTEARABLE))
			return false;
	return true;
}

/* The next position to ask for on this side; 0: its edge is known as well as it will be. */
static uint32_t side_next(struct campaign *c, struct side *side)
{
	const uint8_t *state = c->state[c->search.tear];

	while (!side->done) {
		uint32_t far, at;

		if (side->probe && state[side->probe] & PASSED)
			side->bisecting = true;
		side->probe = 0;
		far = far_of(c, side);
		at = usable(c, wanted(c, side, far), side->in, far);
		if (at && state[at] & FAILED) {
			side->in = at;
		} else if (at) {
			side->probe = at;
			return at;
		} else {
			side->done = true;
			side->exact = is_empty(c, side->in, far);
		}
	}
	return 0;
}

/* The next of both ends and the middle that was not tried with the other tear; 0: none, and the
 * window's tear is known. */
static uint32_t other_next(struct campaign *c, struct campaign_window *w, enum cut_tear other)
{
	const uint32_t at[] = {w->first, w->first + (w->last - w->first) / 2, w->last};
	bool fails = false;

	if (other == TEAR_TORN && !c->options.tears)
		return 0;
	for (int i = 0; i < 3; i++) {
		uint8_t state = at[i] < end_of(c, other) ? c->state[other][at[i]] : ASKED;

		if (state & FAILED)
			fails = true;
		else if (state & PASSED)
			return 0;
		else if (!(state & ASKED))
			return at[i];
	}
	if (fails)
		w->tear = CAMPAIGN_ANY;
	return 0;
}

bool campaign_window_next(struct campaign *c, struct cut *cut)
{
	struct search *search = &c->search;
	enum cut_tear tear = search->tear;
	struct campaign_window *w;
	uint32_t at = 0;

	if (!search->active)
		return false;
	w = current(c);
	for (int i = 0; i < 2 && !at; i++)
		at = side_next(c, &search->sides[i]);
	w->first = search->sides[0].in;
	w->last = search->sides[1].in;
	w->whole = search->sides[0].exact && search->sides[1].exact;
	if (!at) {
		tear = tear == TEAR_CLEAN ? TEAR_TORN : TEAR_CLEAN;
		at = other_next(c, w, tear);
	}
	if (!at || w->trials == CAMPAIGN_WINDOW_TRIALS_MAX) {
		search->active = false;
		return false;
	}
	w->trials++;
	*cut = campaign_cut_at(c, at, tear);
	return true;
}
