// SPDX-License-Identifier: MIT
//
// Stands in for persist.cpp where mpsched is built without the service (MPS_SERVICE=OFF).

#include "commands/persist.hpp"

namespace mps::cli {

Result<Reply> lasting(const Context &, bool persist, const Kept &,
                      const std::function<Result<Reply>()> &run) {
    if (persist)
        return fail(ErrorCode::unsupported, "this mpsched was built without its service (MPS_SERVICE=OFF)",
                    "without --persist it is done until the machine restarts");
    return run();
}

} // namespace mps::cli
