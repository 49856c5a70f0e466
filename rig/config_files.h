/*
 * What rig.conf and the manifest have in common: paths relative to the file they stand in, images.
 */
#ifndef RIG_CONFIG_FILES_H
#define RIG_CONFIG_FILES_H

#include "config_schema.h"

#include <jansson.h>

/* The names that images may have. */
extern const struct schema config_image_fields[];

/* path without links and relative parts, the caller's to free. ERR_CONFIG when nothing is there. */
int config_absolute(const char *path, char **abs, struct err *e);

/* The folder of an absolute path, the caller's to free; NULL: out of memory. */
char *config_folder_of(const char *abs);

/* path as it is meant in a file that lies in dir. A new reference. */
json_t *config_resolved(const char *dir, const char *path);

/*
 * The images given in a file that lies in dir, as a new object of absolute paths. up is the table
 * around "images", NULL for the block. ERR_CONFIG, with its line, for one that is no readable file.
 */
int config_images(const struct schema_where *where, const char *dir, json_t *given,
	const struct lua_data_path *up, json_t **images, struct err *e);

#endif
