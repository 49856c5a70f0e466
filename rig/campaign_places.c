/* What a campaign cuts, and in which order: metadata, edges, bulk. */
#include "campaign_priv.h"

#include "classes.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

#define GOLDEN 0x9e3779b9u /* 2^32 over the golden ratio */
/* Of the whole turn. Against a walk of 2^k points, walks turned by one and two thirds are evenly
 * between them for every k, so that every prefix of all three is spread. */
#define THIRD 0x55555555u
/* 2^32 over the plastic number: with GOLDEN, multiples of both are spread in two dimensions. */
#define PLASTIC 0xc13fa9a9u
#define SPOTS 8 /* of each tear, in a transition */

uint64_t campaign_mix(uint64_t x)
{
	/* Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014 */
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

struct cut campaign_cut_at(const struct campaign *c, uint32_t position, enum cut_tear tear)
{
	uint64_t noise = campaign_mix(c->options.seed ^ (uint64_t)position << 32);

	if (position > c->operations)
		return (struct cut){.op = CUT_END};
	return (struct cut){.op = position,
		.tear = tear,
		.seed = tear == TEAR_CLEAN ? 0 : (uint32_t)(noise % 65535) + 1};
}

uint32_t campaign_position(const struct campaign *c, const struct cut *cut)
{
	if (cut->tear == TEAR_CLEAN && (cut->op == CUT_END || cut->op == c->operations + 1))
		return c->operations + 1;
	return cut->op <= c->operations ? cut->op : 0;
}

/* --- walks ------------------------------------------------------------------------------------ */

static uint64_t reverse(uint64_t x, unsigned bits)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < bits; i++)
		r |= (x >> i & 1) << (bits - 1 - i);
	return r;
}

/* The walk's place number n, or false when it has no more. */
static bool walk_place(const struct walk *walk, uint64_t n, size_t *place)
{
	uint64_t point;

	if (!walk->count)
		return false;
	if (walk->step) {
		size_t origin = (size_t)((uint64_t)walk->phase * walk->count >> 32);
		uint64_t steps = (walk->first + n) % walk->count;

		*place = (size_t)((origin + steps * walk->step) % walk->count);
		return n < walk->count;
	}
	if (n >= (uint64_t)1 << walk->bits)
		return false;
	point = (reverse(n, walk->bits) << 32) >> walk->bits;
	*place = (size_t)(((point + walk->phase) & UINT32_MAX) * walk->count >> 32);
	return true;
}

static bool walk_next(struct campaign *c, struct walk *walk, struct cut *cut)
{
	size_t place;

	while (walk_place(walk, walk->next, &place)) {
		uint32_t position = walk->where[place] + walk->after;

		walk->next++;
		if (!(c->state[walk->tear][position] & walk->skip)) {
			*cut = campaign_cut_at(c, position, walk->tear);
			return true;
		}
	}
	return false;
}

