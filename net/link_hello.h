/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link_hello: do two hosts fit together? Decided from what they say first, in words that a person
 * can act on. The same for every kind of link.
 *
 * Pure. Who may enter: links.
 */
#ifndef PAXSHM_NET_LINK_HELLO_H
#define PAXSHM_NET_LINK_HELLO_H

#include "link.h"

/* What does not fit, without the other's name or address; NULL: all does. `peer`: theirs->from in our configuration,
 * NULL: it is not there. `dialled`: the host that we connected to, 0: they connected to us. */
const char *link_misfit(const struct wire_hello *ours, const struct wire_hello *theirs, const struct link_peer *peer,
			uint16_t dialled);

#endif
