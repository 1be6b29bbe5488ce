// SPDX-License-Identifier: MIT
//
// Brings what is desired into force, and remembers of each object how far that went. What somebody changed by hand since is
// left alone until the next reload; what is new, or failed, is not.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "config/plan.hpp"
#include "json/documents.hpp"

namespace mps::service {

using Clock = std::chrono::steady_clock;

// How long what has failed `tries` times before is left alone.
[[nodiscard]] std::chrono::seconds back_off(unsigned tries);

class Keeper {
  public:
    explicit Keeper(Instance &instance) : instance_(instance) {}

    // Everything, as these files have it: at the start and at each reload.
    void enforce(config::Desired desired, const config::Consider &before);
    // These files are what was just done by hand.
    void adopt(config::Desired desired);
    // What is new or due again. `interfaces_changed`: what failed is tried at once.
    void keep_up(bool interfaces_changed, const config::Consider &before);
    // An interface has another name: what was settled for these names is open again.
    void reopen(const std::string &interface) { settled_.erase("interface " + interface); }

    // These cgroups have come, perhaps again: what is for them was settled for others of their names.
    void reopen_cgroups(const std::vector<std::string> &paths);

    // These interfaces are called metered from now on. One for which the files ask it is as they have it then.
    void know_metered(std::set<std::string> names);

    [[nodiscard]] const config::Desired &desired() const { return desired_; }
    [[nodiscard]] std::optional<Clock::time_point> next_try() const;
    [[nodiscard]] std::size_t failed() const { return failures_.size(); }
    // [{"object", "state", "error", "retry_in_s"}], asked of the kernel now.
    [[nodiscard]] Json objects();
    // What went wrong or is worth telling since the last call.
    [[nodiscard]] std::vector<std::string> news() { return std::exchange(news_, {}); }

  private:
    struct Failure {
        Error error{};
        unsigned tries = 0;
        Clock::time_point again{};
    };
    void run(const config::Consider &consider);
    void note(const config::Outcome &outcome);
    void settle(const config::Facts &facts, const std::set<std::string> &done);
    void let_go(const config::Facts &facts);

    Instance &instance_;
    config::Desired desired_{};
    std::set<std::string> settled_{};
    std::map<std::string, Failure> failures_{};
    std::map<std::string, Clock::time_point>
        absent_{}; // interfaces that only a pattern names, and since when
    std::vector<std::string> news_{};
};

} // namespace mps::service
