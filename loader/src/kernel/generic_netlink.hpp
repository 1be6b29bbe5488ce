// SPDX-License-Identifier: MIT
//
// Requests to generic netlink families with an attribute, whose answers are looked at one by one.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "kernel/netlink.hpp"

struct nlmsghdr;

namespace mps {

struct GenericRequest {
    std::string_view family;
    std::uint8_t command;
    bool dump = false;
    std::uint16_t attribute = 0; // of 32 bits; 0: none
    std::uint32_t value = 0;
};
using OnAnswer = std::function<void(const nlmsghdr *)>;
// 0 or an errno: ENOENT where the kernel has no such family.
[[nodiscard]] int ask_generic(const GenericRequest &request, const OnAnswer &on_answer);
void for_each_generic(const nlmsghdr *answer, const OnAttribute &act);

} // namespace mps
