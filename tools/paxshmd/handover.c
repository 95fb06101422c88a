/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "handover.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../shm/sys.h"

#define TRIES 1000 /* a millisecond each */

int handover_send(int socket, const struct handover *message, const int *fds, unsigned n)
{
	struct handover m = *message;
	int rc = -EAGAIN;

	m.version = HANDOVER_VERSION;
	/* Descriptors under way are counted against a limit; the other end is taking them out. */
	for (int tries = 0; tries < TRIES; tries++) {
		rc = sys_send_fds(socket, &m, sizeof(m), fds, n, MSG_NOSIGNAL);
		if (rc == -ETOOMANYREFS)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		else if (rc != -EINTR)
			break;
	}
	return rc;
}

int handover_receive(int socket, bool wait, struct handover *ret, int fds[HANDOVER_FDS_MAX], unsigned *ret_n)
{
	ssize_t n;

	do
		n = sys_recv_fds(socket, ret, sizeof(*ret), fds, HANDOVER_FDS_MAX, ret_n, wait ? 0 : MSG_DONTWAIT);
	while (n == -EINTR);
	if (n == -ECONNRESET)
		return 0;
	if (n <= 0)
		return (int)n;
	if (n != sizeof(*ret) || ret->version != HANDOVER_VERSION) {
		for (unsigned i = 0; i < *ret_n; i++)
			close(fds[i]);
		return -EPROTO;
	}
	return 1;
}
