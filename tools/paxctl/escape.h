/* SPDX-License-Identifier: Apache-2.0 */
/*
 * escape: keys may hold any bytes; these show them without harming a terminal or a JSON reader.
 *
 * Who may enter: the commands that print keys.
 */
#ifndef PAXSHM_TOOLS_PAXCTL_ESCAPE_H
#define PAXSHM_TOOLS_PAXCTL_ESCAPE_H

#include <jansson.h>
#include <stddef.h>

#define ESCAPED_MAX (4 * 255 + 1)

/* Printable characters of the locale as they are, a backslash doubled, every other byte as \xHH: no
 * two keys look alike. `out` has room for 4 * len + 1; what is returned is `out`. */
char *escape_key(const void *key, size_t len, char *out);

/* Adds "key" (the key itself where it is text in UTF-8, else as escape_key() shows it) and "key_hex"
 * (its bytes) to an object. */
void json_add_key(json_t *object, const void *key, size_t len);

/* 64-bit numbers as strings of digits: many readers of JSON lose digits above 2^53. */
json_t *json_u64(unsigned long long n);

/* One document and a newline on standard output; takes the reference. 0, or EXIT_OS when it cannot be written. */
int json_print(json_t *document);

#endif
