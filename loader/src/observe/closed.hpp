// SPDX-License-Identifier: MIT
//
// What subflows that have ended had carried: who looks at sockets alone misses what they carried after the last look.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

class ClosedSubflows {
  public:
    struct Sum {
        std::uint32_t ifindex = 0;
        std::uint64_t sent_bytes = 0, received_bytes = 0;
    };

    // Counts in this network namespace as long as it lives.
    [[nodiscard]] static Result<ClosedSubflows> start(std::uint64_t netns_cookie);

    ClosedSubflows(ClosedSubflows &&) noexcept;
    ClosedSubflows &operator=(ClosedSubflows &&) noexcept;
    ~ClosedSubflows();

    // From then on, for each interface.
    [[nodiscard]] Result<std::vector<Sum>> sums() const;

  private:
    struct Impl;
    explicit ClosedSubflows(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps
