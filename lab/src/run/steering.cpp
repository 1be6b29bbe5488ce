// SPDX-License-Identifier: MIT
#include "steering.hpp"

#include "base/try.hpp"

#include <chrono>
#include <fstream>
#include <utility>

#include <fmt/format.h>

namespace mps::lab {
namespace {

using namespace std::chrono_literals;
constexpr auto command_timeout = 60s;

/// Of version 2, below its mount point.
std::string own_cgroup() {
    std::ifstream file("/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        if (line.starts_with("0::")) {
            return line.substr(3);
        }
    }
    return "/";
}

} // namespace

Result<Steering> Steering::start(const Namespace &host, const std::string &name, const Scenario &scenario,
                                 const RunOptions &options,
                                 const std::map<std::string, std::string> &params) {
    Steering steering(host, name, options.mpsched);
    std::vector<std::vector<std::string>> commands{{"attach"}};
    for (const auto &path : scenario.paths) {
        commands[0].push_back(path.name);
    }
    commands[0].insert(commands[0].end(), {"--policy", "default"});
    for (const auto &path : scenario.paths) {
        if (path.attributes.empty()) {
            continue;
        }
        auto &command = commands.emplace_back(std::vector<std::string>{"path", path.name});
        for (const auto &[key, value] : path.attributes) {
            command.push_back(fmt::format("{}={}", key, value));
        }
    }
    if (scenario.by_application) {
        // Sockets of this process, wherever it is.
        commands.push_back({"app", "attach", "--cgroup", own_cgroup(), "--allow-policy", options.policy});
    } else {
        auto &use = commands.emplace_back(std::vector<std::string>{"use", options.policy});
        for (const auto &[key, value] : params) {
            use.insert(use.end(), {"-s", fmt::format("{}={}", key, value)});
        }
    }
    for (const auto &command : commands) {
        if (auto done = steering.run(command); !done) {
            return std::unexpected(done.error());
        }
    }
    if (scenario.follow) {
        std::vector<std::string> command{"attach", "--follow"};
        if (scenario.close_silent)
            command.push_back("--close-silent");
        if (scenario.probe_idle_s)
            command.insert(command.end(), {"--probe-idle", std::to_string(scenario.probe_idle_s)});
        auto follower = host.start(steering.command(command));
        MPS_TRY(follower);
        steering.follower_ = std::move(*follower);
    }
    return steering;
}

Steering::Steering(const Namespace &host, std::string name, std::string binary)
    : host_(&host), name_(std::move(name)), binary_(std::move(binary)), attached_(true) {
    guard_ = CleanupGuard([argv = command({"detach", "--all"})] {
        std::ignore = run_process(argv, {.timeout = command_timeout});
    });
}

Steering::Steering(Steering &&other) noexcept
    : host_(other.host_),
      name_(std::move(other.name_)),
      binary_(std::move(other.binary_)),
      guard_(std::move(other.guard_)),
      attached_(std::exchange(other.attached_, false)),
      follower_(std::move(other.follower_)) {}

Steering::~Steering() {
    follower_.reset();
    if (attached_) {
        std::ignore = run({"detach", "--all"});
    }
}

Result<Steering::Counts> Steering::counts() const {
    auto stats = run({"stats", "--json"});
    MPS_TRY(stats);
    const auto json = Json::parse(stats->out, nullptr, false);
    if (!json.is_object() || !json.contains("inserted") || !json.contains("wake_landed")) {
        return fail("mpsched stats --json has no \"inserted\" or \"wake_landed\"");
    }
    return Counts{json.at("inserted").get<std::int64_t>(), json.at("wake_landed").get<std::int64_t>()};
}

std::vector<std::string> Steering::command(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {binary_, "--netns", host_->name()});
    return arguments;
}

Result<ProcessResult> Steering::run(std::vector<std::string> arguments) const {
    return run_checked(command(std::move(arguments)), {.timeout = command_timeout});
}

Result<Steering::Counts> sum_counts(const std::vector<Steering> &steerings) {
    Steering::Counts sum;
    for (const auto &steering : steerings) {
        const auto counts = steering.counts();
        if (!counts) {
            return counts;
        }
        sum.flips += counts->flips;
        sum.wakes += counts->wakes;
    }
    return sum;
}

} // namespace mps::lab
