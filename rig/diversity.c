#include "diversity.h"

#include "err.h"
#include "plan.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bits of a set of classes. */
enum {
	SMALLER,
	AS_LARGE,
	LARGER,
	BOOTLOADER,
	DATA_FORMAT,
	SKIPS_NONE,
	SKIPS_ONE,
	SKIPS_MORE,
	FIRST_TO_LAST,
	FIRST_KIND, /* and one for each kind */
	CLASSES = FIRST_KIND + TRANSITION_REVERT + 1
};

_Static_assert(CLASSES < 32, "a set of classes is one word");

#define BIT(n) ((uint32_t)1 << (n))

/* --- what a pair has ------------------------------------------------------------------------- */

/* Releases strictly between the two that a device may have held. */
static size_t skipped(const struct manifest *m, const struct transition *t)
{
	size_t low = t->from < t->to ? t->from : t->to, high = t->from < t->to ? t->to : t->from;
	size_t count = 0;

	for (size_t i = low + 1; i < high; i++)
		count += !m->releases[i].reverts;
	return count;
}

static bool is_first_to_last(const struct manifest *m, const struct transition *t)
{
	size_t first = 0, last = m->count - 1;

	while (first < last && m->releases[first].reverts)
		first++;
	while (last > first && m->releases[last].reverts)
		last--;
	return t->from == first && t->to == last;
}

static bool changes_bootloader(const struct release *from, const struct release *to)
{
	const char *old = release_image_path(from, "bootloader");
	const char *new = release_image_path(to, "bootloader");

	return old && new &&strcmp(old, new) != 0;
}

static bool changes_data_format(const struct release *from, const struct release *to)
{
	return from->data_format && to->data_format && from->data_format != to->data_format;
}

static uint32_t classes_of(const struct plan *plan, const size_t *pages, size_t transition)
{
	const struct manifest *m = plan->manifest;
	const struct transition *t = &plan->transitions[transition];
	const struct release *from = &m->releases[t->from], *to = &m->releases[t->to];
	size_t old = pages[t->from], new = pages[t->to], skips = skipped(m, t);
	uint32_t set = BIT(FIRST_KIND + t->kind);

	if (old && new)
		set |= BIT(new < old ? SMALLER : new > old ? LARGER : AS_LARGE);
	if (changes_bootloader(from, to))
		set |= BIT(BOOTLOADER);
	if (changes_data_format(from, to))
		set |= BIT(DATA_FORMAT);
	set |= BIT(skips == 0 ? SKIPS_NONE : skips == 1 ? SKIPS_ONE : SKIPS_MORE);
	if (is_first_to_last(m, t))
		set |= BIT(FIRST_TO_LAST);
	return set;
}

void diversity_why(
	const struct plan *plan, const size_t *pages, size_t transition, char *text, size_t size)
{
	static const char *const words[CLASSES] = {[SMALLER] = "smaller",
		[AS_LARGE] = "as large",
		[LARGER] = "larger",
		[BOOTLOADER] = "bootloader changes",
		[DATA_FORMAT] = "data format changes",
		[FIRST_TO_LAST] = "first to last"};
	uint32_t set = classes_of(plan, pages, transition);
	size_t skips = skipped(plan->manifest, &plan->transitions[transition]);
	char number[32];
	size_t used = 0;

	snprintf(number, sizeof(number), "skips %zu", skips);
	text[0] = '\0';
	for (int c = 0; c < FIRST_KIND && used < size; c++) {
		const char *word = c == SKIPS_ONE || c == SKIPS_MORE ? number : words[c];

		if (word && set & BIT(c))
			used += (size_t)snprintf(
				text + used, size - used, "%s%s", used ? ", " : "", word);
	}
}

/* --- the order ------------------------------------------------------------------------------- */

/* What the transitions before had: classes, and for each class those it came together with. */
struct seen {
	uint32_t classes, with[CLASSES];
};

/* Transitions with the same classes, in the order of the plan: which is next, and the last. */
struct group {
	uint32_t set;
	size_t next, last; /* places in the order as given */
};

struct ordering {
	const size_t *given;
	size_t count;
	struct group *groups;
	size_t group_count;
	size_t *behind; /* per place: the next one of its group, or count */
	struct seen seen;
};

static unsigned bits_of(uint32_t set)
{
	return (unsigned)__builtin_popcount(set);
}

/* Classes not seen yet weigh more than any number of combinations. */
static unsigned gain(const struct seen *seen, uint32_t set)
{
	unsigned pairs = 0;

	for (int c = 0; c < CLASSES; c++)
		if (set & BIT(c))
			pairs += bits_of(set & ~seen->with[c] & ~(BIT(c + 1) - 1));
	return bits_of(set & ~seen->classes) * CLASSES * CLASSES + pairs;
}

static void see(struct seen *seen, uint32_t set)
{
	seen->classes |= set;
	for (int c = 0; c < CLASSES; c++)
		if (set & BIT(c))
			seen->with[c] |= set;
}

static void add_to_group(struct ordering *o, size_t place, uint32_t set)
{
	struct group *g = o->groups;

	while (g < o->groups + o->group_count && g->set != set)
		g++;
	o->behind[place] = o->count;
	if (g == o->groups + o->group_count) {
		*g = (struct group){.set = set, .next = place, .last = place};
		o->group_count++;
		return;
	}
	o->behind[g->last] = place;
	g->last = place;
}

/* The group to take from, and what it adds. */
static struct group *best_group(struct ordering *o, unsigned *adds)
{
	struct group *best = NULL;

	*adds = 0;
	for (struct group *g = o->groups; g < o->groups + o->group_count; g++) {
		unsigned n;

		if (g->next == o->count)
			continue;
		n = gain(&o->seen, g->set);
		if (best && (n < *adds || (n == *adds && g->next > best->next)))
			continue;
		best = g;
		*adds = n;
	}
	return best;
}

static void take_all(struct ordering *o, size_t *order)
{
	for (size_t i = 0; i < o->count; i++) {
		unsigned adds;
		struct group *g = best_group(o, &adds);

		if (adds == 0) {
			o->seen = (struct seen){0};
			g = best_group(o, &adds);
		}
		see(&o->seen, g->set);
		order[i] = o->given[g->next];
		g->next = o->behind[g->next];
	}
}

int diversity_order(
	const struct plan *plan, const size_t *pages, size_t *order, size_t count, struct err *e)
{
	struct ordering o = {.count = count};
	size_t *given = calloc(count + 1, sizeof(*given));
	int code = 0;

	o.groups = calloc(count + 1, sizeof(*o.groups));
	o.behind = calloc(count + 1, sizeof(*o.behind));
	if (given && o.groups && o.behind) {
		for (size_t i = 0; i < count; i++) {
			given[i] = order[i];
			add_to_group(&o, i, classes_of(plan, pages, order[i]));
		}
		o.given = given;
		take_all(&o, order);
	} else {
		code = err_set(e, ERR_NOMEM, "plan: out of memory");
	}
	free(given);
	free(o.groups);
	free(o.behind);
	return code;
}
