#include "flash_rules.h"

#include "cuts.h"

#include <stdbool.h>
#include <string.h>

/* Flash as the operations so far left it, and what may be written. */
struct state {
	uint8_t *flash;
	size_t size;
	uint32_t base;
	const struct cut_region *permitted;
	size_t permitted_count;
};

/* The part of an operation that is in the flash at hand, as offsets into it; empty: begin is end.
 */
struct span {
	uint64_t begin, end;
};

static uint64_t end_of(const struct oplog_op *op)
{
	return (uint64_t)op->address + op->size;
}

static struct span span_of(const struct state *s, const struct oplog_op *op)
{
	uint64_t begin = op->address, end = end_of(op), limit = (uint64_t)s->base + s->size;

	begin = begin < s->base ? s->base : begin;
	end = end > limit ? limit : end;
	return begin < end ? (struct span){begin - s->base, end - s->base} : (struct span){0, 0};
}

/* The end of the permitted region that holds the address; 0 when none does. */
static uint64_t permitted_to(const struct state *s, uint64_t address)
{
	for (size_t i = 0; i < s->permitted_count; i++) {
		const struct cut_region *region = &s->permitted[i];

		if (address >= region->address && address - region->address < region->size)
			return (uint64_t)region->address + region->size;
	}
	return 0;
}

/* Whether op touches what may not be written, and from which byte on. */
static bool is_outside(const struct state *s, const struct oplog_op *op, uint32_t *where)
{
	uint64_t at = op->address, next;

	if (s->permitted_count == 0)
		return false;
	for (; at < end_of(op); at = next) {
		next = permitted_to(s, at);
		if (next == 0) {
			*where = (uint32_t)at;
			return true;
		}
	}
	return false;
}

/* The byte of a program's value that goes to offset at of flash. */
static uint8_t byte_for(const struct state *s, const struct oplog_op *op, uint64_t at)
{
	return (uint8_t)(op->value >> 8 * (s->base + at - op->address));
}

static bool is_unerased(const struct state *s, const struct oplog_op *op)
{
	struct span span = span_of(s, op);

	if (op->kind != OPLOG_PROGRAM)
		return false;
	for (uint64_t at = span.begin; at < span.end; at++)
		if (byte_for(s, op, at) & (uint8_t)~s->flash[at])
			return true;
	return false;
}

static void apply(const struct state *s, const struct oplog_op *op)
{
	struct span span = span_of(s, op);

	if (op->kind == OPLOG_ERASE && span.begin < span.end)
		memset(s->flash + span.begin, 0xff, span.end - span.begin);
	if (op->kind == OPLOG_PROGRAM)
		for (uint64_t at = span.begin; at < span.end; at++)
			s->flash[at] &= byte_for(s, op, at);
}

static void note(struct flash_rules_breach list[FLASH_RULES_LISTED], size_t *total,
	const struct oplog_op *op, uint32_t number, uint32_t address)
{
	if (*total < FLASH_RULES_LISTED)
		list[*total] = (struct flash_rules_breach){number, address, op->kind};
	++*total;
}

int flash_rules_check(struct flash_rules *result, uint8_t *flash, size_t size, uint32_t base,
	const struct oplog_op *ops, size_t count, uint32_t first,
	const struct cut_region *permitted, size_t permitted_count)
{
	const struct state s = {flash, size, base, permitted, permitted_count};
	int broken = 0;

	for (size_t i = 0; i < count; i++) {
		const struct oplog_op *op = &ops[i];
		uint32_t number = first + (uint32_t)i, where;

		if (op->kind != OPLOG_ERASE && op->kind != OPLOG_PROGRAM)
			continue;
		result->checked++;
		if (is_outside(&s, op, &where)) {
			note(result->outside, &result->outside_total, op, number, where);
			broken = 1;
		} else if (is_unerased(&s, op)) {
			note(result->unerased, &result->unerased_total, op, number, op->address);
			broken = 1;
		}
		apply(&s, op);
	}
	return broken;
}

/* The listed breaches as an array; with their kind where they may be of either. */
static json_t *list_to_json(
	const struct flash_rules_breach list[FLASH_RULES_LISTED], size_t total, bool with_kind)
{
	size_t listed = total < FLASH_RULES_LISTED ? total : FLASH_RULES_LISTED;
	json_t *array = json_array();

	for (size_t i = 0; array && i < listed; i++) {
		json_t *entry = json_pack("{s:I, s:I}", "op", (json_int_t)list[i].op, "address",
			(json_int_t)list[i].address);

		if (with_kind && json_object_set_new(entry, "kind",
					 json_string(oplog_kind_name(list[i].kind))) != 0) {
			json_decref(entry);
			entry = NULL;
		}
		if (json_array_append_new(array, entry) != 0) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

json_t *flash_rules_to_json(const struct flash_rules *result)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:I}", "outside",
		list_to_json(result->outside, result->outside_total, true), "unerased",
		list_to_json(result->unerased, result->unerased_total, false), "outside_total",
		(json_int_t)result->outside_total, "unerased_total",
		(json_int_t)result->unerased_total, "checked", (json_int_t)result->checked);
}
