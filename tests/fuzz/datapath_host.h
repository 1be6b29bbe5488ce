/* SPDX-License-Identifier: MIT */
/* The data path's parser, edit plan and editor, compiled for the host from the same files (bpf/src). */
#ifndef MPS_DATAPATH_HOST_H
#define MPS_DATAPATH_HOST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum host_parse { HOST_NOT_OURS = 0, HOST_MALFORMED = 1, HOST_MPTCP = 2 };

struct host_packet {
    enum host_parse parsed;
    int leaves_early; /* has_no_mptcp() */
    unsigned int net_off, tcp_off, options_len, payload_len;
    unsigned int has_prio, prio_backup, prio_off, completes;
};

struct host_packet host_parse(const uint8_t *data, size_t size, int l3);

enum host_edit { HOST_UNCHANGED = 0, HOST_DONE = 1, HOST_PUT_OFF = 2, HOST_FAILED = 3 };

/* Room in front of and behind a packet that may be edited. */
#define HOST_HEADROOM 64
#define HOST_MOST 2048

/*
 * Parses the packet and carries out the plan of an MP_PRIO with this B bit, as XDP does. `edited` points to the result, which lives until the
 * next call.
 */
enum host_edit host_edit(const uint8_t *data, size_t size, int l3, int backup, uint32_t mtu,
                         const uint8_t **edited, size_t *edited_size);

#ifdef __cplusplus
}
#endif

#endif /* MPS_DATAPATH_HOST_H */
