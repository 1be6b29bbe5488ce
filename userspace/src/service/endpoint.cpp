// SPDX-License-Identifier: MIT

#include "service/endpoint.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace mps::service {

void Endpoint::want(const std::optional<http::Address> &address) {
    if (wanted_ != address) {
        if (server_)
            news_.push_back(fmt::format("{}: no longer at {}", name_, wanted_->text()));
        server_.reset();
        wanted_ = address;
    }
    failure_.reset();
    attempt();
}

void Endpoint::keep_up() {
    if (failure_ && failure_->again <= Clock::now())
        attempt();
}

void Endpoint::attempt() {
    if (server_ || !wanted_)
        return;
    auto started = http::Server::start(*wanted_, handler_);
    if (started) {
        server_.emplace(std::move(*started));
        failure_.reset();
        news_.push_back(fmt::format("{}: at {}", name_, wanted_->text()));
        return;
    }
    const unsigned tries = failure_ ? failure_->tries : 0;
    // The same again is no news.
    if (!failure_ || failure_->error.what != started.error().what)
        news_.push_back(fmt::format("{}: {}", name_, started.error().what));
    failure_ = Failure{.error = started.error(), .tries = tries + 1, .again = Clock::now() + back_off(tries)};
}

std::optional<Json> Endpoint::object() const {
    if (!wanted_)
        return std::nullopt;
    Json one{{"object", fmt::format("{} {}", name_, wanted_->text())},
             {"state", failure_ ? "failed" : "in force"}};
    if (failure_) {
        const auto left = std::chrono::ceil<std::chrono::seconds>(failure_->again - Clock::now()).count();
        one["why"] = failure_->error.what;
        one["retry_in_s"] = std::max<std::int64_t>(left, 0);
    }
    return one;
}

} // namespace mps::service
