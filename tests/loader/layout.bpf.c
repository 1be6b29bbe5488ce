// SPDX-License-Identifier: GPL-2.0-only
/* A variable of every structure that the tables of layouts name: for its BTF, what clang makes of them. */
#include <mps/datapath_abi.h>

#define MPS_STRUCT(type, bytes) struct type one_##type = {};
#define MPS_MEMBER(type, member, offset)
#include <mps/datapath_layout.h>
#include <mps/policy_layout.h>
