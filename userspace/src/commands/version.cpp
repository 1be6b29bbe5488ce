// SPDX-License-Identifier: MIT

#include <fmt/format.h>

#include <mps/datapath_abi.h>

#include "commands/commands.hpp"

namespace mps::cli {

namespace {

Result<Reply> run_version(const Context &) {
    const std::string policy_abi = fmt::format("{}.{}", MPS_POLICY_ABI_MAJOR, MPS_POLICY_ABI_MINOR);
    return Reply{.json = {{"version", MPS_VERSION}, {"abi", MPS_ABI_VERSION}, {"policy_abi", policy_abi}},
                 .text = fmt::format("mpsched {} (ABI {}, policy ABI {})\n", MPS_VERSION, MPS_ABI_VERSION,
                                     policy_abi)};
}

} // namespace

void setup_version(Binder &binder) { binder.run(run_version); }

} // namespace mps::cli