static size_t common_divisor(size_t a, size_t b)
{
	while (b) {
		size_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* About count over the golden ratio, and coprime to it: its multiples come to every place. */
static size_t golden_step(size_t count)
{
	size_t step = (size_t)((uint64_t)count * GOLDEN >> 32);

	if (step == 0)
		step = 1;
	while (count && common_divisor(count, step) != 1)
		step++;
	return step;
}

bool campaign_stream_next(struct campaign *c, struct stream *stream, struct cut *cut)
{
	for (; stream->at < stream->count; stream->at++) {
		struct level *level = &stream->levels[stream->at];

		for (unsigned i = 0; i < level->count; i++) {
			struct walk *walk = &level->walks[level->turn++ % level->count];

			if (walk_next(c, walk, cut))
				return true;
		}
	}
	return false;
}

/* --- lists ------------------------------------------------------------------------------------ */

static void put(struct places *places, uint32_t position)
{
	places->list[places->used++] = position;
}

static int rising(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* What was put since start: sorts it, each once, and gives it to a walk. */
static void add_walk(
	struct campaign *c, struct level *level, size_t start, enum cut_tear tear, uint32_t phase)
{
	struct places *places = &c->places;
	struct walk *walk = &level->walks[level->count];
	uint32_t *list = places->list + start;
	size_t count = places->used - start, used = 0;

	if (tear == TEAR_TORN && !c->options.tears)
		return;
	if (count)
		qsort(list, count, sizeof(*list), rising);
	for (size_t i = 0; i < count; i++)
		if (used == 0 || list[used - 1] != list[i])
			list[used++] = list[i];
	places->used = start + used;
	*walk = (struct walk){
		.where = list, .count = used, .tear = tear, .skip = ASKED | ALONE, .phase = phase};
	while ((uint64_t)1 << walk->bits < used)
		walk->bits++;
	level->count++;
}

static struct level *add_level(struct stream *stream)
{
	return &stream->levels[stream->count++];
}

/* The operation of the class that follows its first one or comes before its last one. */
static uint32_t second_of(const struct op_class *class)
{
	const struct class_range *r = class->ranges;

	return r->first < r->last || class->range_count == 1 ? r->first + (r->first < r->last)
							     : r[1].first;
}

static uint32_t last_but_one_of(const struct op_class *class)
{
	const struct class_range *r = &class->ranges[class->range_count - 1];

	return r->first < r->last || class->range_count == 1 ? r->last - (r->first < r->last)
							     : r[-1].last;
}

static void put_class_ends(struct places *places, const struct op_class *class)
{
	put(places, class->ranges[0].first);
	put(places, class->ranges[class->range_count - 1].last);
}

static void put_class_neighbours(struct places *places, const struct op_class *class)
{
	put(places, second_of(class));
	put(places, last_but_one_of(class));
}

static void put_stretch_ends(struct places *places, const struct op_class *class)
{
	for (size_t i = 0; i < class->range_count; i++) {
		put(places, class->ranges[i].first);
		put(places, class->ranges[i].last);
	}
}

static void put_stretch_neighbours(struct places *places, const struct op_class *class)
{
	for (size_t i = 0; i < class->range_count; i++) {
		if (class->ranges[i].first == class->ranges[i].last)
			continue;
		put(places, class->ranges[i].first + 1);
		put(places, class->ranges[i].last - 1);
	}
}

static void put_all(struct places *places, const struct op_class *class)
{
	for (size_t i = 0; i < class->range_count; i++)
		for (uint32_t op = class->ranges[i].first; op <= class->ranges[i].last; op++)
			put(places, op);
}

/* --- streams ---------------------------------------------------------------------------------- */

static size_t put_classes(struct campaign *c, const struct classes *classes, bool metadata,
	void (*put_class)(struct places *places, const struct op_class *class))
{
	size_t start = c->places.used;

	for (size_t i = 0; i < classes->count; i++)
		if (classes->list[i].metadata == metadata)
			put_class(&c->places, &classes->list[i]);
	return start;
}

/*
 * The end, the first operation, and the last one torn and not done: what an update does last is
 * often what decides. Then the edges of classes, then of stretches.
 */
static void add_edges(struct campaign *c, const struct classes *classes, uint32_t phase)
{
	static void (*const puts[])(struct places * places, const struct op_class *class) = {
		put_class_ends, put_class_neighbours, put_stretch_ends, put_stretch_neighbours};
	struct stream *stream = &c->streams[STREAM_EDGE];
	struct level *ends = add_level(stream);
	size_t start = c->places.used;

	put(&c->places, c->operations + 1);
	put(&c->places, 1);
	ends->walks[ends->count++] = (struct walk){.where = c->places.list + start,
		.count = c->operations ? 2 : 1,
		.skip = ASKED | ALONE,
		.bits = c->operations ? 1 : 0};
	start = c->places.used;
	if (c->operations) {
		ends = add_level(stream);
		put(&c->places, c->operations);
		add_walk(c, ends, start, TEAR_TORN, 0);
		add_walk(c, ends, start, TEAR_CLEAN, 0);
	}
	for (size_t i = 0; i < sizeof(puts) / sizeof(*puts); i++) {
		struct level *level = add_level(stream);

		start = put_classes(c, classes, false, puts[i]);
		add_walk(c, level, start, TEAR_TORN, phase + THIRD);
		add_walk(c, level, start, TEAR_CLEAN, phase);
		/* the first of many a stretch is right after metadata, whose business it is: else
		 * these places would come in every transition */
		for (unsigned k = 0; k < level->count; k++)
			level->walks[k].skip |= METADATA;
	}
}

/* The stretch of its class that an operation is in. */
static const struct class_range *stretch_of(const struct classes *classes, uint32_t op)
{
	const struct op_class *class = &classes->list[classes->of[op - 1]];
	size_t low = 0, high = class->range_count - 1;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (class->ranges[middle].last < op)
			low = middle + 1;
		else
			high = middle;
	}
	return &class->ranges[low];
}

/*
 * The first few operations of the bulk: their stretches are chosen as walk chooses operations, and
 * where in the stretch each lies goes on from transition to transition. What fails in the last
 * words of every page, say, is a small part of each stretch, which a few operations of each
 * transition find together, but would as well miss if they fell where they happen to.
 */
static void add_spots(struct campaign *c, const struct classes *classes, struct level *level,
	const struct walk *walk, uint32_t phase)
{
	struct walk *spots = &level->walks[level->count++];
	uint32_t turn = c->options.index * GOLDEN + phase;

	*spots = *walk;
	spots->where = c->places.list + c->places.used;
	spots->phase = 0;
	spots->step = 1;
	for (uint32_t n = 0; n < SPOTS; n++) {
		const struct class_range *r;
		uint64_t length;
		size_t place;

		if (!walk_place(walk, n, &place))
			break;
		r = stretch_of(classes, walk->where[place]);
		length = r->last - r->first + 1;
		put(&c->places, r->first + (uint32_t)((turn + n * PLASTIC) * length >> 32));
	}
	spots->count = (size_t)(c->places.list + c->places.used - spots->where);
}

static void add_bulk(struct campaign *c, const struct classes *classes, uint32_t phase)
{
	struct level *first = add_level(&c->streams[STREAM_BULK]);
	struct level *level = add_level(&c->streams[STREAM_BULK]);
	size_t start = put_classes(c, classes, false, put_all);
	uint32_t within = (uint32_t)campaign_mix(c->options.seed + 2);

	add_walk(c, level, start, TEAR_CLEAN, phase);
	add_walk(c, level, start, TEAR_TORN, phase + THIRD);
	for (unsigned i = 0; i < level->count; i++)
		add_spots(c, classes, first, &level->walks[i], within + i * THIRD);
}

static void mark_metadata(struct campaign *c, uint32_t position, enum cut_tear tear)
{
	c->places.metadata += !(c->state[tear][position] & METADATA);
	c->state[tear][position] |= METADATA;
}

/*
 * What a metadata operation is in the course of things: its class, what was done before its run of
 * metadata and what comes after, and whether it is the run's first, last or one between. The status
 * records that follow the copying of each page are all the same in that.
 */
struct role {
	uint32_t key[4];
	uint32_t op;
};

static int by_role(const void *a, const void *b)
{
	const struct role *x = a, *y = b;

	for (size_t i = 0; i < sizeof(x->key) / sizeof(*x->key); i++)
		if (x->key[i] != y->key[i])
			return x->key[i] < y->key[i] ? -1 : 1;
	return (x->op > y->op) - (x->op < y->op);
}

/* The roles of the metadata operations of a run, first to last, by number from 0. */
static size_t put_run(
	struct role *roles, const struct classes *classes, uint32_t first, uint32_t last)
{
	uint32_t none = (uint32_t)classes->count;
	uint32_t before = first ? classes->of[first - 1] : none;
	uint32_t after = last + 1 < classes->operations ? classes->of[last + 1] : none;

	for (uint32_t i = first; i <= last; i++)
		roles[i - first] = (struct role){
			.key = {classes->of[i], before, after, i == last ? 2 : i > first},
			.op = i + 1};
	return last - first + 1;
}

static size_t find_roles(struct role *roles, const struct classes *classes)
{
	uint32_t operations = (uint32_t)classes->operations, last;
	size_t count = 0;

	for (uint32_t i = 0; i < operations; i = last + 1) {
		last = i;
		while (last + 1 < operations && classes->of[last + 1] == classes->of[i])
			last++;
		if (classes->list[classes->of[i]].metadata)
			count += put_run(roles + count, classes, i, last);
	}
	qsort(roles, count, sizeof(*roles), by_role);
	return count;
}

/* One operation of each role, another one from transition to transition. */
static int put_roles(struct campaign *c, const struct classes *classes, struct err *e)
{
	struct role *roles = calloc(classes->operations + 1, sizeof(*roles));
	uint32_t turn = c->options.index * GOLDEN + (uint32_t)campaign_mix(c->options.seed + 1);
	size_t count, end;

	if (!roles)
		return err_set(e, ERR_NOMEM, "campaign: out of memory");
	count = find_roles(roles, classes);
	for (size_t i = 0; i < count; i = end) {
		for (end = i + 1; end < count &&
				  memcmp(roles[i].key, roles[end].key, sizeof(roles[i].key)) == 0;)
			end++;
		put(&c->places, roles[i + (size_t)((uint64_t)turn * (end - i) >> 32)].op);
	}
	free(roles);
	return 0;
}

static struct level *add_metadata_walks(struct campaign *c, size_t start, uint32_t phase)
{
	struct level *level = add_level(&c->streams[STREAM_METADATA]);

	add_walk(c, level, start, TEAR_TORN, phase);
	add_walk(c, level, start, TEAR_CLEAN, phase + THIRD);
	add_walk(c, level, start, TEAR_CLEAN, phase + 2 * THIRD);
	level->walks[level->count - 1].after = 1;
	return level;
}

/*
 * First each role, where one transition goes on with the walk that the one before it began: what a
 * small campaign has no room for in one of them comes in the next. Then all that is left.
 */
static int add_metadata(
	struct campaign *c, const struct classes *classes, uint32_t phase, struct err *e)
{
	size_t start = c->places.used;
	struct level *roles;
	int code = put_roles(c, classes, e);

	if (code)
		return code;
	roles = add_metadata_walks(c, start, (uint32_t)campaign_mix(c->options.seed));
	for (unsigned i = 0; i < roles->count; i++)
		roles->walks[i].step = golden_step(roles->walks[i].count);
	start = put_classes(c, classes, true, put_all);
	add_metadata_walks(c, start, phase);
	for (size_t i = start; i < c->places.used; i++) {
		uint32_t op = c->places.list[i];

		mark_metadata(c, op, TEAR_CLEAN);
		if (c->options.tears)
			mark_metadata(c, op, TEAR_TORN);
		mark_metadata(c, op + 1, TEAR_CLEAN);
	}
	return 0;
}

int campaign_places_init(struct campaign *c, const struct classes *classes, struct err *e)
{
	uint32_t phase = c->options.index * GOLDEN + (uint32_t)campaign_mix(c->options.seed);
	size_t room = 3 + 2 * SPOTS + c->operations;
	int code;

	/* the roles; before equal ones are dropped, each of the four kinds of edges */
	for (size_t i = 0; i < classes->count; i++)
		room += 4 + 4 * classes->list[i].range_count +
			(classes->list[i].metadata ? classes->list[i].operations : 0);
	c->places.list = calloc(room, sizeof(*c->places.list));
	if (!c->places.list)
		return err_set(e, ERR_NOMEM, "campaign: out of memory");
	code = add_metadata(c, classes, phase, e);
	if (code)
		return code;
	add_edges(c, classes, phase);
	add_bulk(c, classes, phase);
	return 0;
}
