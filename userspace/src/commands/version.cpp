// SPDX-License-Identifier: MIT

#include <fmt/format.h>

#include <mps/abi.h>

#include "commands/commands.hpp"

namespace mps::cli {

namespace {

Result<Reply> run_version(const Context &) {
    return Reply{.json = {{"version", MPS_VERSION}, {"abi", MPS_ABI_VERSION}},
                 .text = fmt::format("mpsched {} (ABI {})\n", MPS_VERSION, MPS_ABI_VERSION)};
}

} // namespace

void setup_version(Binder &binder) { binder.run(run_version); }

} // namespace mps::cli
