// SPDX-License-Identifier: MIT
//
// Coupled congestion controls: loading them into the kernel, and which sockets get them. docs/congestion.md tells what each does.
// A congestion control belongs to the whole machine; the rules that give it to sockets belong to a network namespace.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// A socket that has one of ours.
struct CongestionUser {
    std::string netns{};           // name below /run/netns, or "pid 12"; "" is the caller's own
    std::string local{}, remote{}; // "192.0.2.1:443"
    bool mptcp = false;            // a subflow; else plain TCP, or a listener
    std::uint32_t token = 0;       // of its connection
    std::uint32_t uid = 0;         // whose it is
    std::string cgroup{};          // "" if it cannot be told
};

struct CongestionControl {
    std::string name{};
    // "not loaded"; "loaded": whoever may, may choose it; "unloaded": nobody can choose it any more, and some still have it.
    std::string state{};
    std::uint32_t id = 0; // of its BPF map
    std::uint64_t users =
        0; // by the kernel: sockets of all network namespaces, and namespaces that have it as their default
    std::vector<CongestionUser> sockets{}; // those of the users that were found
};

// Those that come with mpsched, and those of an earlier load that are still in use.
[[nodiscard]] MPS_API Result<std::vector<CongestionControl>> congestion_controls(const Instance &instance);

struct CongestionLoaded {
    std::vector<std::string> loaded{}, already{}; // names
};
// "lia" is short for "mps_lia", "all" for all there are. None of them is loaded if one of them cannot be.
[[nodiscard]] MPS_API Result<CongestionLoaded> load_congestion(const Instance &instance,
                                                               const std::vector<std::string> &names);

struct CongestionUnloaded {
    std::vector<std::string> unloaded{};
    std::vector<CongestionControl> left{}; // still in use after the wait: they go with their last user
};
// Without `wait` one that has users is refused (in_use), with what they are. With it nobody can choose it from now on, and the
// call returns when the last user has gone, or after that time.
[[nodiscard]] MPS_API Result<CongestionUnloaded>
unload_congestion(const Instance &instance, const std::vector<std::string> &names,
                  std::optional<std::chrono::milliseconds> wait);

// ---- which sockets get one

// A rule of this network namespace. The first that matches a socket counts; that without a selector comes last.
struct CongestionRule {
    std::string name{};
    std::string selector{};    // as `use --for` has it, without host=; "": every other socket
    bool plain_tcp = false;    // also TCP without MPTCP
    std::uint64_t given = 0;   // sockets that got it by this rule …
    std::uint64_t refused = 0; // … and that the kernel did not give it to
    std::string problem{};     // "" or why it does nothing now
};

[[nodiscard]] MPS_API Result<std::vector<CongestionRule>> congestion_rules(const Instance &instance);

struct CongestionUse {
    std::string name{}; // of ours, which is loaded if it is not, or any that the kernel has
    std::string selector{};
    bool plain_tcp = false;
};
struct CongestionUsed {
    CongestionRule rule{};
    std::string before{}; // what the same selector had; "": nothing
    bool loaded = false;  // it was not before
};
// New subflows get it when they are established, those that there are get it now. In place of a rule with the same selector.
[[nodiscard]] MPS_API Result<CongestionUsed> use_congestion(const Instance &instance,
                                                            const CongestionUse &use);

// All rules at once, in this order; those that stay go on counting.
[[nodiscard]] MPS_API Result<void> set_congestion_rules(const Instance &instance,
                                                        const std::vector<CongestionUse> &rules);

// Sockets get back what they had, unless somebody else has chosen for them meanwhile. "" is the rule without a selector, nullopt all.
[[nodiscard]] MPS_API Result<std::vector<CongestionRule>>
unuse_congestion(const Instance &instance, const std::optional<std::string> &selector);

} // namespace mps
