// SPDX-License-Identifier: MIT
//
// Which object a slot was filled from. The kernel keeps programs, not files, and its tag does not cover constants
// in .rodata: two builds of one policy can have the same. So file and digest stand in a symbolic link beside the
// pins, ORIGINS/SLOT -> "PROGRAM-ID SHA256 FILE". The program's id ties it to what is in the slot now: a link that
// somebody left behind says nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "pins/pins.hpp"

namespace mps {

struct PolicyOrigin {
    std::string file{}; // absolute; empty: it came with mpsched
    std::string sha256{};
};

[[nodiscard]] std::optional<PolicyOrigin> read_origin(const InstallationPaths &paths, std::uint32_t slot,
                                                      std::uint32_t prog_id);
// In place of what stood there.
[[nodiscard]] Result<void> write_origin(const InstallationPaths &paths, std::uint32_t slot,
                                        std::uint32_t prog_id, const PolicyOrigin &origin);
// Nothing there is fine.
void remove_origin(const InstallationPaths &paths, std::uint32_t slot);

} // namespace mps
