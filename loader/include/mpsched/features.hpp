// SPDX-License-Identifier: MIT
//
// What this kernel and these interfaces can do. Asked by doing (loading a few instructions, attaching them
// inside a scratch network namespace), never by comparing versions.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/log.hpp"

namespace mps {

enum class Answer {
    available,
    missing, // the kernel said no
    unknown, // it could not be told, for example for lack of rights
};

[[nodiscard]] MPS_API std::string_view to_string(Answer answer);

// One line of `mpsched probe`.
struct Feature {
    std::string name{};  // identifier, also accepted in MPS_WITHOUT: "mptcp", "rdonly_cast", "tcx" …
    std::string title{}; // what it is, for people
    Answer answer = Answer::unknown;
    bool required = false; // without it nothing works; otherwise there is a fallback, told in `need`
    std::string since{};   // first kernel version that has it, "" if that does not apply
    std::string need{};    // what it is used for, and what happens without it
    std::string detail{};  // why missing or unknown; else what was found, may be empty
    std::string hint{};    // how to get it; empty when available
};

// What can be told about one interface.
struct InterfaceProbe {
    std::string name{};
    std::uint32_t ifindex = 0;
    std::string driver{};    // "" if it has no ethtool driver information
    std::string link_type{}; // "ethernet", "none (layer 3)", "loopback", …
    bool layer3 = false;     // packets start at IP
    bool up = false;
    std::uint32_t mtu = 0; // bytes
    Answer native_xdp = Answer::unknown;
    std::string auto_mode{};    // the mode `attach --mode auto` would try first: "native", "tc", or "none"
    std::string auto_reason{};  // and why
    std::string xdp_taken_by{}; // "name (id 12)" of a program that is not ours, "" if none
};

struct Probe {
    std::vector<Feature> features{};
    std::vector<InterfaceProbe> interfaces{};
    // Every required feature is available: attach can be expected to work.
    [[nodiscard]] MPS_API bool usable() const;
};

// Names of features to treat as missing, so that fallbacks can be tested on kernels that have everything.
using Without = std::set<std::string, std::less<>>;

// Parses a comma separated list of feature names ("rdonly_cast,tcx"); an unknown name is a usage error that
// lists the valid ones. An empty text gives an empty set.
[[nodiscard]] MPS_API Result<Without> parse_without(std::string_view text);

// Probes the kernel and all interfaces of a network namespace.
// What cannot be told is Answer::unknown; it fails only where MPS_WITHOUT names a feature that there is not.
struct ProbeOptions {
    std::string netns{}; // as in OpenOptions
    Without without{};   // added to those in MPS_WITHOUT
    LogSink log{};
};
[[nodiscard]] MPS_API Result<Probe> probe(const ProbeOptions &options = {});

} // namespace mps
