/*
 * SHA-256 of files, for the journal.
 */
#ifndef RIG_DIGEST_H
#define RIG_DIGEST_H

#include <jansson.h>

struct err;

#define DIGEST_HEX_SIZE 65

/* Writes the digest of the file's bytes in lower-case hex, ended. ERR_IO. */
int digest_file(const char *path, char hex[DIGEST_HEX_SIZE], struct err *e);

/* {"path", "sha256": hex, or null when it cannot be read}; a new object. */
json_t *digest_of_file(const char *path);

/* {NAME: path} as {NAME: digest_of_file()}; a new object. */
json_t *digest_images(const json_t *images);

/* A copy of a manifest (config.h) whose releases have digest_images(); null for no manifest. */
json_t *digest_releases(const json_t *manifest);

#endif
