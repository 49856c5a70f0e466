/*
 * JSON values as the YAML that TAP allows in a diagnostics block: block style, strings in double
 * quotes (YAML 1.2, section 7.3.1), everything that is not printable escaped, so that a console
 * line of any contents stays one line and one value.
 */
#ifndef REPORTS_YAML_H
#define REPORTS_YAML_H

#include <jansson.h>
#include <stdio.h>

/*
 * Writes the members of object, a line or more each, indented by indent spaces. Write errors are
 * left in out (ferror).
 */
void yaml_write(FILE *out, json_t *object, int indent);

#endif
