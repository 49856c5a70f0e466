#include "config_files.h"

#include "err.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct schema config_image_fields[] = {
	{.name = "bootloader", .type = SCHEMA_STRING},
	{.name = "application", .type = SCHEMA_STRING},
	{0},
};

int config_absolute(const char *path, char **abs, struct err *e)
{
	*abs = realpath(path, NULL);
	return *abs ? 0 : err_errno(e, ERR_CONFIG, errno, "%s", path);
}

char *config_folder_of(const char *abs)
{
	const char *slash = strrchr(abs, '/');

	return slash == abs ? strdup("/") : strndup(abs, (size_t)(slash - abs));
}

json_t *config_resolved(const char *dir, const char *path)
{
	return path[0] == '/' ? json_string(path) : json_sprintf("%s/%s", dir, path);
}

/* 0, or an errno that says why it cannot be read. */
static int try_file(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	if (!S_ISREG(st.st_mode))
		return EISDIR;
	return access(path, R_OK) == 0 ? 0 : errno;
}

int config_images(const struct schema_where *where, const char *dir, json_t *given,
	const struct lua_data_path *up, json_t **images, struct err *e)
{
	const struct lua_data_path at = {up, "images", 0};
	const char *name;
	json_t *path;

	*images = json_object();
	json_object_foreach (given, name, path) {
		const struct lua_data_path image = {&at, name, 0};
		json_t *abs = config_resolved(dir, json_string_value(path));
		int why = try_file(json_string_value(abs));

		json_object_set_new(*images, name, abs);
		if (why == 0)
			continue;
		schema_error(
			where, &image, e, "image %s: %s", json_string_value(abs), strerror(why));
		json_decref(*images);
		return -(int)e->code;
	}
	return 0;
}
