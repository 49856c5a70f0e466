/*
 * How `rig plan` shows a plan to people.
 */
#ifndef RIG_CLI_PLAN_H
#define RIG_CLI_PLAN_H

#include <jansson.h>

/* Prints a worker's answer to a job that is only planned, {"scenario", "plan"}, on standard output.
 */
void cli_plan_print(const json_t *answer);

#endif
