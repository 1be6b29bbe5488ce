/* SPDX-License-Identifier: MIT */
#ifndef MPSCHED_EXPORT_H
#define MPSCHED_EXPORT_H

/* What libmpsched.so shows; everything else in it is hidden. */
#define MPS_API __attribute__((visibility("default")))

#endif
