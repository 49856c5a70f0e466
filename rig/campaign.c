#include "campaign.h"

#include "campaign_priv.h"
#include "classes.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

#define STRIDE 27720 /* what 1 to 12 divide */
#define WEIGHT_MAX 12
/* Trials for a cut that does not land, or not where nothing landed before, end somewhere. */
#define ASKED_SPARE 16

static const char *const why_names[WHYS] = {
	[WHY_METADATA] = "metadata",
	[WHY_EDGE] = "edge",
	[WHY_BULK] = "bulk",
	[WHY_SECOND] = "second",
	[WHY_WINDOW] = "window",
};

/* --- life --------------------------------------------------------------------------------------
 */

/*
 * A small campaign gets a fair share of everything: of ten trials four for metadata, two for edges,
 * bulk and second cuts each. Where that is not enough to exhaust the metadata within the limit they
 * get more, and the more the nearer that is; second cuts, which follow them, too.
 */
static void weigh(struct campaign *c)
{
	static const unsigned weights[STREAMS] = {4, 2, 2, 2};
	size_t least = weights[STREAM_METADATA], most = WEIGHT_MAX;
	size_t rest = weights[STREAM_EDGE] + weights[STREAM_BULK];
	size_t limit = c->options.limit, need = c->places.metadata + 1, w = least;
	struct level *roles = &c->streams[STREAM_METADATA].levels[0];

	for (int i = 0; i < STREAMS; i++)
		c->streams[i].weight = weights[i];
	/* with a bit to spare for cuts that do not land */
	while (w < most && need > limit / (w + rest) * w / 16 * 15)
		w++;
	if (w == most && limit < need)
		w = least + (most - least) * limit / need;
	c->streams[STREAM_METADATA].weight = (unsigned)w;
	c->streams[STREAM_SECOND].weight = (unsigned)w / 2;
	c->streams[STREAM_SECOND].done = !c->options.second;
	/* each transition goes on with the roles where the one before it left off */
	if (limit < SIZE_MAX / WEIGHT_MAX)
		for (unsigned i = 0; i < roles->count; i++)
			roles->walks[i].first =
				c->options.index * (limit * w / (w + rest) / roles->count);
}

int campaign_create(struct campaign **campaign, const struct oplog *log,
	const struct classes *classes, const struct campaign_options *options, struct err *e)
{
	struct campaign *c;
	int code;

	*campaign = NULL;
	if (classes->operations != log->count)
		return err_set(e, ERR_USAGE, "campaign: the classes are of another log");
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, ERR_NOMEM, "campaign: out of memory");
	c->options = *options;
	c->operations = (uint32_t)log->count;
	c->turned = campaign_mix(options->seed) % 20 + (uint64_t)3 * options->index;
	for (int tear = 0; tear < 2; tear++)
		c->state[tear] = calloc(log->count + 2, 1);
	if (!c->state[0] || !c->state[1])
		code = err_set(e, ERR_NOMEM, "campaign: out of memory");
	else
		code = campaign_places_init(c, classes, e);
	if (code) {
		campaign_destroy(c);
		return code;
	}
	weigh(c);
	*campaign = c;
	return 0;
}

void campaign_destroy(struct campaign *campaign)
{
	if (!campaign)
		return;
	for (int tear = 0; tear < 2; tear++)
		free(campaign->state[tear]);
	free(campaign->places.list);
	free(campaign->bases);
	free(campaign);
}

/* --- second cuts -------------------------------------------------------------------------------
 */

/*
 * A place and tear in the recovery from a base that was not tried yet: in twenty turns each of the
 * ten places comes with both tears. False: all were tried.
 */
static bool second_of(struct campaign *c, struct base *base, struct cut *cut)
{
	for (unsigned i = 0; i < 2 * CAMPAIGN_SECOND_PLACES; i++) {
		uint64_t turn = c->turned + i;
		uint32_t place = (uint32_t)(7 * turn % CAMPAIGN_SECOND_PLACES) % base->reach;
		bool torn = c->options.tears && (turn + turn / CAMPAIGN_SECOND_PLACES) % 2;
		uint32_t bit = 1u << (2 * place + torn);
		uint64_t noise;

		if (base->used & bit)
			continue;
		base->used |= bit;
		c->turned = turn + 1;
		noise = campaign_mix(c->options.seed ^ (uint64_t)base->first.op << 32 ^ place);
		*cut = (struct cut){.op = place + 1,
			.tear = torn ? TEAR_TORN : TEAR_CLEAN,
			.seed = torn ? (uint32_t)(noise % 65535) + 1 : 0};
		return true;
	}
	return false;
}

static bool others_done(const struct campaign *c)
{
	for (int i = 0; i < STREAM_SECOND; i++)
		if (!c->streams[i].done)
			return false;
	return true;
}

