/* SPDX-License-Identifier: GPL-2.0-only OR MIT */
/* What subflows had carried when they ended: an entry of the map mps_closed, by the index of the interface. Pinned nowhere. */
#ifndef MPS_CLOSED_ABI_H
#define MPS_CLOSED_ABI_H

#define MPS_CLOSED_INTERFACES 256

enum mps_closed_sum {
	MPS_CLOSED_SENT = 0, /* bytes that were acknowledged */
	MPS_CLOSED_RECEIVED = 1,
	MPS_CLOSED_SUMS = 2,
};

#endif /* MPS_CLOSED_ABI_H */
