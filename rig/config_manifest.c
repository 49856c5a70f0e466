#include "config.h"

#include "config_files.h"
#include "err.h"

#include <stdlib.h>
#include <string.h>

static const struct schema any_string = {.type = SCHEMA_STRING};
static const struct schema pair = {.type = SCHEMA_LIST, .min = 2, .max = 2, .fields = &any_string};

static const char *const update_policies[] = {"any", "incremental", "window", NULL};

static const struct schema window_fields[] = {
	{.name = "months", .type = SCHEMA_INTEGER, .min = 1, .max = 1200},
	{.name = "versions", .type = SCHEMA_INTEGER, .min = 1, .max = 10000},
	{0},
};

static const struct schema policy_fields[] = {
	{.name = "updates", .type = SCHEMA_STRING, .choices = update_policies},
	{.name = "window", .type = SCHEMA_OBJECT, .fields = window_fields},
	{.name = "downgrade", .type = SCHEMA_BOOLEAN},
	{.name = "refuse", .type = SCHEMA_LIST, .fields = &pair},
	{.name = "via", .type = SCHEMA_MAP, .fields = &any_string},
	{0},
};

static const struct schema release_fields[] = {
	{.name = "version", .type = SCHEMA_STRING, .required = true},
	{.name = "date", .type = SCHEMA_STRING},
	{.name = "hw", .type = SCHEMA_LIST, .fields = &any_string},
	{.name = "data_format", .type = SCHEMA_INTEGER, .min = 1, .max = 1000000},
	{.name = "security_counter", .type = SCHEMA_INTEGER, .min = 0, .max = 4294967295.0},
	{.name = "key", .type = SCHEMA_STRING},
	{.name = "min_bootloader", .type = SCHEMA_INTEGER, .min = 0, .max = 1000000},
	{.name = "images", .type = SCHEMA_OBJECT, .required = true, .fields = config_image_fields},
	{.name = "reverts", .type = SCHEMA_BOOLEAN},
	{0},
};

static const struct schema release = {.type = SCHEMA_OBJECT, .fields = release_fields};

static const struct schema manifest_fields[] = {
	{.name = "product", .type = SCHEMA_STRING, .required = true},
	{.name = "releases",
		.type = SCHEMA_LIST,
		.required = true,
		.min = 1,
		.max = 10000,
		.fields = &release},
	{.name = "policy", .type = SCHEMA_OBJECT, .fields = policy_fields},
	{0},
};

static int finish_releases(
	const struct schema_where *where, const char *dir, json_t *list, struct err *e)
{
	const struct lua_data_path up = {NULL, "releases", 0};
	json_t *entry;
	size_t i;

	json_array_foreach (list, i, entry) {
		const struct lua_data_path at = {&up, NULL, i};
		json_t *images, *given = json_object_get(entry, "images");
		int rc;

		if (json_object_size(given) == 0)
			return schema_error(where, &at, e, "images is empty");
		rc = config_images(where, dir, given, &at, &images, e);
		if (rc != 0)
			return rc;
		json_object_set_new(entry, "images", images);
		json_object_set_new(
			entry, "line", json_integer(lua_data_line(where->data, where->block, &at)));
	}
	return 0;
}

/* The policy with its defaults. */
static json_t *finish_policy(const struct schema_where *where, json_t *given)
{
	const struct lua_data_path at = {NULL, "policy", 0};
	json_t *policy = json_pack("{ss sb s[] s{} si}", "updates", "any", "downgrade", 0, "refuse",
		"via", "line", lua_data_line(where->data, where->block, &at));

	if (given)
		json_object_update(policy, given);
	return policy;
}

static int finish(const struct lua_data *data, const char *abs, struct err *e)
{
	const struct schema_where where = {data, &data->blocks[0]};
	json_t *m = data->blocks[0].value;
	char *dir;
	int rc = schema_check(&where, manifest_fields, m, NULL, e);

	if (rc != 0)
		return rc;
	dir = config_folder_of(abs);
	if (!dir)
		return err_set(e, ERR_NOMEM, "%s: out of memory", abs);
	rc = finish_releases(&where, dir, json_object_get(m, "releases"), e);
	free(dir);
	if (rc != 0)
		return rc;
	json_object_set_new(m, "policy", finish_policy(&where, json_object_get(m, "policy")));
	json_object_set_new(m, "file", json_string(abs));
	return 0;
}

int manifest_load(const char *path, json_t **manifest, struct err *e)
{
	const char *const no_modules[] = {NULL};
	struct lua_data *data;
	char *abs;
	int rc = config_absolute(path, &abs, e);

	if (rc != 0)
		return rc;
	rc = lua_data_load(path, NULL, no_modules, &data, e);
	if (rc == 0) {
		rc = finish(data, abs, e);
		if (rc == 0)
			*manifest = json_incref(data->blocks[0].value);
		lua_data_destroy(data);
	}
	free(abs);
	return rc;
}
