// SPDX-License-Identifier: MIT
//
// A policy is two programs that do the same: one for XDP, one for TC. The kernel verifies each on its own, which is most
// of what `attach` and `use` cost, so only those are loaded that a program of the data path can call.
#pragma once

#include <string_view>

namespace mps {

struct Variants {
    bool xdp = false;
    bool tc = false;

    [[nodiscard]] bool any() const { return xdp || tc; }
    [[nodiscard]] Variants without(Variants other) const { return {xdp && !other.xdp, tc && !other.tc}; }
    [[nodiscard]] Variants operator|(Variants other) const { return {xdp || other.xdp, tc || other.tc}; }
};

// What a program of the data path calls, by its name.
[[nodiscard]] constexpr Variants called_by(std::string_view program) {
    return {program.starts_with("mps_xdp_"), program.starts_with("mps_tc_")};
}

// Of the role of a gateway.
[[nodiscard]] constexpr bool is_gateway(std::string_view program) {
    return program.starts_with("mps_gin_") || program.starts_with("mps_gout_") || program == "mps_gw_back" ||
           program == "mps_gw_look";
}

// Decides about what peers send, and calls policies that can do that, as TC programs.
[[nodiscard]] constexpr bool steers_peers(std::string_view program) {
    return program.starts_with("mps_out_") || is_gateway(program);
}

} // namespace mps
