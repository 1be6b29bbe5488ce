/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The token of a connection: the most significant 32 bits of the SHA-256 (FIPS 180-4) of a host's key (RFC 8684 section 3.2). A key has 8
 * octets, so there is one block.
 */
#ifndef MPS_SHA256_BPF_H
#define MPS_SHA256_BPF_H

#include "kernel.bpf.h"

static const __u32 sha256_rounds[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The last 16 words of the message schedule; not on the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32[16]);
} mps_gw_sha SEC(".maps");

static __always_inline __u32 rotate_right(__u32 value, __u32 by)
{
	return value >> by | value << (32 - by);
}

/* Of the key in host order, of which the octets on the wire are the big-endian form. 0, which no connection has, if it cannot be told. */
__noinline __u32 mps_key_token(__u64 key)
{
	__u32 a = 0x6a09e667, b = 0xbb67ae85, c = 0x3c6ef372, d = 0xa54ff53a;
	__u32 e = 0x510e527f, f = 0x9b05688c, g = 0x1f83d9ab, h = 0x5be0cd19;
	__u32 zero = 0, *w = bpf_map_lookup_elem(&mps_gw_sha, &zero);

	if (!w)
		return 0;
	for (__u32 i = 3; i < 15; i++)
		w[i] = 0;
	w[0] = key >> 32;
	w[1] = (__u32)key;
	w[2] = 0x80000000;
	w[15] = 64; /* bits */
	for (__u32 i = 0; i < 64; i++) {
		__u32 one, two;

		if (i >= 16) {
			__u32 w15 = w[(i + 1) & 15], w2 = w[(i + 14) & 15];

			w[i & 15] += (rotate_right(w15, 7) ^ rotate_right(w15, 18) ^ w15 >> 3) +
				     w[(i + 9) & 15] +
				     (rotate_right(w2, 17) ^ rotate_right(w2, 19) ^ w2 >> 10);
		}
		one = h + (rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25)) +
		      ((e & f) ^ (~e & g)) + sha256_rounds[i & 63] + w[i & 15];
		two = (rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22)) +
		      ((a & b) ^ (a & c) ^ (b & c));
		h = g;
		g = f;
		f = e;
		e = d + one;
		d = c;
		c = b;
		b = a;
		a = one + two;
	}
	return 0x6a09e667 + a;
}

#endif /* MPS_SHA256_BPF_H */
