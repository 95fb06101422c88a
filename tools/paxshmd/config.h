/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what a person wrote, checked and made plain. One file, the same on every host; each host
 * finds its own entry by name.
 *
 * The result holds no pointers: the keeper hands it to each agent as bytes in a memfd.
 * Whatever is wrong is said with file, line and remedy, and nothing half-right is returned.
 * paxshmd.conf(5) describes the file.
 *
 * Who may enter: main, keeper, reactor, tests.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_CONFIG_H
#define PAXSHM_TOOLS_PAXSHMD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "agent.h"

#define CONFIG_HOSTS (HOSTS_MAX - 1)
#define CONFIG_PATH 256u   /* bytes of a path, with its NUL */
#define CONFIG_SOCKET 108u /* what a UNIX address holds */
#define CONFIG_WHY 1024u   /* room for an error message */

struct config_host {
	uint16_t id;
	uint8_t role; /* enum host_role */
	uint8_t spare;
	uint32_t line; /* of its address in the file */
	char name[NAME_BYTES];
	char address_text[96]; /* as written */
	struct sockaddr_storage address;
	uint32_t address_len;
};

struct config {
	uint32_t size; /* of this structure: keeper and agent must come from one build */
	uint8_t single, insecure, engine /* enum loop_engine */, spare;
	char file[CONFIG_PATH]; /* "": none */
	char cluster[NAME_BYTES];
	char socket[CONFIG_SOCKET];
	char state[CONFIG_PATH];
	uint32_t locks, claims, sessions; /* claims, sessions 0: as agent_limits_for() says */
	uint32_t heartbeat_ms, leader_lease_ms, host_lease_ms, drift_ppm, handover_max, handover_ms, keep_ms;
	uint32_t self; /* index in hosts */
	uint32_t n_hosts;
	struct config_host hosts[CONFIG_HOSTS];
};

/* Reads and checks a file. `host`: this host's name in it, NULL: as the machine is called. 0; or
 * -errno and why[CONFIG_WHY] "FILE:LINE: what is wrong; what to do". *ret is undefined then. */
int config_read(struct config *ret, const char *path, const char *host, char *why);

/* A cluster of one, without a file. */
void config_single(struct config *ret);

/* Fills in socket and state where neither file nor command line named them. 0, or -errno and why. */
int config_places(struct config *c, char *why);

/* What of a running host cannot become what is read now, for a person: NULL: all can. The memory was made for it,
 * the keeper lives by it, or the whole cluster must agree on it. */
const char *config_fixed(const struct config *now, const struct config *next);

/* "auto", "io_uring" or "epoll": 0; -EINVAL. */
int config_engine(const char *word, uint8_t *ret);

/* Puts an error in words; answers rc. */
int because(char *why, int rc, const char *format, ...) __attribute__((format(printf, 3, 4)));

struct agent_limits config_limits(const struct config *c);

#endif
