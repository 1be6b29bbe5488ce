// SPDX-License-Identifier: MIT
#include "policy.hpp"

#include "base/try.hpp"

#include <cerrno>
#include <chrono>
#include <string_view>

#include <mpsched/lab/process.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mps::lab {
namespace {

using namespace std::chrono_literals;
constexpr std::string_view alone_prefix = "alone:";
constexpr auto command_timeout = 60s;

/// As mpsched tells a file from a name.
bool is_policy_file(const std::string &text) { return text.contains('/') || text.ends_with(".o"); }

/// A policy of a file has the name that its object says, in results as in mpsched.
Result<void> read_object(Policy &policy, const RunOptions &options) {
    auto shown = run_checked({options.mpsched, "policy", "show", options.policy, "--json"},
                             {.timeout = command_timeout});
    MPS_TRY(shown);
    const auto json = Json::parse(shown->out, nullptr, false);
    if (!json.is_array() || json.empty() || !json[0].contains("name") || !json[0].contains("sha256")) {
        return fail(fmt::format("mpsched policy show {} --json tells no name", options.policy));
    }
    policy.name = json[0]["name"].get<std::string>();
    policy.sha256 = json[0]["sha256"].get<std::string>();
    policy.file = options.policy;
    return {};
}

Result<std::size_t> path_alone(const Scenario &scenario, const std::string &name) {
    if (const auto found = scenario.path_index(name)) {
        return *found;
    }
    std::vector<std::string> names;
    for (const auto &path : scenario.paths) {
        names.push_back(path.name);
    }
    return fail(fmt::format("scenario {} has no path \"{}\" that could be alone", scenario.name(), name),
                fmt::format("there are {}", fmt::join(names, ", ")), EINVAL);
}

} // namespace

Result<Policy> read_policy(const Scenario &scenario, const RunOptions &options) {
    Policy policy{.name = options.policy, .alone = {}, .params = options.params, .steered = {}};
    if (options.policy.starts_with(alone_prefix)) {
        const auto alone = path_alone(scenario, options.policy.substr(alone_prefix.size()));
        MPS_TRY(alone);
        policy.kind = "alone";
        policy.alone = *alone;
    } else if (options.policy != "default") {
        policy.kind = "mpsched";
        policy.steered = scenario.steer;
        if (is_policy_file(options.policy)) {
            if (auto read = read_object(policy, options); !read) {
                return std::unexpected(read.error());
            }
        }
        if (const auto found = scenario.params.find(policy.name); found != scenario.params.end()) {
            policy.params.insert(found->second.begin(), found->second.end());
        }
    }
    if (policy.kind != "mpsched" && !options.params.empty()) {
        return fail(fmt::format("\"{}\" has no parameters", options.policy), "leave -s out", EINVAL);
    }
    return policy;
}

} // namespace mps::lab
