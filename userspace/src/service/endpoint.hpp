// SPDX-License-Identifier: MIT
//
// One of the service's HTTP servers, kept where the files want it: an object like the others, which is tried again where it fails.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "http/server.hpp"
#include "service/keeper.hpp"
#include "json/documents.hpp"

namespace mps::service {

class Endpoint {
  public:
    // `name` as objects are called: "metrics".
    Endpoint(std::string name, http::Handler handler)
        : name_(std::move(name)), handler_(std::move(handler)) {}

    // nullopt: it is not wanted. What failed is tried at once.
    void want(const std::optional<http::Address> &address);
    void keep_up();

    // As in Keeper::objects().
    [[nodiscard]] std::optional<Json> object() const;
    // How many of it have failed: 0 or 1.
    [[nodiscard]] std::size_t failed() const { return failure_ ? 1 : 0; }
    [[nodiscard]] std::vector<std::string> news() { return std::exchange(news_, {}); }

  private:
    void attempt();

    struct Failure {
        Error error{};
        unsigned tries = 0;
        Clock::time_point again{};
    };
    std::string name_;
    http::Handler handler_;
    std::optional<http::Address> wanted_{};
    std::optional<http::Server> server_{};
    std::optional<Failure> failure_{};
    std::vector<std::string> news_{};
};

} // namespace mps::service
