#include "plan.h"

#include "err.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {[TRANSITION_UPGRADE] = "upgrade",
	[TRANSITION_UPGRADE_VIA] = "upgrade-via",
	[TRANSITION_DOWNGRADE] = "downgrade",
	[TRANSITION_REFUSE] = "refuse",
	[TRANSITION_REVERT] = "revert"};

const char *transition_kind_name(enum transition_kind kind)
{
	return kind_names[kind];
}

/* Whether the board holds another release afterwards. */
static bool changes(const struct transition *t)
{
	return t->kind != TRANSITION_REFUSE && t->kind != TRANSITION_REVERT;
}

size_t transition_holds(const struct transition *t)
{
	return changes(t) ? t->to : t->from;
}

/* --- policy ---------------------------------------------------------------------------------- */

/*
 * A rule that may refuse the step from → to. Fills reason and returns true when it does. The first
 * that does gives the reason.
 */
typedef bool rule_fn(const struct manifest *m, size_t from, size_t to, char *reason, size_t size);

static bool rule_list(const struct manifest *m, size_t from, size_t to, char *reason, size_t size)
{
	for (size_t i = 0; i < m->policy.refuse_count; i++)
		if (m->policy.refuse[i].from == from && m->policy.refuse[i].to == to) {
			snprintf(reason, size, "policy: refuse list");
			return true;
		}
	return false;
}

static bool rule_downgrade(
	const struct manifest *m, size_t from, size_t to, char *reason, size_t size)
{
	if (to > from || m->policy.downgrade)
		return false;
	snprintf(reason, size, "policy: downgrade");
	return true;
}

static bool rule_counter(
	const struct manifest *m, size_t from, size_t to, char *reason, size_t size)
{
	int have = m->releases[from].security_counter, offered = m->releases[to].security_counter;

	if (offered >= have)
		return false;
	snprintf(reason, size, "security counter %d is below %d", offered, have);
	return true;
}

/* The releases from one to a later one as policy counts them: those a device can come to hold. */
static size_t releases_between(const struct manifest *m, size_t from, size_t to)
{
	size_t count = 0;

	for (size_t i = from + 1; i < to; i++)
		count += !m->releases[i].reverts;
	return count;
}

static bool rule_incremental(
	const struct manifest *m, size_t from, size_t to, char *reason, size_t size)
{
	size_t next = from + 1;

	if (m->policy.updates != UPDATES_INCREMENTAL || to < from ||
		releases_between(m, from, to) == 0)
		return false;
	while (m->releases[next].reverts)
		next++;
	snprintf(
		reason, size, "policy: incremental updates, next is %s", m->releases[next].version);
	return true;
}

/* Whether b is later than a plus so many months; the 31st of a shorter month is its last day. */
static bool beyond_months(const struct release *a, const struct release *b, int months)
{
	long a_months = (long)a->year * 12 + a->month + months;
	long b_months = (long)b->year * 12 + b->month;

	return b_months != a_months ? b_months > a_months : b->day > a->day;
}

static bool rule_window(const struct manifest *m, size_t from, size_t to, char *reason, size_t size)
{
	const struct policy *p = &m->policy;

	if (p->updates != UPDATES_WINDOW || to < from)
		return false;
	if (p->window_months) {
		if (!beyond_months(&m->releases[from], &m->releases[to], p->window_months))
			return false;
		snprintf(reason, size, "policy: window of %d month%s", p->window_months,
			p->window_months == 1 ? "" : "s");
		return true;
	}
	if (releases_between(m, from, to) < (size_t)p->window_versions)
		return false;
	snprintf(reason, size, "policy: window of %d version%s", p->window_versions,
		p->window_versions == 1 ? "" : "s");
	return true;
}

static rule_fn *const rules[] = {
	rule_list, rule_downgrade, rule_counter, rule_incremental, rule_window};

static bool refused(const struct manifest *m, size_t from, size_t to, char *reason, size_t size)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(*rules); i++)
		if (rules[i](m, from, to, reason, size))
			return true;
	return false;
}

