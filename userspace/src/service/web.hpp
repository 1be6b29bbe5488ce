// SPDX-License-Identifier: MIT
//
// The page and what it asks for. Reading and changing take a token that only root is told ('mpsched web'), in a header that no other
// page can send; the page itself tells nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "http/message.hpp"
#include "mpsched/instance.hpp"
#include "service/observer.hpp"

namespace mps::service {

class Web {
  public:
    Web(std::string netns, const Observer &observer);

    // In the server's thread.
    [[nodiscard]] http::Response serve(const http::Request &request);
    [[nodiscard]] const std::string &token() const { return token_; }

  private:
    [[nodiscard]] http::Response page() const;
    [[nodiscard]] http::Response events() const;
    [[nodiscard]] http::Response policies();
    [[nodiscard]] http::Response use(const std::string &body);
    [[nodiscard]] http::Response set_path(const std::string &body);
    Result<Instance *> instance();

    std::string netns_;
    const Observer &observer_;
    std::string token_;
    std::unique_ptr<Instance> instance_{}; // of the server's thread
};

} // namespace mps::service
