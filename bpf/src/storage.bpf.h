/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What BPF programs keep with a socket (BPF_MAP_TYPE_SK_STORAGE), for programs that have no helper for it: the kernel's list of it is walked, which for
 * nearly all sockets is empty. A piece of ours is known by the magic number that it begins with.
 */
#ifndef MPS_STORAGE_BPF_H
#define MPS_STORAGE_BPF_H

#include "kernel.bpf.h"

/* Of pieces that programs keep with one socket. */
#define STORAGE_PIECES 8

/* The first piece of the socket at this address; NULL: there is none. */
static __always_inline struct hlist_node *first_piece(__u64 sock)
{
	struct bpf_local_storage *storage = NULL;
	struct sock *sk = (struct sock *)sock;
	struct hlist_node *node = NULL;

	if (!bpf_core_field_exists(struct sock, sk_bpf_storage))
		return NULL;
	bpf_core_read(&storage, sizeof(storage), &sk->sk_bpf_storage);
	if (storage)
		bpf_core_read(&node, sizeof(node), &storage->list.first);
	return node;
}

static __always_inline void *data_of(struct hlist_node *node)
{
	return (void *)node - bpf_core_field_offset(struct bpf_local_storage_elem, snode) +
	       bpf_core_field_offset(struct bpf_local_storage_elem, sdata) +
	       bpf_core_field_offset(struct bpf_local_storage_data, data);
}

#endif /* MPS_STORAGE_BPF_H */
