// SPDX-License-Identifier: MIT
// mpsched on the hosts of a scenario.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/error.hpp>
#include <mpsched/lab/netns.hpp>
#include <mpsched/lab/process.hpp>
#include <mpsched/lab/run.hpp>
#include <mpsched/lab/scenario.hpp>

namespace mps::lab {

/// mpsched on one host, from attach to detach.
class Steering {
  public:
    static Result<Steering> start(const Namespace &host, const std::string &name, const Scenario &scenario,
                                  const RunOptions &options,
                                  const std::map<std::string, std::string> &params);

    Steering(Steering &&other) noexcept;
    Steering &operator=(Steering &&) = delete;
    Steering(const Steering &) = delete;
    Steering &operator=(const Steering &) = delete;
    ~Steering();

    const std::string &name() const { return name_; }

    struct Counts {
        std::int64_t flips = 0; ///< MP_PRIO written into packets
        std::int64_t wakes = 0; ///< that landed
    };
    Result<Counts> counts() const;

  private:
    Steering(const Namespace &host, std::string name, std::string binary);

    std::vector<std::string> command(std::vector<std::string> arguments) const;
    Result<ProcessResult> run(std::vector<std::string> arguments) const;

    const Namespace *host_;
    std::string name_;
    std::string binary_;
    CleanupGuard guard_;
    bool attached_;
    std::optional<Process> follower_ = {};
};

/// Over all hosts.
Result<Steering::Counts> sum_counts(const std::vector<Steering> &steerings);

} // namespace mps::lab
