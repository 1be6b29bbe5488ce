/* SPDX-License-Identifier: MIT */
/* What of libbpf's header the parser and the editor need on the host: helpers work on the packet of the context (datapath_host.c). */
#ifndef MPS_HOST_BPF_HELPERS_H
#define MPS_HOST_BPF_HELPERS_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>

#define SEC(name)
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name
#define __array(name, value) typeof(value) *name[]
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))
#ifndef __noinline
#define __noinline __attribute__((noinline))
#endif
#define barrier_var(variable) asm volatile("" : "+r"(variable))

void *bpf_map_lookup_elem(void *map, const void *key);
long bpf_xdp_adjust_head(struct xdp_md *ctx, int delta);
__u64 bpf_xdp_get_buff_len(struct xdp_md *ctx);
long bpf_xdp_load_bytes(struct xdp_md *ctx, __u32 offset, void *to, __u32 length);
long bpf_xdp_store_bytes(struct xdp_md *ctx, __u32 offset, void *from, __u32 length);
long bpf_skb_load_bytes(const void *skb, __u32 offset, void *to, __u32 length);
long bpf_skb_store_bytes(void *skb, __u32 offset, const void *from, __u32 length, __u64 flags);
long bpf_skb_adjust_room(void *skb, int length, __u32 mode, __u64 flags);
long bpf_check_mtu(void *ctx, __u32 ifindex, __u32 *mtu, int length, __u64 flags);

#endif /* MPS_HOST_BPF_HELPERS_H */
