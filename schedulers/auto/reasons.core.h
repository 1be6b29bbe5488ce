/* SPDX-License-Identifier: GPL-2.0-only */
/* What auto says of its decisions: `mpsched conns` puts it into words. */
#ifndef MPS_AUTO_REASONS_H
#define MPS_AUTO_REASONS_H

#include "memory.core.h"

/* `number` 0: none is known; it is compared with `best`. */
MPS_CORE_PART __u32 auto_say(struct mps_verdict *out, __u32 i, __u32 why, __u32 number, __u32 best)
{
	struct mps_reason *reason;

	if (!out || !why)
		return 0;
	reason = number ? mps_say_number(out, i, why, (__s32)auto_bytes(number)) : mps_say(out, i, why);
	if (why == MPS_REASON_LATER)
		reason->other = (__u8)(best < MPS_MAX_SUBFLOWS ? best + 1 : 0);
	return why;
}

/* Those that are not asked: they do not answer, or their peer wants them to be backups. */
MPS_CORE_PART __u32 auto_say_left_out(const struct mps_view *v, const struct auto_policy_state *st,
				      struct mps_verdict *out, __u32 welcome, __u32 silent)
{
	if (!v || !st || !out)
		return 0;
	for (__u32 i = 0; i < MPS_MAX_SUBFLOWS && v->present >> i; i++) {
		if (silent >> i & 1)
			auto_say(out, i, MPS_REASON_NO_ANSWER,
				 auto_since((__u32)v->now_us, st->flow[i].acked_us), MPS_MAX_SUBFLOWS);
		else if (!(welcome >> i & 1) && (v->sf[i].flags & MPS_SF_PEER_BACKUP))
			auto_say(out, i, MPS_REASON_PEER_BACKUP, 0, MPS_MAX_SUBFLOWS);
	}
	return silent;
}

#endif
