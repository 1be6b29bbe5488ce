// SPDX-License-Identifier: GPL-2.0-only
/*
 * Notes with each socket which command made it, for rules by command. The kernel itself does not keep that. These programs stand at the root of
 * cgroup v2 as long as there is such a rule: mps_cmd_make sees every socket that a process makes, mps_cmd_scan those that there were before.
 *
 * The command is that of the process and not of the thread, as threads give themselves names. The kernel copies what a listener has to what it accepts
 * (BPF_F_CLONE). Sockets that the kernel makes, subflows among them, are not seen: rules are about connections.
 */
#include "maps.bpf.h"
#include "socket_netns.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define IPPROTO_TCP_NUMBER 6
#define IPPROTO_MPTCP_NUMBER 262

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct task_struct {
	struct task_struct *group_leader;
	char comm[MPS_COMMAND_LEN];
};

struct sock___protocol {
	__u16 sk_protocol;
};

struct file;

struct socket {
	struct sock *sk;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct file *file;
};

#pragma clang attribute pop

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct mps_maker);
} mps_makers SEC(".maps");

static __always_inline bool is_tcp(__u32 protocol)
{
	return protocol == IPPROTO_TCP_NUMBER || protocol == IPPROTO_MPTCP_NUMBER;
}

/* Who reads finds the magic number last written. */
static __always_inline void note(struct mps_maker *maker, struct task_struct *task)
{
	struct task_struct *leader = NULL;

	bpf_core_read(&leader, sizeof(leader), &task->group_leader);
	if (!leader)
		return;
	bpf_core_read_str(maker->command, sizeof(maker->command), &leader->comm);
	barrier();
	maker->magic = MPS_MAKER_MAGIC;
}

/* Returns 1: the socket may be made. */
SEC("cgroup/sock_create") int mps_cmd_make(struct bpf_sock *ctx)
{
	struct mps_maker *maker;

	if (!is_tcp(ctx->protocol) || bpf_get_netns_cookie(ctx) != mps_netns_cookie)
		return 1;
	maker = bpf_sk_storage_get(&mps_makers, ctx, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (maker)
		note(maker, (struct task_struct *)bpf_get_current_task());
	return 1;
}

/* Of a socket that several processes hold the first one counts, which is the oldest as a rule. */
SEC("iter/task_file") int mps_cmd_scan(struct bpf_iter__task_file *it)
{
	struct task_struct *task = it->task;
	struct file *file = it->file;
	struct mps_maker *maker;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !is_tcp(BPF_CORE_READ((struct sock___protocol *)sk, sk_protocol)) || !is_of_this_netns(sk))
		return 0;
	maker = bpf_sk_storage_get(&mps_makers, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (maker && maker->magic != MPS_MAKER_MAGIC)
		note(maker, task);
	return 0;
}
