// SPDX-License-Identifier: MIT
//
// Programs as filters of a clsact qdisc, where the kernel has no tcx. A filter leaves no pin behind: it is found again by its place, and the
// qdisc, if we have made it, by a mark among the pins.
#pragma once

#include <bpf/libbpf.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"

namespace mps {

// Handles of our filters; all have the priority 1, so that they come first of all. Of these the one that was made last comes first.
inline constexpr std::uint32_t data_path_handle = 0x6d7073; // "mps"
// Of option rules, which have to come before the data path: two for each direction, so that one that is put anew can be there before
// the other goes.
inline constexpr std::uint32_t rules_in_handles[] = {0x6d7074, 0x6d7075};
inline constexpr std::uint32_t rules_out_handles[] = {0x6d7076, 0x6d7077};
// Of `mpsched spread`, at egress.
inline constexpr std::uint32_t spread_handle = 0x6d7078;

struct FilterPlace {
    std::uint32_t ifindex = 0;
    bpf_tc_attach_point point = BPF_TC_INGRESS;
    std::uint32_t handle = data_path_handle;
};

// Everywhere that a filter of ours may be on an interface.
[[nodiscard]] std::vector<FilterPlace> filter_places(std::uint32_t ifindex);

// Program id in that place, 0 if it is empty.
[[nodiscard]] std::uint32_t filter_program(const FilterPlace &place);
// `mark`: says afterwards that the qdisc is ours; `program` is pinned there for that. `other_marks` of the same interface say that it
// was ours before.
[[nodiscard]] Result<void> put_filter(const FilterPlace &place, const NetDevice &device, int program,
                                      const std::string &mark, const std::vector<std::string> &other_marks);
// Whatever program it is. None there is fine.
[[nodiscard]] Result<void> remove_filter(const FilterPlace &place);
// The qdisc, if we made it and nothing is in it any more. A device that is gone has taken it along.
[[nodiscard]] Result<void> remove_clsact(const std::string &mark, std::uint32_t ifindex);

} // namespace mps