/* --- transitions ----------------------------------------------------------------------------- */

/* The release to update to next on the way at → to. */
static size_t next_on_path(const struct manifest *m, size_t at, size_t to)
{
	size_t via = to > at ? m->policy.via[at] : RELEASE_NONE;

	return via != RELEASE_NONE && via < to ? via : to;
}

/* Makes t->path, the releases on the way. */
static int find_path(const struct manifest *m, struct transition *t)
{
	size_t count = 0;

	for (size_t at = t->from; at != t->to; at = next_on_path(m, at, t->to))
		count++;
	t->path = calloc(count, sizeof(*t->path));
	if (!t->path)
		return -1;
	for (size_t at = t->from; at != t->to;)
		at = t->path[t->path_count++] = next_on_path(m, at, t->to);
	return 0;
}

static void refuse(struct transition *t)
{
	t->kind = TRANSITION_REFUSE;
	t->path[0] = t->to;
	t->path_count = 1;
}

/* Decides what must happen; path is the way that would be taken. */
static void decide(const struct manifest *m, struct transition *t)
{
	size_t at = t->from;

	t->reason[0] = '\0';
	if (rule_list(m, t->from, t->to, t->reason, sizeof(t->reason))) {
		refuse(t);
		return;
	}
	for (size_t i = 0; i < t->path_count; at = t->path[i++]) {
		char reason[sizeof(t->reason) / 2];

		if (!refused(m, at, t->path[i], reason, sizeof(reason)))
			continue;
		if (t->path_count > 1)
			snprintf(t->reason, sizeof(t->reason), "%s (on the way at %.60s)", reason,
				m->releases[at].version);
		else
			snprintf(t->reason, sizeof(t->reason), "%s", reason);
		refuse(t);
		return;
	}
	t->kind = t->to < t->from ? TRANSITION_DOWNGRADE : TRANSITION_UPGRADE;
	if (m->releases[t->to].reverts) {
		t->kind = TRANSITION_REVERT;
		snprintf(t->reason, sizeof(t->reason), "manifest: %.200s reverts",
			m->releases[t->to].version);
	} else if (t->path_count > 1) {
		t->kind = TRANSITION_UPGRADE_VIA;
		snprintf(t->reason, sizeof(t->reason), "policy: via %.200s",
			m->releases[t->path[0]].version);
	}
}

size_t plan_next_release(const struct manifest *m, size_t at)
{
	char reason[128];

	for (size_t to = at + 1; to < m->count; to++)
		if (!m->releases[to].reverts && next_on_path(m, at, to) == to &&
			!refused(m, at, to, reason, sizeof(reason)))
			return to;
	return RELEASE_NONE;
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_NOMEM, "plan: out of memory");
}

/* --only FROM:TO, resolved; RELEASE_NONE stands for "*". */
struct filter {
	size_t from, to;
};

static int parse_end(const struct manifest *m, const char *only, const char *text, size_t len,
	size_t *release, struct err *e)
{
	char version[128];

	*release = RELEASE_NONE;
	if (len == 1 && *text == '*')
		return 0;
	if (len < sizeof(version)) {
		memcpy(version, text, len);
		version[len] = '\0';
		*release = manifest_find(m, version);
	}
	if (*release != RELEASE_NONE)
		return 0;
	err_set(e, ERR_USAGE, "--only %.100s: %s has no release \"%.*s\"; it has", only, m->file,
		(int)(len < 100 ? len : 100), text);
	for (size_t i = 0; i < m->count; i++) {
		size_t used = strlen(e->msg);

		snprintf(e->msg + used, sizeof(e->msg) - used, "%s %s", i ? "," : "",
			m->releases[i].version);
	}
	return -ERR_USAGE;
}

static int parse_filter(
	const struct manifest *m, const char *only, struct filter *filter, struct err *e)
{
	const char *colon = strchr(only, ':');
	int code;

	if (!colon || strchr(colon + 1, ':'))
		return err_set(
			e, ERR_USAGE, "--only %.100s: expected FROM:TO, either may be \"*\"", only);
	code = parse_end(m, only, only, (size_t)(colon - only), &filter->from, e);
	return code ? code : parse_end(m, only, colon + 1, strlen(colon + 1), &filter->to, e);
}

