/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "process.h"

#define FIRST_PORT 15000u
#define PORTS 15000u /* below 32768, where Linux begins to give ports away */
#define TRIES 1000u

static bool port_free(uint16_t port)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return false;
	bool ok = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 1) == 0;
	close(fd);
	return ok;
}

bool net_free_ports(uint16_t *ret, unsigned n)
{
	unsigned found = 0;

	for (unsigned i = 0; i < TRIES && found < n; i++) {
		unsigned random;

		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return false;
		uint16_t port = (uint16_t)(FIRST_PORT + random % PORTS);
		bool ours = false;
		for (unsigned k = 0; k < found; k++)
			ours |= ret[k] == port;
		if (!ours && port_free(port))
			ret[found++] = port;
	}
	return found == n;
}

/* ip(8) with one line of words. */
__attribute__((format(printf, 2, 3))) static bool ip(bool quiet, const char *format, ...)
{
	char line[256], *argv[24] = { "ip" }, *save = NULL;
	unsigned n = 1;
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	for (char *word = strtok_r(line, " ", &save); word && n < 23; word = strtok_r(NULL, " ", &save))
		argv[n++] = word;
	return process_run(argv, quiet);
}

static bool netns_plug(const char *tag, unsigned i)
{
	return ip(false, "netns add %s-%u", tag, i) &&
	       ip(false, "-n %s-%u link set lo up", tag, i) &&
	       ip(false, "-n %s-0 link add port%u type veth peer name eth0 netns %s-%u", tag, i, tag, i) &&
	       ip(false, "-n %s-0 link set port%u master bridge up", tag, i) &&
	       ip(false, "-n %s-%u addr add 10.77.0.%u/24 dev eth0", tag, i, i) &&
	       ip(false, "-n %s-%u link set eth0 up", tag, i);
}

bool netns_make(const char *tag, unsigned n)
{
	bool ok = ip(false, "netns add %s-0", tag) &&
		  ip(false, "-n %s-0 link add bridge type bridge", tag) &&
		  ip(false, "-n %s-0 link set bridge up", tag);

	for (unsigned i = 1; ok && i <= n; i++)
		ok = netns_plug(tag, i);
	if (!ok)
		netns_remove(tag, n);
	return ok;
}

void netns_remove(const char *tag, unsigned n)
{
	for (unsigned i = 0; i <= n; i++)
		ip(true, "netns del %s-%u", tag, i);
}

int netns_enter(const char *tag, unsigned n)
{
	char path[128];

	snprintf(path, sizeof(path), "/run/netns/%s-%u", tag, n);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int rc = setns(fd, CLONE_NEWNET) < 0 ? -errno : 0;
	close(fd);
	return rc;
}
