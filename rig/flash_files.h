/*
 * A release's image files as what a probe programs: raw segments with addresses.
 */
#ifndef RIG_FLASH_FILES_H
#define RIG_FLASH_FILES_H

#include <jansson.h>
#include <stdint.h>

struct err;

/*
 * Appends the segments of the file at path to the array segments, as {"address", "size", "path"}. A
 * name that ends in .hex is Intel HEX with addresses of its own, each segment written raw below
 * dir, which exists; any other file is raw and goes to address. ERR_CONFIG for a file that is no
 * image, ERR_IO, ERR_NOMEM.
 */
int flash_files_append(
	json_t *segments, const char *path, uint32_t address, const char *dir, struct err *e);

/*
 * The segments of a whole release on a board: each image of images {NAME: path} that belongs in
 * flash, at its region, after the board's own images {NAME: path} replaced what they name. board is
 * the object of docs/protocol.md. On success *segments is a new array. ERR_CONFIG when a segment
 * does not fit its region or nothing goes to flash; ERR_IO, ERR_NOMEM.
 */
int flash_files_of_release(json_t **segments, const json_t *board, const json_t *images,
	const char *dir, struct err *e);

/*
 * Checks the files of a release ({version, images, line} of config.h's manifest at manifest_path)
 * on a board before anything is done with them: Intel HEX is whole; an application in MCUboot's
 * format is whole, its hash is right and its version is the release's. An application in another
 * format is taken as it is. ERR_CONFIG with the manifest's line and the file; ERR_IO, ERR_NOMEM.
 */
int flash_files_check(
	const json_t *board, const json_t *release, const char *manifest_path, struct err *e);

/* The release's application on a board, borrowed from one of the two; NULL when there is none. */
const char *flash_files_application(const json_t *board, const json_t *images);

#endif