static bool wanted(const struct filter *filters, size_t count, size_t from, size_t to)
{
	for (size_t i = 0; i < count; i++)
		if ((filters[i].from == RELEASE_NONE || filters[i].from == from) &&
			(filters[i].to == RELEASE_NONE || filters[i].to == to))
			return true;
	return count == 0;
}

/* A revert whose last leg is a transition of its own, or that would go back to its release. */
static bool is_idle(const struct transition *t)
{
	return t->kind == TRANSITION_REVERT && (t->path_count > 1 || t->to < t->from);
}

static int add_transition(struct plan *plan, size_t from, size_t to, struct err *e)
{
	const struct manifest *m = plan->manifest;
	struct transition *t = &plan->transitions[plan->transition_count];
	int len;

	*t = (struct transition){.from = from, .to = to};
	if (find_path(m, t) != 0)
		return no_memory(e);
	plan->transition_count++;
	len = snprintf(t->key, sizeof(t->key), "%s:%s", m->releases[from].version,
		m->releases[to].version);
	if (len < 0 || (size_t)len >= sizeof(t->key))
		return err_set(e, ERR_CONFIG, "%s: versions %.100s and %.100s are too long",
			m->file, m->releases[from].version, m->releases[to].version);
	decide(m, t);
	if (is_idle(t)) {
		free(t->path);
		plan->transition_count--;
	}
	return 0;
}

static int make_transitions(
	struct plan *plan, const struct filter *filters, size_t filter_count, struct err *e)
{
	size_t n = plan->manifest->count;

	plan->transitions = calloc(n * n, sizeof(*plan->transitions));
	if (!plan->transitions)
		return no_memory(e);
	for (size_t from = 0; from < n; from++)
		for (size_t to = 0; to < n; to++) {
			int code;

			if (from == to || plan->manifest->releases[from].reverts ||
				!wanted(filters, filter_count, from, to))
				continue;
			code = add_transition(plan, from, to, e);
			if (code)
				return code;
		}
	if (filter_count && plan->transition_count == 0)
		return err_set(
			e, ERR_USAGE, "--only selects no transition of %s", plan->manifest->file);
	return 0;
}

/* --- trails ---------------------------------------------------------------------------------- */

/*
 * Euler's way: join every release with more arrivals to one with more departures by an edge of our
 * own, walk each part as one circuit (Hierholzer's algorithm), and take the joints out again.
 */

#define JOINT SIZE_MAX /* an edge that is no transition */

struct edge {
	size_t to, transition; /* transition: index, or JOINT */
};

struct graph {
	size_t nodes;
	struct edge *edges; /* grouped by their origin, in the order to walk them */
	size_t *first;      /* per node, and one behind the last */
	size_t *next;       /* per node: the next edge not walked */
	long *surplus;      /* per node: departures less arrivals */
};

/* A stack of edges under way, and the circuit they become, backwards. */
struct circuit {
	struct edge *stack, *done;
	size_t depth, count;
};

static void graph_free(struct graph *g)
{
	free(g->edges);
	free(g->first);
	free(g->next);
	free(g->surplus);
}

/* Adds the edges of node, the joints first so that the circuit is cut at the earliest. */
static size_t add_edges(
	struct graph *g, const struct plan *plan, size_t node, size_t count, size_t *sink)
{
	for (long lack = -g->surplus[node]; lack > 0; lack--) {
		while (g->surplus[*sink] <= 0)
			(*sink)++;
		g->surplus[*sink]--;
		g->edges[count++] = (struct edge){.to = *sink, .transition = JOINT};
	}
	for (size_t i = 0; i < plan->transition_count; i++)
		if (changes(&plan->transitions[i]) && plan->transitions[i].from == node)
			g->edges[count++] =
				(struct edge){.to = plan->transitions[i].to, .transition = i};
	return count;
}

