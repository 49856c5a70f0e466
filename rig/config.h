/*
 * The bench as plain data: rig.conf, the board types and the manifest of releases, found, checked
 * and resolved. Nothing is opened here but files. What is accepted: docs/configuration.md.
 *
 * Every message names file, line, key, what is wrong and what was expected.
 */
#ifndef RIG_CONFIG_H
#define RIG_CONFIG_H

#include <jansson.h>

struct err;

/*
 * Finds rig.conf: given (the argument of --config) if not NULL, else $RIG_CONFIG, ./rig.conf,
 * /etc/rig/rig.conf. What was named and is not there is an error; it is not searched further.
 * *path becomes the absolute path, the caller's to free. ERR_CONFIG.
 */
int config_find(const char *given, char **path, struct err *e);

/*
 * Reads rig.conf at path and the board types it names. catalogue is the drivers' (driver.h:
 * driver_catalogue(), as `rig-keeper --drivers` prints it), borrowed; options are checked against
 * it and filled in from it. On success *config is a new reference:
 *
 *   {"file": absolute path, "name", "state_dir": absolute, "releases": absolute or null,
 *    "boards": {NAME: the object of docs/protocol.md, in the order of the file}}
 *
 * The state folder is not created. ERR_CONFIG, ERR_NOMEM.
 */
int config_load(const char *path, json_t *catalogue, json_t **config, struct err *e);

/*
 * Reads the manifest of releases. On success *manifest is a new reference:
 *
 *   {"file": absolute path, "product",
 *    "releases": [{"version", "date", "hw": […], "data_format", "security_counter", "key",
 *                  "min_bootloader", "images": {NAME: absolute path}, "reverts", "line": n}, …],
 *    "policy": {"updates", "window": {…}, "downgrade", "refuse": [[from, to], …], "via": {…}}}
 *
 * Only version and images are always there; of policy, updates, downgrade, refuse and via are.
 * An image that is not a readable file is an error at the line of its release. Versions are
 * strings here: their order and the policy's meaning are releases.h's. ERR_CONFIG, ERR_NOMEM.
 */
int manifest_load(const char *path, json_t **manifest, struct err *e);

/*
 * Where boards/, scenarios/ and the like of this installation are: $RIG_DATADIR, else the source
 * tree that the running program was built in, else the folder compiled in as DATADIR. The caller
 * frees it. NULL: out of memory.
 */
char *data_dir(void);

/*
 * The name of candidates (an object's keys) that a typo most likely meant, or NULL when none is
 * near. Borrowed from candidates.
 */
const char *nearest_key(const char *word, json_t *candidates);

#endif
