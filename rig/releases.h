/*
 * The manifest: which releases there are, and what policy says of updating between them. Plain
 * data, made once from releases.lua (which another module turns into JSON) and never changed.
 *
 * Versions order as semantic versions (Semantic Versioning 2.0.0, section 11).
 */
#ifndef RIG_RELEASES_H
#define RIG_RELEASES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct err;

#define RELEASE_NONE ((size_t)-1)

struct release_image {
	const char *name; /* "bootloader", "application" */
	const char *path; /* absolute */
};

struct release {
	const char *version;
	const char *date; /* "2025-01-10", or NULL */
	int year, month, day;
	const char *const *hw; /* hardware revisions it is for; hw_count 0: all */
	size_t hw_count;
	int data_format, security_counter, min_bootloader; /* 0 when not given */
	const char *key;                                   /* NULL when not given */
	const struct release_image *images;
	size_t image_count;
	bool reverts; /* fails its self-test: an update to it ends with the old release running */
	int line;     /* in the manifest; 0 when unknown */
};

enum policy_updates { UPDATES_ANY, UPDATES_INCREMENTAL, UPDATES_WINDOW };

struct policy_pair {
	size_t from, to; /* indexes of releases */
};

struct policy {
	enum policy_updates updates;
	int window_months, window_versions; /* UPDATES_WINDOW: one of them, the other 0 */
	bool downgrade;
	struct policy_pair *refuse;
	size_t refuse_count;
	size_t *via; /* per release: the release every later update goes through, or RELEASE_NONE */
	int line;
};

struct manifest {
	const char *file;
	const char *product;
	struct release *releases; /* by rising version */
	size_t count;             /* at least 1 */
	struct policy policy;
	json_t *json; /* where the strings live */
};

/*
 * Fills *manifest from json, as manifest_load() of config.h makes it:
 *
 *   {"file": S, "product": S, "releases": [{"version": S, "date": S, "hw": [S…], "data_format": N,
 *    "security_counter": N, "key": S, "min_bootloader": N, "images": {NAME: PATH…}, "reverts": B,
 *    "line": N}…],
 *    "policy": {"updates": "any"|"incremental"|"window", "window": {"months": N}|{"versions": N},
 *    "downgrade": B, "refuse": [[FROM, TO]…], "via": {FROM: VERSION…}, "line": N}}
 *
 * Only version and images are required of a release; policy defaults to any later version, no
 * downgrade. A JSON object without members stands for an empty array too, because an empty Lua
 * table is both. Messages begin with "FILE:LINE: ". Takes a reference to json.
 * ERR_CONFIG: unknown or missing keys, wrong types, a version that is none, two releases of equal
 * precedence, a policy that names an unknown version, a via that is not later, or an update from or
 * by way of a release that reverts. On failure *manifest is empty; on success it is finished with
 * manifest_finish().
 */
int manifest_init(struct manifest *manifest, json_t *json, struct err *e);
void manifest_finish(struct manifest *manifest);

/* The index of the release of that version, or RELEASE_NONE. */
size_t manifest_find(const struct manifest *manifest, const char *version);

/* Path of the release's image of that name, or NULL. */
const char *release_image_path(const struct release *release, const char *name);

/*
 * 0 when text is a semantic version; ERR_CONFIG with the position and what was expected.
 */
int semver_check(const char *text, struct err *e);

/* Precedence of two semantic versions: negative, 0, positive. Build metadata does not count. */
int semver_compare(const char *a, const char *b);

#endif
