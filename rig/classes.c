#include "classes.h"

#include "cuts.h"
#include "err.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is known of an operation before it has a class. */
struct op_note {
	uint32_t region; /* index; region_count: outside of all */
	bool metadata;
};

/* What a page gets in this trace. */
enum { GETS_METADATA = 1, GETS_BULK = 2 };

struct page {
	uint32_t number;
	unsigned gets;
};

struct builder {
	struct classes *classes;
	const struct oplog *log;
	const struct cut_region *regions;
	size_t region_count;
	uint32_t page_size;
	struct op_note *notes;
	struct page *pages; /* that are programmed, rising */
	size_t page_count;
	size_t room, first_of_boot; /* in classes->list */
};

static uint32_t region_of(const struct builder *b, const struct oplog_op *op)
{
	size_t best = b->region_count;

	/* lines, edges and time have no address */
	if (!oplog_kind_is_flash(op->kind) && op->kind != OPLOG_BREAKPOINT)
		return (uint32_t)best;
	for (size_t i = 0; i < b->region_count; i++) {
		const struct cut_region *r = &b->regions[i], *than;

		if (op->address - r->address >= r->size)
			continue;
		than = best < b->region_count ? &b->regions[best] : NULL;
		if (!than || r->size < than->size ||
			(r->size == than->size && strcmp(r->name, than->name) < 0))
			best = i;
	}
	return (uint32_t)best;
}

/* Whether operation i goes on what operation i - 1 began: the stretches of the header. */
static bool goes_on(const struct builder *b, size_t i)
{
	const struct oplog_op *was = &b->log->ops[i - 1], *op = &b->log->ops[i];

	return op->kind == was->kind && op->boot == was->boot && op->address > was->address &&
	       b->notes[i].region == b->notes[i - 1].region &&
	       (op->kind == OPLOG_ERASE ||
		       op->address / b->page_size == was->address / b->page_size);
}

/* One more than the last operation of the stretch that begins at i. */
static size_t stretch_end(const struct builder *b, size_t i)
{
	do
		i++;
	while (i < b->log->count && goes_on(b, i));
	return i;
}

static int by_number(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

/* Marks programs as metadata or bulk, and notes what each page gets. */
static void look_at_programs(struct builder *b)
{
	size_t used = 0;

	for (size_t i = 0, end; i < b->log->count; i = end) {
		const struct oplog_op *op = &b->log->ops[i];
		bool metadata;

		end = stretch_end(b, i);
		if (op->kind != OPLOG_PROGRAM)
			continue;
		metadata = end - i <= CLASSES_METADATA_MAX;
		for (size_t k = i; k < end; k++)
			b->notes[k].metadata = metadata;
		b->pages[b->page_count++] = (struct page){.number = op->address / b->page_size,
			.gets = metadata ? GETS_METADATA : GETS_BULK};
	}
	qsort(b->pages, b->page_count, sizeof(*b->pages), by_number);
	for (size_t i = 0; i < b->page_count; i++) {
		if (used && b->pages[used - 1].number == b->pages[i].number)
			b->pages[used - 1].gets |= b->pages[i].gets;
		else
			b->pages[used++] = b->pages[i];
	}
	b->page_count = used;
}

/* What the pages of an erase get, all together. */
static unsigned pages_get(const struct builder *b, const struct oplog_op *op)
{
	uint32_t first = op->address / b->page_size;
	uint32_t last = (uint32_t)((op->address + (uint64_t)op->size - 1) / b->page_size);
	size_t low = 0, high = b->page_count;
	unsigned all = 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (b->pages[middle].number < first)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < b->page_count && b->pages[low].number <= last; low++)
		all |= b->pages[low].gets;
	return all;
}

static void look_at_erases(struct builder *b)
{
	for (size_t i = 0, end; i < b->log->count; i = end) {
		end = stretch_end(b, i);
		if (b->log->ops[i].kind != OPLOG_ERASE)
			continue;
		for (size_t k = i; k < end; k++) {
			unsigned all = pages_get(b, &b->log->ops[k]);

			b->notes[k].metadata =
				!(all & GETS_BULK) && (all || end - i <= CLASSES_METADATA_MAX);
		}
	}
}

static const char *region_name(const struct builder *b, uint32_t region)
{
	return region < b->region_count ? b->classes->regions[region] : "none";
}

static struct op_class *add_class(struct builder *b, size_t i)
{
	struct classes *all = b->classes;
	const struct oplog_op *op = &b->log->ops[i];
	struct op_class *class;

	if (!all->list || all->count == b->room) {
		size_t room = b->room ? b->room * 2 : 16;
		struct op_class *grown = realloc(all->list, room * sizeof(*grown));

		if (!grown)
			return NULL;
		all->list = grown;
		b->room = room;
	}
	class = &all->list[all->count];
	*class = (struct op_class){.kind = op->kind,
		.region = region_name(b, b->notes[i].region),
		.boot = op->boot,
		.metadata = b->notes[i].metadata};
	if (asprintf(&class->name, "boot %" PRIu32 " %s %s %s", op->boot, oplog_kind_name(op->kind),
		    class->region, class->metadata ? "metadata" : "bulk") < 0) {
		class->name = NULL;
		return NULL;
	}
	all->count++;
	return class;
}

