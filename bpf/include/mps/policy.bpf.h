/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/*
 * Turns a pure core into a policy object: two programs (one per hook type; tail calls do not cross types),
 * the parameters, and the description that the loader checks before anything is loaded.
 */
#ifndef MPS_POLICY_BPF_H
#define MPS_POLICY_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <mps/core.h>

/* The loader puts the data path's own map here; see maps.bpf.h for its definition. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct mps_scratch);
} mps_scratch SEC(".maps");

/*
 * MPS_POLICY(ident, "name", "one line of what it does")
 *
 * needs before it: MPS_PARAMS or MPS_NO_PARAMS(ident, …), struct ident_state, and
 *   ident_decide(const struct mps_view *, struct mps_verdict *, const struct ident_params *, struct ident_state *)
 */
#define MPS_POLICY(ident, policy_name, policy_doc) MPS_POLICY_WITH(ident, policy_name, policy_doc, 0)

/* The same with flags, enum mps_policy_flag. */
#define MPS_POLICY_WITH(ident, policy_name, policy_doc, policy_flags)                                        \
	MPS_POLICY_WANTING(ident, policy_name, policy_doc, policy_flags, 0)

/* And with what is to be filled in of v->extra, enum mps_extra. */
#define MPS_POLICY_WANTING(ident, policy_name, policy_doc, policy_flags, policy_wants)                       \
	MPS_STATE_FITS(struct ident##_state);                                                                \
	const struct mps_policy_info mps_info SEC(MPS_INFO_SECTION) = {                                      \
		.abi = MPS_POLICY_ABI,                                                                       \
		.state_bytes = sizeof(struct ident##_state),                                                 \
		.name = policy_name,                                                                         \
		.doc = policy_doc,                                                                           \
		.flags = policy_flags,                                                                       \
		.wants = policy_wants,                                                                       \
	};                                                                                                   \
	struct ident##_params mps_params SEC(MPS_PARAMS_SECTION) = ident##_defaults;                         \
	static __attribute__((always_inline)) inline void ident##_run(void)                                  \
	{                                                                                                    \
		__u32 zero = 0;                                                                              \
		struct mps_scratch *s = bpf_map_lookup_elem(&mps_scratch, &zero);                            \
                                                                                                             \
		if (!s)                                                                                      \
			return;                                                                              \
		ident##_decide(&s->view, &s->verdict, &mps_params, (struct ident##_state *)&s->state);       \
		s->kept_words = 1 + (sizeof(struct ident##_state) + 7) / 8;                                  \
		s->decided = 1;                                                                              \
	}                                                                                                    \
	SEC("xdp.frags") int mps_policy_xdp(struct xdp_md *ctx MPS_UNUSED)                                   \
	{                                                                                                    \
		ident##_run();                                                                               \
		return XDP_PASS;                                                                             \
	}                                                                                                    \
	SEC("tc") int mps_policy_tc(struct __sk_buff *ctx MPS_UNUSED)                                        \
	{                                                                                                    \
		ident##_run();                                                                               \
		return -1;                                                                                   \
	}                                                                                                    \
	char mps_license[] SEC("license") = "GPL"

#endif /* MPS_POLICY_BPF_H */
