/* Inside the campaign: campaign.c, campaign_places.c and campaign_window.c alone include this. */
#ifndef RIG_CAMPAIGN_PRIV_H
#define RIG_CAMPAIGN_PRIV_H

#include "campaign.h"

/*
 * A position is where a single cut can be: 1 to operations, clean or torn, and operations + 1,
 * clean, which is "end". What is known of it with each tear:
 */
enum {
	ASKED = 1,       /* as a single cut */
	LANDED = 2,      /* a trial's first cut landed there */
	PASSED = 4,      /* a trial with that cut alone */
	FAILED = 8,      /* the same */
	UNTEARABLE = 16, /* torn there, it landed as a clean one */
	METADATA = 32,   /* before, torn or after a metadata operation */
	BASED = 64,      /* second cuts may follow it */
	ALONE = 128,     /* a trial with that cut alone landed there */
};

/*
 * Positions to be tried with one tear: in van der Corput order, or by steps of about the golden
 * ratio, which come to each position once before any again and can be taken up anywhere.
 */
struct walk {
	const uint32_t *where; /* operations, rising (not owned) */
	size_t count;
	uint32_t after; /* 1: the cut is after the operation, that is at the next one */
	enum cut_tear tear;
	uint8_t skip; /* positions of which this is known: ASKED, ALONE … */
	uint32_t phase;
	unsigned bits; /* of 2^bits points, next is the next one */
	uint64_t next;
	size_t step;    /* 0: van der Corput; else coprime to count, */
	uint64_t first; /* and this is how many steps others have gone before */
};

#define WALKS_MAX 3

/* Walks that take turns. */
struct level {
	struct walk walks[WALKS_MAX];
	unsigned count, turn;
};

#define LEVELS_MAX 6

enum stream_name { STREAM_METADATA, STREAM_EDGE, STREAM_BULK, STREAM_SECOND, STREAMS };

/* Levels that follow each other; the streams take turns by their weights. */
struct stream {
	struct level levels[LEVELS_MAX];
	unsigned count, at;
	unsigned weight;
	uint64_t pass; /* the stream with the lowest is next */
	bool done;
};

/* Lists of operations that the walks go over, never changed once made. */
struct places {
	uint32_t *list;  /* all of them, one behind the other */
	size_t used;     /* of list */
	size_t metadata; /* single cuts that metadata ask for */
};

/* A metadata cut whose recovery can be cut. */
struct base {
	struct cut first;
	uint32_t reach; /* places in its recovery */
	uint32_t used;  /* a bit for each place and tear that was tried */
};

enum why { WHY_METADATA, WHY_EDGE, WHY_BULK, WHY_SECOND, WHY_WINDOW, WHYS };

/* One end of a window that is looked for. Outwards is by dir. */
struct side {
	int dir;
	uint32_t in;    /* the outermost position that is known to fail */
	uint32_t probe; /* what was asked for last; 0: nothing */
	uint32_t step;  /* of the gallop: how far from the origin */
	bool bisecting, done, exact;
};

struct search {
	bool active;
	uint32_t origin;
	enum cut_tear tear;
	struct side sides[2]; /* left, right */
};

struct campaign {
	struct campaign_options options;
	uint32_t operations;
	uint8_t *state[2]; /* by tear and position */
	struct places places;
	struct stream streams[STREAMS];

	struct base *bases;
	size_t base_count, base_room;
	size_t fresh;    /* the first base without a second cut */
	size_t again;    /* the next one to get another one */
	uint64_t turned; /* turns place and tear from second cut to second cut */

	struct cuts pending; /* given last; count 0: nothing */
	enum why pending_why;
	size_t asked; /* first cuts, but for those of searches */
	size_t trials, made[WHYS];
	size_t landed;   /* distinct */
	size_t counted;  /* of these, those that count against the limit */
	size_t unplaced; /* fired, and flash did not show where */

	struct search search;
	struct campaign_window windows[CAMPAIGN_WINDOWS_MAX];
	size_t window_count; /* with the one that is being looked for */
};

/* --- campaign_places.c: what is to be cut ------------------------------------------------------
 */

/* SplitMix64's finalizer: bits that have nothing to do with those of x's neighbours. */
uint64_t campaign_mix(uint64_t x);

/* Fills places, the streams' levels, and METADATA in state. ERR_NOMEM. */
int campaign_places_init(struct campaign *c, const struct classes *classes, struct err *e);

/* The stream's next position that was not tried yet; false when it has no more. */
bool campaign_stream_next(struct campaign *c, struct stream *stream, struct cut *cut);

/* The cut at a position, and back (0: no position of this log). */
struct cut campaign_cut_at(const struct campaign *c, uint32_t position, enum cut_tear tear);
uint32_t campaign_position(const struct campaign *c, const struct cut *cut);

/* --- campaign_window.c -------------------------------------------------------------------------
 */

/* A single cut that landed here failed: opens a search, unless a window is there already. */
void campaign_window_failed(struct campaign *c, const struct cut *landed);

/* The next cut of the search; false: it is over, or none is on. */
bool campaign_window_next(struct campaign *c, struct cut *cut);

#endif
