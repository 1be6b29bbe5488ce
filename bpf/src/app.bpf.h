/* SPDX-License-Identifier: GPL-2.0-only */
/* What the programs that set and those that get have in common: whose socket it is, and what is kept for it. */
#ifndef MPS_APP_BPF_H
#define MPS_APP_BPF_H

#include "maps.bpf.h"
#include <mps/socket_options.h>

/* Set before load: sockets of other network namespaces are none of ours … */
const volatile __u64 mps_netns_cookie = 0;
/* … and what the cgroup's applications may choose is in this place. */
const volatile __u32 mps_grant_index = 0;

#define OUR_OPTIONS(name) (((name) & ~0xff) == MPSCHED_INFO)
#define IPPROTO_MPTCP_NUMBER 262
/* The most that the kernel copies for a program (PAGE_SIZE). */
#define MOST_BYTES 4096

/* asm-generic/errno-base.h */
#define ENOENT 2
#define E2BIG 7
#define ENOMEM 12
#define EPERM 1
#define ENODEV 19
#define EINVAL 22
#define EOPNOTSUPP 95

static __always_inline const struct mps_grant *own_grant(void)
{
	__u32 index = mps_grant_index;
	const struct mps_grant *grant = bpf_map_lookup_elem(&mps_grants, &index);

	return grant && grant->serial ? grant : NULL;
}

/* Is it for us to answer? Else the kernel does: another namespace, plain TCP, a grant that is just being taken back. */
static __always_inline bool is_ours(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk && sk->protocol == IPPROTO_MPTCP_NUMBER && bpf_get_netns_cookie(ctx) == mps_netns_cookie;
}

/*
 * What is kept for this socket; made if there is nothing. The verifier takes a pointer that comes back from memory for a number, which is
 * what the kernel's structures can be read by on every kernel.
 */
static __always_inline struct mps_choice *choice_of(struct bpf_sockopt *ctx, const struct mps_grant *grant)
{
	struct bpf_sock *sk = ctx->sk;
	struct mps_choice *choice;

	if (!sk)
		return NULL;
	choice = bpf_sk_storage_get(&mps_choices, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!choice)
		return NULL;
	*(volatile __u64 *)&choice->msk = (__u64)sk;
	if (choice->serial != grant->serial || choice->grant != mps_grant_index) { /* a new one, or void */
		choice->fields = 0;
		choice->prefer = 0;
		choice->grant = mps_grant_index;
		choice->serial = grant->serial;
	}
	choice->magic = MPS_CHOICE_MAGIC;
	return choice;
}

static __always_inline struct mptcp_sock *msk_of(const struct mps_choice *choice)
{
	return (struct mptcp_sock *)*(const volatile __u64 *)&choice->msk;
}

static __always_inline __u32 token_of(const struct mps_choice *choice)
{
	struct mptcp_sock *msk = msk_of(choice);
	__u32 token = 0;

	bpf_core_read(&token, sizeof(token), &msk->token);
	return token;
}

#endif /* MPS_APP_BPF_H */
