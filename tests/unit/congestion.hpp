// SPDX-License-Identifier: MIT
//
// The cores of congestion/, and connections for them.
#pragma once

#include <cstdint>
#include <iterator>
#include <random>
#include <sstream>
#include <string>
#include <string_view>

#include <balia/balia.core.h>
#include <lia/lia.core.h>
#include <olia/olia.core.h>

namespace mps::test {

struct Coupling {
    std::string_view name;
    __s64 (*share)(const mps_cc_flows *);
};

inline constexpr Coupling couplings[] = {{"lia", lia_share}, {"olia", olia_share}, {"balia", balia_share}};

using Random = std::minstd_rand;

inline std::uint32_t between(Random &random, std::uint32_t least, std::uint32_t most) {
    return std::uniform_int_distribution<std::uint32_t>(least, most)(random);
}

// Any number, small ones and the greatest as often as others.
inline std::uint32_t any_number(Random &random) {
    return between(random, 0, ~0u) >> between(random, 0, 31)
                                          << between(random, 0, 1) * between(random, 0, 31);
}

inline mps_cc_subflow any_subflow(Random &random) {
    return {any_number(random), any_number(random), any_number(random)};
}

inline mps_cc_flows any_flows(Random &random) {
    mps_cc_flows flows{};
    for (mps_cc_subflow &one : flows.sf)
        one = any_subflow(random);
    return flows;
}

// One to nine subflows as they are met: windows up to 2000 segments, 0.5 to 500 ms.
inline mps_cc_flows sound_flows(Random &random) {
    mps_cc_flows flows{};
    const std::uint32_t n = between(random, 1, MPS_CC_SUBFLOWS);
    for (std::uint32_t i = 0; i < n; i++)
        flows.sf[i] = {between(random, 2, 2000), between(random, 500, 500'000), between(random, 1, 100'000)};
    return flows;
}

inline std::string text(const mps_cc_flows &flows) {
    std::ostringstream out;
    for (const mps_cc_subflow &one : flows.sf)
        out << '(' << one.cwnd_segs << ' ' << one.srtt_us << ' ' << one.run_segs << ')';
    return out.str();
}

} // namespace mps::test
