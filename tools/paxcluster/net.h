/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: addresses for a cluster: free ports of the loopback, or a network namespace for each host and one
 * more that holds the bridge between them. Nothing of the machine's own network is touched.
 *
 * Who may enter: cluster.
 */
#ifndef PAXSHM_TOOLS_PAXCLUSTER_NET_H
#define PAXSHM_TOOLS_PAXCLUSTER_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* n ports of 127.0.0.1 that nobody listens on, outside the range from which the kernel gives ports to
 * connections, so that only another listener could take one meanwhile. False: there are none. */
bool net_free_ports(uint16_t *ret, unsigned n);

#define NETNS_PORT 7400u

/* Namespaces TAG-0 (the bridge) and TAG-1 … TAG-n, each with eth0 at 10.77.0.N. Needs root. False: not
 * all could be made; what was made is gone again. */
bool netns_make(const char *tag, unsigned n);
void netns_remove(const char *tag, unsigned n);
/* Enters one, for good. 0 or -errno. */
int netns_enter(const char *tag, unsigned n);

#endif
