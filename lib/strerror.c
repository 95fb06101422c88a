/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strerror: answers in words that a person can act on, the version, and deadlines.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "../shm/sys.h"
#include "base.h"
#include "paxshm.h"

_Static_assert(PAXSHM_NO_QUORUM == -ENETUNREACH, "the header names no errno of its own");

const char *paxshm_strerror(int rc)
{
	if (rc >= 0)
		return "success";
	if (rc < -4095)
		return "an error without a name";
	switch (-rc) {
	case ECONNREFUSED:
		return "no agent on this host (start paxshmd, or point PAXSHM_SOCKET to its socket)";
	case ENOTCONN:
		return "the agent went away or does not answer (look at paxshmd's log; open a new session when it is back)";
	case ENETUNREACH:
		return "no quorum: this host reaches no majority of the cluster's voters (look at paxctl status)";
	case EBUSY:
		return "held by another owner";
	case ETIMEDOUT:
		return "the deadline passed before the lock came";
	case ECANCELED:
		return "cancelled by paxshm_cancel()";
	case EDEADLK:
		return "waiting would never end: conversions block each other (release one of them)";
	case ESTALE:
		return "not owned (any more): the lock was lost, or never acquired here";
	case ESRCH:
		return "nobody: the lock is free, or no process stands behind the name";
	case EEXIST:
		return "the name is taken";
	case EPIPE:
		return "the other process ended before it answered";
	case EAGAIN:
		return "busy just now, or the mailbox is full: try again";
	case EPROTO:
		return "library and agent do not fit each other (install the same version of both)";
	case ENOSPC:
		return "a stated limit is reached: locks or sessions of the cluster, or calls of one session (raise it in paxshmd's configuration)";
	case ENOMEM:
		return "out of memory";
	case EMSGSIZE:
		return "the message is too long";
	case ENAMETOOLONG:
		return "too long: a key has at most 255 bytes, a name 63, a socket's path 107";
	case EINVAL:
		return "bad argument: a null pointer, an empty key, an unset size (PAXSHM_INIT) or an unknown flag";
	case EACCES:
		return "the agent does not let this process in (wrong cluster, user or space)";
	case EPERM:
		return "not allowed: this session belongs to another process (after fork, open a new one)";
	case ENOSYS:
		return "not in this version of paxshm";
	}
	const char *words = strerrordesc_np(-rc);
	return words ? words : "an error without a name";
}

#define TEXT(x) #x
#define VERSION(major, minor, patch) TEXT(major) "." TEXT(minor) "." TEXT(patch)

const char *paxshm_version(void)
{
	return VERSION(PAXSHM_VERSION_MAJOR, PAXSHM_VERSION_MINOR, PAXSHM_VERSION_PATCH);
}

uint64_t paxshm_deadline_ms(uint64_t ms)
{
	uint64_t now = sys_now_ns();

	return ms < (NEVER - now) / NS_PER_MS ? now + ms * NS_PER_MS : NEVER - 1;
}
