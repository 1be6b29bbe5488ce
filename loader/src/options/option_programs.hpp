// SPDX-License-Identifier: MIT
//
// The programs of option rules and their maps, pinned below rules/ of an installation while there are rules.
#pragma once

#include <mps/option_rules_abi.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/fd.hpp"
#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "pins/pins.hpp"

namespace mps {

struct OptionPins {
    Fd tables{}; // the map with the table in force
    Fd hits{};
    Fd joins{}; // what an older version has left may lack it
    std::map<std::string, Fd, std::less<>> programs{};
    std::map<std::string, std::uint32_t, std::less<>> program_ids{};
};

[[nodiscard]] std::string rule_program_name(bool out, bool layer3);

// nullopt: there are none.
[[nodiscard]] Result<std::optional<OptionPins>> open_option_pins(const InstallationPaths &paths);
// Loads what is missing: the maps, and this program.
[[nodiscard]] Result<void> provide_option_program(const InstallationPaths &paths, OptionPins &pins,
                                                  const std::string &program);
[[nodiscard]] Result<void> remove_option_pins(const InstallationPaths &paths);

// Empty where none was written yet.
[[nodiscard]] Result<mps_option_table> read_option_table(const OptionPins &pins);
// In one step, for all packets.
[[nodiscard]] Result<void> write_option_table(const OptionPins &pins, const mps_option_table &table);
// The sum over all CPUs.
[[nodiscard]] Result<mps_option_hits> read_option_hits(const OptionPins &pins, std::uint32_t place);
[[nodiscard]] Result<void> clear_option_hits(const OptionPins &pins, std::uint32_t place);

} // namespace mps
