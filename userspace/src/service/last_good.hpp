// SPDX-License-Identifier: MIT
//
// The files that were right the last time, kept in the state folder: what a start with a mistake in the files goes on with.
#pragma once

#include <string>

#include "config/desired.hpp"

namespace mps::service {

class LastGood {
  public:
    // For the files at `config`; those of other files are not taken for them.
    LastGood(std::string folder, std::string config)
        : folder_(std::move(folder)), config_(std::move(config)) {}

    // Nothing is written where the same is there already.
    [[nodiscard]] Result<void> keep(const config::Desired &desired) const;
    // They are checked again: the object file of a policy may be gone.
    [[nodiscard]] Result<config::Desired> load() const;

  private:
    [[nodiscard]] std::string file() const { return folder_ + "/last-good.json"; }

    std::string folder_;
    std::string config_;
};

} // namespace mps::service
