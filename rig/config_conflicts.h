/*
 * Whether two devices of a bench are one and the same, as far as rig.conf tells: the same GPIO
 * line, relay channel, serial port, hub port or socket.
 */
#ifndef RIG_CONFIG_CONFLICTS_H
#define RIG_CONFIG_CONFLICTS_H

#include "config_schema.h"

/*
 * Checks a board's devices against each other and against those of the boards before it ({NAME:
 * board}), whose blocks are in where->data. catalogue is config_load()'s. ERR_CONFIG names both
 * boards and the lines where they are written.
 */
int config_conflicts(const struct schema_where *where, json_t *boards, json_t *board,
	json_t *catalogue, struct err *e);

#endif
