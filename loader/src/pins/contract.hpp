// SPDX-License-Identifier: MIT
//
// What our pins must look like. Derived from the embedded data path object, so nothing is listed twice.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "kernel/kernel_objects.hpp"
#include "mpsched/error.hpp"
#include "pins/pins.hpp"
#include "policy/variants.hpp"

namespace mps {

// Opened pins of one installation, each checked: type, name, sizes.
struct Pins {
    std::map<std::string, Fd, std::less<>> maps;
    std::map<std::string, MapInfo, std::less<>> map_infos;
    std::map<std::string, Fd, std::less<>> programs;
    std::map<std::string, ProgInfo, std::less<>> program_infos;

    // -1 if there is none of this name: the caller's kernel call then fails with EBADF.
    [[nodiscard]] int map(std::string_view name) const;
    [[nodiscard]] int program(std::string_view name) const;
    // Name of ours among the pinned programs, "" if the id is none of them.
    [[nodiscard]] std::string program_name(std::uint32_t id) const;
    // What a policy must be loaded as; `rx`: it can decide about what peers send.
    [[nodiscard]] Variants called(bool rx) const;
};

// For how many connections the table has room.
[[nodiscard]] std::uint32_t room_of(const Pins &pins);

// Opens and checks all pins. Fails at the first that is missing or different, and says how it differs. The programs that
// are attached to interfaces may be missing, unless one of our links runs them.
[[nodiscard]] Result<Pins> open_pins(const InstallationPaths &paths);
[[nodiscard]] Result<void> check_contract(const InstallationPaths &paths);

// Loads the data path and pins it into `paths` (directories are made): what every installation has, and of the programs that
// are attached to interfaces those in `wanted`. With `rdonly_cast` false the slow way of reading kernel structures is
// compiled in. The table has room for `max_connections`.
[[nodiscard]] Result<void> load_data_path(const InstallationPaths &paths, bool rdonly_cast,
                                          const std::set<std::string> &wanted, std::uint32_t max_connections);

// Loads further programs on the maps of an installation, into `pins` alone; pin_programs() makes them stay.
[[nodiscard]] Result<void> load_programs(Pins &pins, const std::set<std::string> &wanted);
[[nodiscard]] Result<void> pin_programs(const InstallationPaths &paths, const Pins &pins,
                                        const std::set<std::string> &names);

} // namespace mps
