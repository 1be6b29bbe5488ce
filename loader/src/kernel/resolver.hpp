// SPDX-License-Identifier: MIT
//
// The addresses of host names, as every program of this machine gets them: getaddrinfo(3).
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <future>
#include <string>
#include <vector>

#include "mpsched/error.hpp"

namespace mps {

// IPv6, or IPv4-mapped.
using HostAddress = std::array<std::uint8_t, 16>;

// One name being looked up, in a thread of its own: getaddrinfo() may take half a minute, and cannot be called off. So one that
// nobody waits for any more ends by itself.
class Lookup {
  public:
    explicit Lookup(std::string name);

    [[nodiscard]] const std::string &name() const { return name_; }
    // Without waiting.
    [[nodiscard]] bool ready() const;
    // Waits no longer than that. Once.
    [[nodiscard]] Result<std::vector<HostAddress>> wait(std::chrono::milliseconds limit);

  private:
    std::string name_;
    std::future<Result<std::vector<HostAddress>>> answer_;
};

} // namespace mps
