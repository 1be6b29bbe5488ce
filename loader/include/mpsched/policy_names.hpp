// SPDX-License-Identifier: MIT
//
// Names under which policies are known elsewhere, and policies that exist but cannot run on a stock kernel.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mps {

// What we recommend to who has no special wish, and what 'mpsched attach' starts with.
inline constexpr std::string_view recommended_policy = "auto";

// Leaves the scheduling to the kernel.
inline constexpr std::string_view pass_through = "default";

// Another name of a policy of ours; accepted wherever a policy's name is.
struct PolicyAlias {
    std::string_view alias{};
    std::string_view policy{};
};

// The ATSSS steering modes (3GPP TS 24.193, 5.2) that are not called the same here already, as
// active-standby and smallest-delay are.
inline constexpr std::array policy_aliases{
    PolicyAlias{"load-balancing", "weighted"},
    PolicyAlias{"priority-based", "overflow"},
};

// A wish in users' words, which is a policy with certain parameters; accepted wherever a built-in policy's name is. Apple's service
// types of Multipath TCP are called so.
struct Preset {
    std::string_view name{};
    std::string_view policy{};
    struct Value {
        std::string_view key{}; // "": none
        std::uint32_t value = 0;
    };
    std::array<Value, 3> params{}; // the others have their defaults
    std::string_view doc{};        // one line of what it is for
};

inline constexpr std::array presets{
    Preset{"handover",
           "active-standby",
           {{{"hold_ms", 3000}}},
           "one path, by priority, and the next one when it fails"},
    Preset{"interactive",
           "latency-budget",
           {{{"budget_ms", 60}, {"hold_ms", 200}}},
           "paths with a short delay, else the one with the shortest"},
    Preset{"aggregate",
           "overflow",
           {{{"full_ms", 0}, {"full_rtts", 0}, {"calm_ms", 1000}}},
           "all paths, as soon as one alone is not enough"},
};

[[nodiscard]] constexpr const Preset *find_preset(std::string_view name) {
    for (const Preset &one : presets) {
        if (one.name == name)
            return &one;
    }
    return nullptr;
}

// A policy that decides about single segments. Choosing the subflows of the next burst is all that can be
// done from outside; these need a scheduler inside the kernel.
struct SegmentPolicy {
    std::string_view name{};
    std::string_view doc{};     // one line of what it does
    std::string_view nearest{}; // what comes closest here
};

inline constexpr std::array segment_policies{
    SegmentPolicy{"redundant", "every segment on every subflow (ATSSS redundant)", "smallest-delay"},
    SegmentPolicy{"raven", "the same segment on several subflows while their delays are uncertain (RAVEN)",
                  "smallest-delay"},
    SegmentPolicy{"daps", "segments in the order in which they will arrive (DAPS)", "otias"},
    SegmentPolicy{"dems", "a chunk from both ends at once, its last segments twice (DEMS)", "ecf"},
};

// The policy's own name for an alias or a preset; any other name unchanged.
[[nodiscard]] constexpr std::string_view resolve_policy_name(std::string_view name) {
    for (const PolicyAlias &one : policy_aliases) {
        if (one.alias == name)
            return one.policy;
    }
    if (const Preset *preset = find_preset(name))
        return preset->policy;
    return name;
}

} // namespace mps
