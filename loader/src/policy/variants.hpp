// SPDX-License-Identifier: MIT
//
// A policy is two programs that do the same: one for XDP, one for TC. The kernel verifies each on its own, which is most
// of what `attach` and `use` cost, so only those are loaded that a program of the data path can call.
#pragma once

namespace mps {

struct Variants {
    bool xdp = false;
    bool tc = false;

    [[nodiscard]] bool any() const { return xdp || tc; }
    [[nodiscard]] Variants without(Variants other) const { return {xdp && !other.xdp, tc && !other.tc}; }
    [[nodiscard]] Variants operator|(Variants other) const { return {xdp || other.xdp, tc || other.tc}; }
};

} // namespace mps
