// SPDX-License-Identifier: MIT
//
// Keeps what paths have carried of their quotas, and begins new periods by the calendar. The data path counts; this books what it
// counted, every few seconds, and gives the count back to a path that begins anew: after a reboot, or under another name.
#pragma once

#include <chrono>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/plan.hpp"
#include "service/ledger.hpp"

namespace mps::service {

class Meter {
  public:
    // How much may be lost with the machine is this and what writing takes.
    static constexpr auto interval = std::chrono::seconds(5);

    Meter(Instance &instance, std::string folder) : instance_(instance), folder_(std::move(folder)) {}

    // A quota that begins in the kernel begins with what was booked for it.
    void prepare(const config::Desired &desired, config::Action &action);
    void tick(const config::Desired &desired);
    void renamed(const std::string &before, const std::string &now);

    // Why counts are not kept at the moment.
    [[nodiscard]] const std::optional<Error> &problem() const { return problem_; }
    [[nodiscard]] std::vector<std::string> news() { return std::exchange(news_, {}); }

  private:
    Result<void> begin(const config::Desired &desired, config::Action &action);
    Result<void> book_all(const config::Desired &desired);
    Result<void> book(const PathStatus &path, const config::Period &period, std::time_t now);
    Result<void> adopt_other_name(const config::Desired &desired, const std::string &name);
    // Opens it where it is not; again once it turned out to be damaged.
    Result<void> need_ledger();
    // What the clock says, or where that cannot be, what it said last.
    Result<std::time_t> now();
    void note(const Result<void> &done);

    Instance &instance_;
    std::string folder_;
    std::optional<Ledger> ledger_{};
    std::map<std::string, std::uint64_t> booked_{}; // as it is in the ledger, not to write the same again
    std::optional<Error> problem_{};
    std::vector<std::string> news_{};
};

} // namespace mps::service