static int graph_init(struct graph *g, const struct plan *plan)
{
	size_t joints = 0, edges = 0, sink = 0;

	*g = (struct graph){.nodes = plan->manifest->count};
	g->first = calloc(g->nodes + 1, sizeof(*g->first));
	g->next = calloc(g->nodes, sizeof(*g->next));
	g->surplus = calloc(g->nodes, sizeof(*g->surplus));
	if (!g->first || !g->next || !g->surplus)
		return -1;
	for (size_t i = 0; i < plan->transition_count; i++) {
		if (!changes(&plan->transitions[i]))
			continue;
		g->surplus[plan->transitions[i].from]++;
		g->surplus[plan->transitions[i].to]--;
		edges++;
	}
	for (size_t i = 0; i < g->nodes; i++)
		joints += g->surplus[i] > 0 ? (size_t)g->surplus[i] : 0;
	g->edges = calloc(edges + joints + 1, sizeof(*g->edges));
	if (!g->edges)
		return -1;
	edges = 0;
	for (size_t i = 0; i < g->nodes; i++) {
		g->first[i] = g->next[i] = edges;
		edges = add_edges(g, plan, i, edges, &sink);
	}
	g->first[g->nodes] = edges;
	return 0;
}

/* Walks every edge that can be reached from node and fills c->done with the circuit, reversed. */
static void walk_circuit(struct graph *g, size_t node, struct circuit *c)
{
	struct edge none = {.to = node, .transition = JOINT};

	c->depth = c->count = 0;
	for (;;) {
		size_t at = c->depth ? c->stack[c->depth - 1].to : none.to;

		if (g->next[at] < g->first[at + 1])
			c->stack[c->depth++] = g->edges[g->next[at]++];
		else if (c->depth)
			c->done[c->count++] = c->stack[--c->depth];
		else
			break;
	}
}

static struct trail *add_trail(struct plan *plan, size_t start)
{
	struct trail *grown = realloc(plan->trails, (plan->trail_count + 1) * sizeof(*grown));

	if (!grown)
		return NULL;
	plan->trails = grown;
	grown[plan->trail_count] = (struct trail){.start = start};
	return &grown[plan->trail_count++];
}

static int add_step(struct trail *trail, size_t transition)
{
	size_t *grown = trail->steps;

	/* grows at powers of two */
	if ((trail->step_count & (trail->step_count - 1)) == 0)
		grown = realloc(trail->steps,
			(trail->step_count ? trail->step_count * 2 : 1) * sizeof(*grown));
	if (!grown)
		return -1;
	trail->steps = grown;
	grown[trail->step_count++] = transition;
	return 0;
}

/* Adds the transitions after which the board still holds release, once in a plan. */
static int add_stays(struct plan *plan, struct trail *trail, size_t release, bool *visited)
{
	if (visited[release])
		return 0;
	visited[release] = true;
	for (size_t i = 0; i < plan->transition_count; i++)
		if (plan->transitions[i].from == release && !changes(&plan->transitions[i]) &&
			add_step(trail, i))
			return -1;
	return 0;
}

/* Makes trails of a circuit: each joint ends one. visited: whose stays were taken along. */
static int cut_circuit(struct plan *plan, const struct circuit *c, bool *visited)
{
	struct trail *trail = NULL;
	size_t start = c->count; /* where to begin: behind a joint, if there is one */

	for (size_t i = c->count; i-- > 0 && start == c->count;)
		if (c->done[i].transition == JOINT)
			start = i;
	for (size_t k = 0; k < c->count; k++) {
		size_t i = (start + c->count - 1 - k) % c->count;
		const struct edge *edge = &c->done[i];

		if (edge->transition == JOINT) {
			trail = NULL;
			continue;
		}
		if (!trail) {
			trail = add_trail(plan, plan->transitions[edge->transition].from);
			if (!trail || add_stays(plan, trail, trail->start, visited))
				return -1;
		}
		if (add_step(trail, edge->transition) || add_stays(plan, trail, edge->to, visited))
			return -1;
	}
	return 0;
}

static int by_start(const void *a, const void *b)
{
	const struct trail *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->steps[0] < y->steps[0] ? -1 : x->steps[0] > y->steps[0];
}

