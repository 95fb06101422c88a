/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe: places where a tracer may look on (USDT). Each is one no-operation instruction until a
 * tracer takes hold of it: `perf probe sdt_paxshm:*`, `bpftrace -e 'usdt:paxshmd:paxshm:chosen {…}'`.
 *
 *   taken(slot, call)      a request was taken from session `slot`'s ring
 *   proposed(bytes)        as leader: a batch goes into the log
 *   chosen(slot)           all slots up to this one are known to be chosen
 *   applied(slot)          and applied
 *   woken(slot, call)      session `slot`'s sleeper was woken
 *
 * Without <sys/sdt.h> (systemtap-sdt-dev) they are nothing at all. Who may enter: the agent, the reactor.
 */
#ifndef PAXSHM_TOOLS_PAXSHMD_PROBE_H
#define PAXSHM_TOOLS_PAXSHMD_PROBE_H

#if __has_include(<sys/sdt.h>)
#include <sys/sdt.h>
#define PROBE1(name, a) DTRACE_PROBE1(paxshm, name, a)
#define PROBE2(name, a, b) DTRACE_PROBE2(paxshm, name, a, b)
#else
#define PROBE1(name, a) ((void)(a))
#define PROBE2(name, a, b) ((void)(a), (void)(b))
#endif

#endif
