// SPDX-License-Identifier: MIT
//
// The other end of service/client.hpp, and what keeps a second mpschedd out of the same network namespace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "json/documents.hpp"

namespace mps::service {

class Control {
  public:
    // Fails with in_use where another one is at work in this network namespace.
    [[nodiscard]] static Result<Control> open(std::uint64_t netns_cookie);
    Control(Control &&) noexcept = default;
    Control &operator=(Control &&) noexcept = default;
    ~Control();

    // Readable when somebody asks.
    [[nodiscard]] int fd() const { return listening_.get(); }
    // Answers all who wait. Who does not come to the point within a second is let go.
    void serve(const std::function<Json(const Json &)> &answer) const;

  private:
    Control(Fd lock, Fd listening, std::string path)
        : lock_(std::move(lock)), listening_(std::move(listening)), path_(std::move(path)) {}
    Fd lock_;
    Fd listening_;
    std::string path_;
};

} // namespace mps::service