static int walk_graph(struct plan *plan, struct graph *g, struct circuit *c, bool *visited)
{
	for (size_t node = 0; node < g->nodes; node++) {
		walk_circuit(g, node, c);
		if (c->count && cut_circuit(plan, c, visited))
			return -1;
	}
	/* releases that nothing leads away from, and where no trail comes by */
	for (size_t i = 0; i < plan->transition_count; i++) {
		size_t from = plan->transitions[i].from;
		struct trail *trail;

		if (visited[from])
			continue;
		trail = add_trail(plan, from);
		if (!trail || add_stays(plan, trail, from, visited))
			return -1;
	}
	return 0;
}

static int make_trails(struct plan *plan, struct err *e)
{
	struct circuit c = {.stack = NULL};
	struct graph g;
	bool *visited = calloc(plan->manifest->count, sizeof(*visited));
	int code = graph_init(&g, plan);

	if (!code && visited) {
		size_t edges = g.first[g.nodes];

		c.stack = calloc(edges + 1, sizeof(*c.stack));
		c.done = calloc(edges + 1, sizeof(*c.done));
	}
	code = c.stack && c.done ? walk_graph(plan, &g, &c, visited) : -1;
	if (!code && plan->trail_count)
		qsort(plan->trails, plan->trail_count, sizeof(*plan->trails), by_start);
	graph_free(&g);
	free(c.stack);
	free(c.done);
	free(visited);
	return code ? no_memory(e) : 0;
}

int plan_init(struct plan *plan, const struct manifest *manifest, const char *const *only,
	size_t only_count, struct err *e)
{
	struct filter *filters;
	int code = 0;

	*plan = (struct plan){.manifest = manifest};
	filters = calloc(only_count + 1, sizeof(*filters));
	if (!filters)
		return no_memory(e);
	for (size_t i = 0; i < only_count && !code; i++)
		code = parse_filter(manifest, only[i], &filters[i], e);
	if (!code)
		code = make_transitions(plan, filters, only_count, e);
	if (!code)
		code = make_trails(plan, e);
	free(filters);
	if (code)
		plan_finish(plan);
	return code;
}

void plan_finish(struct plan *plan)
{
	for (size_t i = 0; i < plan->transition_count; i++)
		free(plan->transitions[i].path);
	for (size_t i = 0; i < plan->trail_count; i++)
		free(plan->trails[i].steps);
	free(plan->transitions);
	free(plan->trails);
	memset(plan, 0, sizeof(*plan));
}

/* --- shares ---------------------------------------------------------------------------------- */

static unsigned long long flash_cost(const struct plan_cost *cost)
{
	return cost->flash_ms ? cost->flash_ms : 1;
}

static unsigned long long step_cost(const struct transition *t, const struct plan_cost *cost)
{
	unsigned one = t->kind == TRANSITION_REFUSE ? cost->refuse_ms : cost->update_ms;
	size_t updates = t->kind == TRANSITION_REVERT ? 2 : t->path_count;

	return (unsigned long long)(one ? one : 1) * updates;
}

unsigned long long plan_estimate_ms(const struct plan *plan, const struct plan_cost *cost)
{
	unsigned long long sum = 0;

	for (size_t i = 0; i < plan->trail_count; i++) {
		sum += flash_cost(cost);
		for (size_t k = 0; k < plan->trails[i].step_count; k++)
			sum += step_cost(&plan->transitions[plan->trails[i].steps[k]], cost);
	}
	return sum;
}

/* The shares that arise when each board takes steps until its share would go over limit. */
struct dealing {
	const struct plan *plan;
	const struct plan_cost *cost;
	unsigned long long limit, share;
	unsigned board;
};

/*
 * Deals one step. Returns true when the board that gets it must be flashed for it: the trail begins
 * here, or goes over to the next board.
 */
