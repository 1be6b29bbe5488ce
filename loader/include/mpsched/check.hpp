// SPDX-License-Identifier: MIT
//
// What can be said of a request before anything is changed, and without looking at the kernel: the parsers of the requests
// themselves, for who keeps requests in a file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// weight=3, quota=5GB, energy=lte …: every mistake is a usage error that tells what is allowed.
[[nodiscard]] MPS_API Result<PathChange> parse_path_settings(const std::vector<Setting> &settings);

// A policy that is built in, or an object file, with these parameters. Its parameters as `use` would make them; a name that
// only a loaded policy has is no_such_policy.
struct CheckedPolicy {
    std::string name{}; // its own one: that of an alias or a file
    bool builtin = false;
    std::string sha256{}; // of the file; "" if built in
    bool rx = false;      // it has a rule for what peers send
    std::vector<Param> params{};
};
[[nodiscard]] MPS_API Result<CheckedPolicy> check_policy(const std::string &name_or_file,
                                                         const std::vector<Setting> &settings);

// The engine's parameters with these values.
[[nodiscard]] MPS_API Result<std::vector<Param>> check_engine(const std::vector<Setting> &settings);

// A selector as `--for` has it. Interfaces and cgroups that it names need not be there.
[[nodiscard]] MPS_API Result<void> check_selector(std::string_view text);

[[nodiscard]] MPS_API Result<std::uint32_t> parse_max_connections(std::string_view text);

// Seconds for FollowOptions::probe_idle_s.
[[nodiscard]] MPS_API Result<std::uint32_t> parse_probe_idle(std::string_view text);

} // namespace mps
