/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * `mpsched run` where the kernel lets a program say which protocol a socket is made of: update_socket_protocol()
 * (net/socket.c, Linux 6.6, commit 0dd061a6a115) is called for each socket() of user space, and was made for just this. The command is known by its cgroup.
 */
#include <stdbool.h>
#include <linux/in.h>
#include "kernel.bpf.h"
#include <bpf/bpf_tracing.h>

#define STREAM 1 /* SOCK_STREAM, in the lowest four bits (include/linux/net.h) */
#define KNOWN_TYPE_BITS                                                                                      \
	(0xf | 02000000 | 04000) /* SOCK_CLOEXEC and SOCK_NONBLOCK, the same for x86 and arm64 */
#define MPTCP 262
#define UNKNOWN 2

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct net_generic {
	void *ptr[1];
};

struct net {
	struct net_generic *gen;
	__u64 net_cookie;
};

struct nsproxy {
	struct net *net_ns;
};

struct task_struct {
	struct nsproxy *nsproxy;
};

struct mptcp_pernet {
	__u8 mptcp_enabled;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} mps_command SEC(".maps");

/* The network namespace in which MPTCP was seen to be enabled when the command began. */
const volatile __u64 mps_home_cookie = 0;

__u64 mps_made = 0;
__u64 mps_refused = 0;
__u64 mps_elsewhere = 0; /* in a namespace of which nobody can tell whether it has MPTCP */

/*
 * Where net.mptcp.enabled is in each namespace's array of such things, an int. Its type must not be told: libbpf looks for what has one in BTF,
 * where static variables are not, and for others in kallsyms (with CONFIG_KALLSYMS_ALL).
 */
extern const void mptcp_pernet_id __ksym __weak;

/* net.mptcp.enabled of the namespace in which the caller makes sockets: where it is 0, one of MPTCP cannot be made at all. */
static __always_inline int enabled_here(void)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	struct mptcp_pernet *pernet = NULL;
	struct net_generic *gen;
	__u8 enabled = 0;
	int id = 0;

	if (&mptcp_pernet_id && bpf_core_field_exists(pernet->mptcp_enabled)) {
		bpf_probe_read_kernel(&id, sizeof(id), &mptcp_pernet_id);
		gen = BPF_CORE_READ(net, gen);
		if (id > 0 && !bpf_probe_read_kernel(&pernet, sizeof(pernet), (void **)gen + id) &&
		    !bpf_core_read(&enabled, sizeof(enabled), &pernet->mptcp_enabled))
			return enabled != 0;
	}
	return BPF_CORE_READ(net, net_cookie) == mps_home_cookie ? 1 : UNKNOWN;
}

/* 0 leaves it to the kernel, and to others' programs. */
SEC("fmod_ret/update_socket_protocol") int BPF_PROG(mps_run, int family, int type, int protocol, int ret)
{
	int enabled;

	if (ret || (family != AF_INET && family != AF_INET6) || (type & 0xf) != STREAM ||
	    (type & ~KNOWN_TYPE_BITS) || (protocol && protocol != IPPROTO_TCP))
		return ret;
	if (bpf_current_task_under_cgroup(&mps_command, 0) != 1)
		return 0;
	enabled = enabled_here();
	if (enabled == 1) {
		__sync_fetch_and_add(&mps_made, 1);
		return MPTCP;
	}
	__sync_fetch_and_add(enabled == UNKNOWN ? &mps_elsewhere : &mps_refused, 1);
	return 0;
}

char _license[] SEC("license") = "GPL";
