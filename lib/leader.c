/* SPDX-License-Identifier: Apache-2.0 */
/* leader: asks for another one. */
#include <errno.h>

#include "../shm/atom.h"
#include "../shm/sys.h"
#include "session.h"

int paxshm_move_leader(paxshm_session *s, uint32_t host_id)
{
	struct ring_request request = { .op = REQUEST_LEAD, .target = host_id };
	struct ring_completion answer;
	int rc = session_mine(s);

	if (rc)
		return rc;
	if (!host_id || host_id >= HOSTS_MAX)
		return -EINVAL;
	uint32_t cancels = atom_load_seq_cst(&s->cancels);
	struct patience patience = { .deadline_ns = sys_now_ns() + s->agent_timeout_ns, .cancels = &cancels };
	rc = call_run(s, &request, patience, &answer);
	if (rc == 0)
		rc = answer.result;
	return rc == -ETIMEDOUT ? -ENOTCONN : rc > 0 ? -EPROTO
						     : rc;
}
