/*
 * SHA-256 of files, for the journal.
 */
#ifndef RIG_DIGEST_H
#define RIG_DIGEST_H

struct err;

#define DIGEST_HEX_SIZE 65

/* Writes the digest of the file's bytes in lower-case hex, ended. ERR_IO. */
int digest_file(const char *path, char hex[DIGEST_HEX_SIZE], struct err *e);

#endif
