/* SPDX-License-Identifier: Apache-2.0 */
/* paxctl version: of paxctl, and of the library that it was linked with. */
#include <stdio.h>

#include "escape.h"
#include "paxctl.h"

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

int command_version(int argc, char **argv, struct common *common)
{
	static const struct argp_child children[] = { { &common_json_argp, 0, NULL, 0 }, { 0 } };
	static const struct argp argp = {
		.parser = parse_no_argument,
		.doc = "Prints the version of paxctl and of the library.",
		.children = children,
	};
	const char *own = VERSION(PAXSHM_VERSION_MAJOR, PAXSHM_VERSION_MINOR, PAXSHM_VERSION_PATCH);

	command_parse(&argp, argc, argv, common);
	if (common->json)
		return json_print(json_pack("{s:s, s:s}", "paxctl", own, "libpaxshm", paxshm_version()));
	printf("paxctl %s, libpaxshm %s\n", own, paxshm_version());
	return 0;
}
