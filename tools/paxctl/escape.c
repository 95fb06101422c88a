/* SPDX-License-Identifier: Apache-2.0 */
#define _XOPEN_SOURCE 700
#include "escape.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "paxctl.h"

/* Bytes of the printable character at `at`; 0: there is none. */
static size_t printable(const char *at, size_t len)
{
	mbstate_t state = { 0 };
	wchar_t c;
	size_t n = mbrtowc(&c, at, len, &state);

	/* Characters without width are combining marks and marks of direction: they change what stands around them. */
	if (n == 0 || n > len || wcwidth(c) <= 0)
		return 0;
	return n;
}

char *escape_key(const void *key, size_t len, char *out)
{
	const char *in = key;
	char *to = out;

	while (len) {
		size_t n = printable(in, len);

		if (n && *in == '\\')
			*to++ = '\\';
		if (n) {
			memcpy(to, in, n);
			to += n;
		} else {
			n = 1;
			to += sprintf(to, "\\x%02x", (unsigned char)*in);
		}
		in += n;
		len -= n;
	}
	*to = 0;
	return out;
}

void json_add_key(json_t *object, const void *key, size_t len)
{
	char text[ESCAPED_MAX], hex[2 * 255 + 1];
	json_t *exact = json_stringn(key, len); /* NULL: no UTF-8 */

	for (size_t i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", ((const unsigned char *)key)[i]);
	json_object_set_new(object, "key", exact ? exact : json_string(escape_key(key, len, text)));
	json_object_set_new(object, "key_hex", json_stringn(hex, 2 * len));
}

json_t *json_u64(unsigned long long n)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", n);
	return json_string(text);
}

int json_print(json_t *document)
{
	int rc = document ? json_dumpf(document, stdout, JSON_INDENT(2)) : -1;

	json_decref(document);
	if (rc < 0 || putchar('\n') == EOF || fflush(stdout) == EOF) {
		fprintf(stderr, "paxctl: cannot write\n");
		return EXIT_OS;
	}
	return 0;
}
