#include "flash_files.h"

#include "err.h"
#include "file.h"
#include "hex.h"
#include "image.h"
#include "releases.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* image name → the region it goes to */
static const struct {
	const char *image, *region;
} places[] = {
	{"bootloader", "bootloader"},
	{"application", "primary"},
};

static int append_hex(json_t *segments, const char *path, const char *dir, struct err *e)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct hex hex;
	int code = hex_load(&hex, path, e);

	if (code)
		return code;
	for (size_t i = 0; i < hex.count && code == 0; i++) {
		const struct hex_segment *s = &hex.segments[i];
		char file[PATH_MAX];

		/* numbered over the whole list: two images may well have files of one name */
		if (snprintf(file, sizeof(file), "%s/%s.%zu.bin", dir, base,
			    json_array_size(segments)) >= (int)sizeof(file)) {
			code = err_set(e, ERR_IO, "%s: too long a path", dir);
			break;
		}
		code = file_write(file, s->bytes, s->size, e);
		if (code == 0)
			json_array_append_new(segments,
				json_pack("{s:I, s:I, s:s}", "address", (json_int_t)s->address,
					"size", (json_int_t)s->size, "path", file));
	}
	hex_finish(&hex);
	return code;
}

int flash_files_append(
	json_t *segments, const char *path, uint32_t address, const char *dir, struct err *e)
{
	const char *dot = strrchr(path, '.');
	struct stat st;

	if (dot && strcmp(dot, ".hex") == 0)
		return append_hex(segments, path, dir, e);
	if (stat(path, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
		return err_set(e, ERR_IO, "%s: not a readable file with something in it", path);
	return json_array_append_new(
		       segments, json_pack("{s:I, s:I, s:s}", "address", (json_int_t)address,
					 "size", (json_int_t)st.st_size, "path", path)) == 0
		       ? 0
		       : err_set(e, ERR_NOMEM, "out of memory");
}

static const char *image_path(const json_t *board, const json_t *images, const char *name)
{
	const char *path =
		json_string_value(json_object_get(json_object_get(board, "images"), name));

	return path ? path : json_string_value(json_object_get(images, name));
}

const char *flash_files_application(const json_t *board, const json_t *images)
{
	return image_path(board, images, "application");
}

static int check_fits(const json_t *segments, size_t from, const char *path, const char *region,
	json_int_t base, json_int_t size, struct err *e)
{
	for (size_t i = from; i < json_array_size(segments); i++) {
		const json_t *s = json_array_get(segments, i);
		json_int_t a = json_integer_value(json_object_get(s, "address"));
		json_int_t n = json_integer_value(json_object_get(s, "size"));

		if (a < base || a + n > base + size)
			return err_set(e, ERR_CONFIG,
				"%s: 0x%llx to 0x%llx is outside the board's region %s (0x%llx to "
				"0x%llx)",
				path, (long long)a, (long long)(a + n), region, (long long)base,
				(long long)(base + size));
	}
	return 0;
}

int flash_files_of_release(json_t **segments, const json_t *board, const json_t *images,
	const char *dir, struct err *e)
{
	json_t *list = json_array();
	int code = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places) && code == 0; i++) {
		const char *path = image_path(board, images, places[i].image);
		const json_t *region =
			json_object_get(json_object_get(board, "regions"), places[i].region);
		json_int_t base = json_integer_value(json_array_get(region, 0));
		size_t from = json_array_size(list);

		if (!path)
			continue;
		if (!region) {
			code = err_set(e, ERR_CONFIG, "board type %s has no region %s for %s",
				json_string_value(json_object_get(board, "type")), places[i].region,
				path);
			break;
		}
		code = flash_files_append(list, path, (uint32_t)base, dir, e);
		if (code == 0)
			code = check_fits(list, from, path, places[i].region, base,
				json_integer_value(json_array_get(region, 1)), e);
	}
	if (code == 0 && json_array_size(list) == 0)
		code = err_set(e, ERR_CONFIG,
			"the release has no image that goes to flash (bootloader, application)");
	if (code) {
		json_decref(list);
		return code;
	}
	*segments = list;
	return 0;
}

#define MCUBOOT_MAGIC "\x3d\xb8\xf3\x96" /* as bytes in the file; image.h */

static int check_application(const char *path, const char *version, struct err *e)
{
	struct image image;
	char *data;
	size_t len;
	int code = file_read(path, IMAGE_FILE_MAX, &data, &len, e);

	if (code)
		return code;
	if (len < 4 || memcmp(data, MCUBOOT_MAGIC, 4) != 0) {
		free(data);
		return 0;
	}
	code = image_parse(&image, path, (uint8_t *)data, len, e);
	free(data);
	if (code)
		return code;
	if (image.integrity == IMAGE_DAMAGED)
		return err_set(e, ERR_CONFIG, "%s: damaged: its %s is not that of its bytes", path,
			image.hash_name);
	if (version && semver_compare(image.version_text, version) != 0)
		return err_set(e, ERR_CONFIG, "%s: its header says version %s, expected %s", path,
			image.version_text, version);
	return 0;
}

int flash_files_check(
	const json_t *board, const json_t *release, const char *manifest_path, struct err *e)
{
	const char *version = json_string_value(json_object_get(release, "version"));
	json_int_t line = json_integer_value(json_object_get(release, "line"));
	int code = 0;

	for (size_t i = 0; i < sizeof(places) / sizeof(*places) && code == 0; i++) {
		const char *path =
			image_path(board, json_object_get(release, "images"), places[i].image);
		const char *dot = path ? strrchr(path, '.') : NULL;
		struct hex hex;

		if (!path)
			continue;
		if (dot && strcmp(dot, ".hex") == 0) {
			code = hex_load(&hex, path, e);
			if (code == 0)
				hex_finish(&hex);
		} else if (strcmp(places[i].image, "application") == 0) {
			code = check_application(path, version, e);
		}
		if (code)
			err_prefix(e, "%s:%lld: release %s: image %s", manifest_path,
				(long long)line, version, places[i].image);
	}
	return code;
}
