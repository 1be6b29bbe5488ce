/* SPDX-License-Identifier: GPL-2.0-only */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The parser and the editor read none of the kernel's structures, whose header only BPF's compiler takes. */
#define MPS_KERNEL_BPF_H
#include <bpf/bpf_helpers.h>

#include "edit.bpf.h"

#include "datapath_host.h"

/* A context has 32 bits for a pointer. */
static uint8_t *buffer;
static uint32_t mtu_now;

void *bpf_map_lookup_elem(void *map, const void *key) {
    static struct mps_plan plan;
    static struct mps_edit edit;

    if (map == &mps_plans)
        return &plan;
    return map == &mps_edits ? (void *)&edit : NULL;
}

static uint8_t *at(struct xdp_md *ctx, __u32 offset, __u32 length) {
    if ((uint64_t)offset + length > ctx->data_end - ctx->data)
        return NULL;
    return (uint8_t *)(long)ctx->data + offset;
}

long bpf_xdp_adjust_head(struct xdp_md *ctx, int delta) {
    ctx->data += delta;
    return 0;
}

long bpf_xdp_load_bytes(struct xdp_md *ctx, __u32 offset, void *to, __u32 length) {
    uint8_t *from = at(ctx, offset, length);

    if (!from)
        return -1;
    memcpy(to, from, length);
    return 0;
}

long bpf_xdp_store_bytes(struct xdp_md *ctx, __u32 offset, void *from, __u32 length) {
    uint8_t *to = at(ctx, offset, length);

    if (!to)
        return -1;
    memcpy(to, from, length);
    return 0;
}

/* Of TC, which is not run here. */
long bpf_skb_load_bytes(const void *skb, __u32 offset, void *to, __u32 length) { abort(); }

long bpf_skb_store_bytes(void *skb, __u32 offset, const void *from, __u32 length, __u64 flags) { abort(); }

/* Packets here are linear. */
__u64 bpf_xdp_get_buff_len(struct xdp_md *ctx) { return ctx->data_end - ctx->data; }

long bpf_skb_adjust_room(void *skb, int length, __u32 mode, __u64 flags) { abort(); }

/* As the kernel: of the IP packet, behind the link-layer header. */
long bpf_check_mtu(void *context, __u32 ifindex, __u32 *mtu, int delta, __u64 flags) {
    struct xdp_md *ctx = context;

    return ctx->data_end - ctx->data + delta > mtu_now + sizeof(struct ethhdr);
}

static int parse(void *data, void *data_end, __u32 size, int l3, struct mps_packet *pkt) {
    memset(pkt, 0, sizeof(*pkt));
    return l3 ? parse_packet(data, data_end, size, true, pkt)
              : parse_packet(data, data_end, size, false, pkt);
}

struct host_packet host_parse(const uint8_t *data, size_t size, int l3) {
    /* Of its own size, so that a sanitizer sees a read beyond it. */
    uint8_t *copy = malloc(size ? size : 1);
    struct host_packet result = {};
    struct mps_packet pkt;

    memcpy(copy, data, size);
    result.leaves_early = l3 ? has_no_mptcp(copy, copy + size, true) : has_no_mptcp(copy, copy + size, false);
    result.parsed = (enum host_parse)parse(copy, copy + size, size, l3, &pkt);
    result.net_off = pkt.net_off;
    result.tcp_off = pkt.tcp_off;
    result.options_len = pkt.options_len;
    result.payload_len = pkt.payload_len;
    result.completes = pkt.completes;
    result.has_prio = pkt.has_prio;
    result.prio_backup = pkt.prio_backup;
    result.prio_off = pkt.prio_off;
    free(copy);
    return result;
}

enum host_edit host_edit(const uint8_t *data, size_t size, int l3, int backup, uint32_t mtu,
                         const uint8_t **edited, size_t *edited_size) {
    struct xdp_md ctx = {};
    struct mps_packet pkt;
    struct mps_plan *plan;
    int result;

    if (!buffer)
        buffer = mmap(NULL, HOST_HEADROOM + HOST_MOST, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (buffer == MAP_FAILED || size > HOST_MOST)
        abort();
    memcpy(buffer + HOST_HEADROOM, data, size);
    ctx.data = (__u32)(long)(buffer + HOST_HEADROOM);
    ctx.data_end = ctx.data + size;
    mtu_now = mtu;
    *edited = (uint8_t *)(long)ctx.data;
    *edited_size = size;
    if (parse((void *)(long)ctx.data, (void *)(long)ctx.data_end, size, l3, &pkt) != PARSE_MPTCP)
        return HOST_UNCHANGED;
    plan = plan_prio(&pkt, backup);
    if (!plan)
        return HOST_UNCHANGED;
    result = mps_edit_xdp(&ctx, &pkt, plan, l3);
    *edited = (uint8_t *)(long)ctx.data;
    *edited_size = ctx.data_end - ctx.data;
    return result == EDIT_DONE ? HOST_DONE : result == EDIT_FAILED ? HOST_FAILED : HOST_PUT_OFF;
}