static bool deal(struct dealing *d, size_t trail, size_t step)
{
	unsigned long long flash = flash_cost(d->cost);
	unsigned long long work =
		step_cost(&d->plan->transitions[d->plan->trails[trail].steps[step]], d->cost);
	bool begins = step == 0;

	if (d->share + work + (begins ? flash : 0) > d->limit) {
		d->board++;
		d->share = 0;
		begins = true;
	}
	d->share += work + (begins ? flash : 0);
	return begins;
}

static bool fits(const struct plan *plan, const struct plan_cost *cost, unsigned boards,
	unsigned long long limit)
{
	struct dealing d = {.plan = plan, .cost = cost, .limit = limit};

	for (size_t i = 0; i < plan->trail_count; i++)
		for (size_t k = 0; k < plan->trails[i].step_count; k++) {
			deal(&d, i, k);
			if (d.board >= boards || d.share > limit)
				return false;
		}
	return true;
}

/* The release the board holds before step of trail. */
static size_t held_before(const struct plan *plan, const struct trail *trail, size_t step)
{
	size_t held = trail->start;

	for (size_t i = 0; i < step; i++)
		held = transition_holds(&plan->transitions[trail->steps[i]]);
	return held;
}

int plan_shard(struct plan *plan, unsigned boards, const struct plan_cost *cost, struct err *e)
{
	unsigned long long low = 0, high = plan_estimate_ms(plan, cost);
	struct plan dealt = {.manifest = plan->manifest};
	struct dealing d = {.plan = plan, .cost = cost};
	struct trail *trail = NULL;

	while (low < high) {
		unsigned long long middle = low + (high - low) / 2;

		if (fits(plan, cost, boards, middle))
			high = middle;
		else
			low = middle + 1;
	}
	d.limit = high;
	for (size_t i = 0; i < plan->trail_count; i++)
		for (size_t k = 0; k < plan->trails[i].step_count; k++) {
			if (deal(&d, i, k))
				trail = add_trail(&dealt, held_before(plan, &plan->trails[i], k));
			if (!trail || add_step(trail, plan->trails[i].steps[k])) {
				plan_finish(&dealt);
				return no_memory(e);
			}
			trail->board = d.board;
		}
	for (size_t i = 0; i < plan->trail_count; i++)
		free(plan->trails[i].steps);
	free(plan->trails);
	plan->trails = dealt.trails;
	plan->trail_count = dealt.trail_count;
	return 0;
}

/* --- out ------------------------------------------------------------------------------------- */

static json_t *transition_to_json(const struct plan *plan, const struct transition *t)
{
	const struct release *releases = plan->manifest->releases;
	json_t *path = json_array();

	for (size_t i = 0; i < t->path_count; i++)
		json_array_append_new(path, json_string(releases[t->path[i]].version));
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "key", t->key, "from",
		releases[t->from].version, "to", releases[t->to].version, "kind",
		transition_kind_name(t->kind), "path", path, "reason", t->reason);
}

static json_t *trail_to_json(const struct plan *plan, const struct trail *trail)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < trail->step_count; i++)
		json_array_append_new(steps, json_string(plan->transitions[trail->steps[i]].key));
	return json_pack("{s:s, s:i, s:o}", "start", plan->manifest->releases[trail->start].version,
		"board", (int)trail->board, "steps", steps);
}

json_t *plan_to_json(const struct plan *plan)
{
	json_t *releases = json_array(), *transitions = json_array(), *trails = json_array();

	for (size_t i = 0; i < plan->manifest->count; i++)
		json_array_append_new(releases, json_string(plan->manifest->releases[i].version));
	for (size_t i = 0; i < plan->transition_count; i++)
		json_array_append_new(transitions, transition_to_json(plan, &plan->transitions[i]));
	for (size_t i = 0; i < plan->trail_count; i++)
		json_array_append_new(trails, trail_to_json(plan, &plan->trails[i]));
	return json_pack("{s:s, s:o, s:o, s:o, s:I, s:I}", "product", plan->manifest->product,
		"releases", releases, "transitions", transitions, "trails", trails, "flashes",
		(json_int_t)plan->trail_count, "flashes_saved",
		(json_int_t)plan->transition_count - (json_int_t)plan->trail_count);
}