/* One for each base first; more when there is room for them. */
static bool second_next(struct campaign *c, struct cuts *cuts)
{
	struct base *base = NULL;
	struct cut second;

	if (3 * (c->made[WHY_SECOND] + 1) > c->trials + 1)
		return false;
	if (c->fresh < c->base_count) {
		base = &c->bases[c->fresh++];
		if (!second_of(c, base, &second))
			return false;
	} else {
		bool found = false;

		if (c->options.limit != SIZE_MAX && !others_done(c))
			return false;
		for (size_t i = 0; i < c->base_count && !found; i++) {
			base = &c->bases[c->again++ % c->base_count];
			found = second_of(c, base, &second);
		}
		if (!found)
			return false;
	}
	*cuts = (struct cuts){.list = {base->first, second}, .count = 2};
	return true;
}

static int add_base(struct campaign *c, const struct cut *first, long recovery, struct err *e)
{
	if (!c->bases || c->base_count == c->base_room) {
		size_t room = c->base_room ? c->base_room * 2 : 64;
		struct base *grown = realloc(c->bases, room * sizeof(*grown));

		if (!grown)
			return err_set(e, ERR_NOMEM, "campaign: out of memory");
		c->bases = grown;
		c->base_room = room;
	}
	c->bases[c->base_count++] = (struct base){.first = *first,
		.reach = recovery < CAMPAIGN_SECOND_PLACES ? (uint32_t)recovery
							   : CAMPAIGN_SECOND_PLACES};
	return 0;
}

/* --- what is next ------------------------------------------------------------------------------
 */

static bool is_at_limit(const struct campaign *c)
{
	size_t limit = c->options.limit;
	/* on a bench that can place nothing, what fired is all there is to count */
	size_t reached = c->counted > c->unplaced ? c->counted : c->unplaced;

	return reached >= limit ||
	       (limit < SIZE_MAX / 2 - ASKED_SPARE && c->asked >= 2 * limit + ASKED_SPARE);
}

/* The stream whose turn it is; STREAMS: all are done. */
static enum stream_name whose_turn(const struct campaign *c)
{
	int best = STREAMS;

	for (int i = 0; i < STREAMS; i++)
		if (!c->streams[i].done &&
			(best == STREAMS || c->streams[i].pass < c->streams[best].pass))
			best = i;
	return (enum stream_name)best;
}

static enum why why_of(const struct campaign *c, enum stream_name name, const struct cut *cut)
{
	uint32_t position = campaign_position(c, cut);

	if (c->state[cut->tear][position] & METADATA)
		return WHY_METADATA;
	return name == STREAM_BULK ? WHY_BULK : WHY_EDGE;
}

static bool stream_next(struct campaign *c, struct cuts *cuts, enum why *why)
{
	enum stream_name name;

	while ((name = whose_turn(c)) != STREAMS) {
		struct stream *stream = &c->streams[name];
		bool alone = name == STREAM_SECOND && others_done(c);

		if (name == STREAM_SECOND) {
			stream->pass += STRIDE / stream->weight;
			*why = WHY_SECOND;
			if (second_next(c, cuts))
				return true;
			if (alone)
				return false;
			continue; /* its turn is over; there may be some later */
		}
		cuts->count = 1;
		if (campaign_stream_next(c, stream, &cuts->list[0])) {
			*why = why_of(c, name, &cuts->list[0]);
			c->asked++;
			/* the end may be metadata: then it is these that had their turn */
			stream = &c->streams[*why == WHY_METADATA ? STREAM_METADATA : name];
			stream->pass += STRIDE / stream->weight;
			return true;
		}
		stream->done = true;
	}
	return false;
}

bool campaign_next(struct campaign *campaign, struct cuts *cuts, const char **why)
{
	struct campaign *c = campaign;
	enum why reason = WHY_WINDOW;

	memset(cuts, 0, sizeof(*cuts));
	cuts->count = 1;
	if (!campaign_window_next(c, &cuts->list[0]) &&
		(is_at_limit(c) || !stream_next(c, cuts, &reason))) {
		cuts->count = 0;
		return false;
	}
	if (cuts->count == 1)
		c->state[cuts->list[0].tear][campaign_position(c, &cuts->list[0])] |= ASKED;
	c->trials++;
	c->made[reason]++;
	c->pending = *cuts;
	c->pending_why = reason;
	*why = why_names[reason];
	return true;
}

/* --- what became of it -------------------------------------------------------------------------
 */

/* Notes where the first cut landed; returns the position, or 0 when that is not known. */
static uint32_t note_landing(struct campaign *c, const struct cut *requested,
	const struct campaign_outcome *o, bool single, bool counts)
{
	uint32_t asked = campaign_position(c, requested);
	uint32_t at = o->placed ? campaign_position(c, &o->landed) : 0;
	uint8_t *state;

	if (!at) {
		c->unplaced += counts && single;
		return 0;
	}
	if (requested->tear != TEAR_CLEAN && o->landed.tear == TEAR_CLEAN &&
		(at == asked || at == asked + 1))
		c->state[requested->tear][asked] |= UNTEARABLE;
	state = &c->state[o->landed.tear][at];
	/* with a second cut it says nothing of this one alone, which is still to be tried */
	if (single)
		*state |= ALONE;
	if (!(*state & LANDED)) {
		*state |= LANDED;
		c->landed++;
		c->counted += counts;
	}
	return at;
}

