// SPDX-License-Identifier: MIT
//
// Settings of the kernel as [kernel] asks for them. What they were before is written down before it is changed, so that it is put back also
// by the next mpschedd, if this one is killed; not after a reboot, which has done so itself.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/desired.hpp"
#include "mpsched/instance.hpp"

namespace mps::service {

class KernelSettings {
  public:
    KernelSettings(const Instance &instance, std::string folder)
        : instance_(instance), folder_(std::move(folder)) {}

    // Sets these, and puts back what is not among them any more.
    void want(const std::vector<config::KernelSetting> &settings);
    // As it was before us.
    void put_back() { want({}); }

    // nullopt: all is as it was asked for.
    [[nodiscard]] const std::optional<Error> &problem() const { return problem_; }
    [[nodiscard]] std::vector<std::string> news() { return std::exchange(news_, {}); }

  private:
    struct Change {
        std::string before{};
        std::string set{};
    };

    [[nodiscard]] std::string file() const;
    [[nodiscard]] std::map<std::string, Change> remembered() const;
    [[nodiscard]] Result<void> remember(const std::map<std::string, Change> &changes) const;
    [[nodiscard]] Result<void> set_one(std::map<std::string, Change> &changes,
                                       const config::KernelSetting &setting);
    [[nodiscard]] Result<void> put_back_one(std::map<std::string, Change> &changes, const std::string &name);

    const Instance &instance_;
    std::string folder_;
    std::optional<Error> problem_{};
    std::vector<std::string> news_{};
};

} // namespace mps::service