/* The class of operation i, made when it is the first one of it. */
static struct op_class *class_of(struct builder *b, size_t i)
{
	struct classes *all = b->classes;
	const struct oplog_op *op = &b->log->ops[i];
	const char *region = region_name(b, b->notes[i].region);

	/* boots never fall, so classes of boots before do not come again */
	if (i > 0 && op->boot != b->log->ops[i - 1].boot)
		b->first_of_boot = all->count;
	for (size_t k = b->first_of_boot; k < all->count; k++) {
		struct op_class *class = &all->list[k];

		if (class->kind == op->kind && class->region == region &&
			class->metadata == b->notes[i].metadata)
			return class;
	}
	return add_class(b, i);
}

static bool add_operation(struct op_class *class, uint32_t number)
{
	struct class_range *last =
		class->range_count ? &class->ranges[class->range_count - 1] : NULL;

	class->operations++;
	if (last && last->last + 1 == number) {
		last->last = number;
		return true;
	}
	/* grows at powers of two */
	if (!class->ranges || (class->range_count & (class->range_count - 1)) == 0) {
		size_t room = class->range_count ? class->range_count * 2 : 1;
		struct class_range *grown = realloc(class->ranges, room * sizeof(*grown));

		if (!grown)
			return false;
		class->ranges = grown;
	}
	class->ranges[class->range_count++] = (struct class_range){number, number};
	return true;
}

static bool build(struct builder *b)
{
	const struct oplog *log = b->log;

	b->notes = calloc(log->count + 1, sizeof(*b->notes));
	b->pages = calloc(log->count + 1, sizeof(*b->pages));
	b->classes->of = calloc(log->count + 1, sizeof(*b->classes->of));
	b->classes->regions = calloc(b->region_count + 1, sizeof(*b->classes->regions));
	if (!b->notes || !b->pages || !b->classes->of || !b->classes->regions)
		return false;
	for (size_t i = 0; i < b->region_count; i++) {
		b->classes->regions[i] = strdup(b->regions[i].name);
		b->classes->region_count = i + 1;
		if (!b->classes->regions[i])
			return false;
	}
	for (size_t i = 0; i < log->count; i++)
		b->notes[i].region = region_of(b, &log->ops[i]);
	if (b->page_size && log->count && oplog_kind_is_flash(log->ops[0].kind)) {
		look_at_programs(b);
		look_at_erases(b);
	}
	for (size_t i = 0; i < log->count; i++) {
		struct op_class *class = class_of(b, i);

		if (!class || !add_operation(class, (uint32_t)i + 1))
			return false;
		b->classes->of[i] = (uint32_t)(class - b->classes->list);
	}
	return true;
}

int classes_init(struct classes *classes, const struct oplog *log, const struct cut_region *regions,
	size_t region_count, uint32_t page, struct err *e)
{
	struct builder b = {.classes = classes,
		.log = log,
		.regions = regions,
		.region_count = region_count,
		.page_size = page};
	bool built;

	memset(classes, 0, sizeof(*classes));
	if (page == 0 && log->count && oplog_kind_is_flash(log->ops[0].kind))
		return err_set(e, ERR_CONFIG, "classes of operations: a flash page has no bytes");
	classes->operations = log->count;
	classes->source = oplog_source(log);
	built = build(&b);
	free(b.notes);
	free(b.pages);
	if (built)
		return 0;
	classes_finish(classes);
	return err_set(e, ERR_NOMEM, "classes of operations: out of memory");
}

void classes_finish(struct classes *classes)
{
	for (size_t i = 0; i < classes->count; i++) {
		free(classes->list[i].ranges);
		free(classes->list[i].name);
	}
	for (size_t i = 0; i < classes->region_count; i++)
		free(classes->regions[i]);
	free((void *)classes->regions);
	free(classes->list);
	free(classes->of);
	memset(classes, 0, sizeof(*classes));
}

json_t *classes_to_json(const struct classes *classes)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < classes->count; i++) {
		const struct op_class *class = &classes->list[i];
		json_t *ranges = json_array();

		for (size_t k = 0; k < class->range_count; k++)
			json_array_append_new(
				ranges, json_pack("[I, I]", (json_int_t) class->ranges[k].first,
						(json_int_t) class->ranges[k].last));
		if (json_array_append_new(list,
			    json_pack("{s:s, s:s, s:s, s:I, s:s, s:I, s:o}", "name", class->name,
				    "kind", oplog_kind_name(class->kind), "region", class->region,
				    "boot", (json_int_t) class->boot, "size",
				    class->metadata ? "metadata" : "bulk", "operations",
				    (json_int_t) class->operations, "ranges", ranges)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}