static int note_single(struct campaign *c, const struct cut *cut, uint32_t landed,
	const struct campaign_outcome *o, struct err *e)
{
	uint8_t *asked = &c->state[cut->tear][campaign_position(c, cut)];

	if (landed)
		c->state[o->landed.tear][landed] |= o->failed ? FAILED : PASSED;
	if (landed && o->failed)
		campaign_window_failed(c, &o->landed);
	if (o->failed || o->recovery <= 0 || (*asked & (METADATA | BASED)) != METADATA)
		return 0;
	*asked |= BASED;
	return add_base(c, cut, o->recovery, e);
}

int campaign_outcome(struct campaign *campaign, const struct cuts *cuts,
	const struct campaign_outcome *outcome, struct err *e)
{
	struct campaign *c = campaign;
	const struct cut *first = &cuts->list[0];
	uint32_t landed, position = cuts->count ? campaign_position(c, first) : 0;
	bool ours = c->pending.count && cuts_compare(cuts, &c->pending) == 0;
	char text[CUTS_TEXT_MAX];

	if (!position)
		return err_set(e, ERR_USAGE, "campaign: the update has no cut \"%s\"",
			cuts_format(cuts, text));
	if (ours)
		c->pending.count = 0;
	if (cuts->count == 1)
		c->state[first->tear][position] |= ASKED;
	if (outcome->error || !outcome->fired)
		return 0;
	landed = note_landing(
		c, first, outcome, cuts->count == 1, !(ours && c->pending_why == WHY_WINDOW));
	return cuts->count == 1 ? note_single(c, first, landed, outcome, e) : 0;
}

/* --- what it comes to --------------------------------------------------------------------------
 */

size_t campaign_landed(const struct campaign *campaign)
{
	return campaign->landed;
}

const struct campaign_window *campaign_window(const struct campaign *campaign, size_t index)
{
	size_t known = campaign->window_count - campaign->search.active;

	return index < known ? &campaign->windows[index] : NULL;
}

const char *campaign_tear_name(enum campaign_tear tear)
{
	static const char *const names[] = {
		[CAMPAIGN_CLEAN] = "clean", [CAMPAIGN_TORN] = "torn", [CAMPAIGN_ANY] = "any"};

	return names[tear];
}

/* A copy to go on with; the lists are those of the original. NULL without memory. */
static struct campaign *copy(const struct campaign *c)
{
	size_t positions = (size_t)c->operations + 2;
	struct campaign *to = malloc(sizeof(*to));

	if (!to)
		return NULL;
	*to = *c;
	for (int tear = 0; tear < 2; tear++) {
		to->state[tear] = malloc(positions);
		if (to->state[tear])
			memcpy(to->state[tear], c->state[tear], positions);
	}
	to->places.list = NULL;
	to->base_room = c->base_count;
	to->bases = calloc(c->base_count + 1, sizeof(*to->bases));
	if (to->bases && c->base_count)
		memcpy(to->bases, c->bases, c->base_count * sizeof(*to->bases));
	if (to->state[0] && to->state[1] && to->bases)
		return to;
	campaign_destroy(to);
	return NULL;
}

static size_t gap_of(const struct campaign *c)
{
	size_t gap = 0, run = 0;

	for (size_t at = 1; at <= (size_t)c->operations + 1; at++) {
		run = (c->state[0][at] | c->state[1][at]) & LANDED ? 0 : run + 1;
		gap = run > gap ? run : gap;
	}
	return gap;
}

int campaign_planned(const struct campaign *campaign, struct campaign_plan *plan, struct err *e)
{
	struct campaign *c = copy(campaign);
	struct cuts cuts;
	const char *why;
	int code = 0;

	if (!c)
		return err_set(e, ERR_NOMEM, "campaign: out of memory");
	while (code == 0 && campaign_next(c, &cuts, &why)) {
		const struct campaign_outcome ideal = {.fired = true,
			.placed = true,
			.landed = cuts.list[0],
			.cuts_fired = (unsigned)cuts.count,
			.recovery = CAMPAIGN_SECOND_PLACES};

		code = campaign_outcome(c, &cuts, &ideal, e);
	}
	*plan = (struct campaign_plan){.metadata = c->made[WHY_METADATA],
		.edge = c->made[WHY_EDGE],
		.bulk = c->made[WHY_BULK],
		.second = c->made[WHY_SECOND],
		.window = c->made[WHY_WINDOW],
		.total = c->trials,
		.cuts = c->landed,
		.gap = gap_of(c)};
	campaign_destroy(c);
	return code;
}
