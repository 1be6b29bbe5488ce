// SPDX-License-Identifier: MIT
#include "run.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include <mpsched/lab/run.hpp>
#include <mpsched/lab/scenario.hpp>

#include <fmt/format.h>

namespace mps::lab::cli {
namespace {

void print(const std::string &text) { std::fputs(text.c_str(), stdout); }

std::string cell(const Json &value, int digits) {
    return value.is_number() ? fmt::format("{:.{}f}", value.get<double>(), digits) : std::string("-");
}

void print_result(const Json &result) {
    print(fmt::format("{} under {}, kernel {}, seed {}, {:.1f} s\n",
                      result["scenario"]["name"].get<std::string>(),
                      result["policy"]["name"].get<std::string>(), result["kernel"].get<std::string>(),
                      result["seed"].get<std::uint64_t>(), result["duration_s"].get<double>()));
    for (const auto &group : result["requests"]) {
        print(fmt::format(
            "  {:>9} bytes  {:>5} x  p50 {:>9} ms  p90 {:>9} ms  p99 {:>9} ms  bound {:>8} ms  ratio {}\n",
            group["bytes"].get<std::uint64_t>(), group["count"].get<std::uint64_t>(),
            cell(group["p50_ms"], 2), cell(group["p90_ms"], 2), cell(group["p99_ms"], 2),
            cell(group["bound_ms"], 2), cell(group["ratio"], 3)));
    }
    for (const auto &[name, value] : result["metrics"].items()) {
        if (value.is_null()) {
            continue;
        }
        const auto &bound = result["bounds"][name];
        print(fmt::format("  {:<24} {:>14}{}\n", name, cell(value, 3),
                          bound.is_null() ? std::string()
                                          : fmt::format("  bound {:>10}  ratio {}", cell(bound, 3),
                                                        cell(result["ratios"][name], 3))));
    }
    for (const auto &path : result["paths"]) {
        print(fmt::format("  path {:<10} {:>6.1f} % of the bytes, {} packets dropped\n",
                          path["name"].get<std::string>(), 100 * path["share"].get<double>(),
                          path["drops"].get<std::uint64_t>()));
    }
    for (const auto &event : result["events"]) {
        if (!event["proof"].is_null()) {
            print(fmt::format("  {:>8.3f} s  {} ({})\n", event["at_s"].get<double>(),
                              event["text"].get<std::string>(), event["proof"].get<std::string>()));
        }
    }
}

} // namespace

int exit_status(const Error &error) {
    constexpr int interrupted = 130;
    switch (error.err) {
    case EINTR:
        return interrupted;
    case EINVAL:
        return 2;
    case EPROTONOSUPPORT:
        return 3;
    case EPERM:
    case EACCES:
        return 4;
    default:
        return 1;
    }
}

std::string mpsched_path() {
    std::error_code ignored;
    return std::filesystem::read_symlink("/proc/self/exe", ignored).replace_filename("mpsched").string();
}

void print_error(const Error &error) {
    std::fflush(stdout);
    std::fputs(fmt::format("mpsched-lab: {}\n", error.what).c_str(), stderr);
    if (!error.hint.empty()) {
        std::fputs(fmt::format("  hint: {}\n", error.hint).c_str(), stderr);
    }
}

int run_list(const ListOptions &options) {
    auto json = Json::array();
    for (const auto &file : builtin_scenarios()) {
        const auto scenarios = parse_scenarios(file.text, std::string(file.file));
        if (!scenarios) {
            print_error(scenarios.error());
            return exit_status(scenarios.error());
        }
        for (const auto &scenario : *scenarios) {
            auto paths = Json::array();
            for (const auto &path : scenario.paths) {
                paths.push_back(path.name);
            }
            const auto expect = expected(scenario);
            json.push_back({{"name", scenario.name()},
                            {"id", scenario.id},
                            {"number", scenario.number.empty() ? Json(nullptr) : Json(scenario.number)},
                            {"variant", scenario.variant.empty() ? Json(nullptr) : Json(scenario.variant)},
                            {"title", scenario.title},
                            {"shows", scenario.shows},
                            {"workload", kind_name(scenario.workload.kind)},
                            {"paths", paths},
                            {"network_s", expect.network_s},
                            {"megabits", expect.megabits}});
            if (!options.json) {
                print(fmt::format("{:<34} {:<4} {}\n", scenario.name(), scenario.number, scenario.title));
            }
        }
    }
    if (options.json) {
        print(json.dump() + "\n");
    }
    return 0;
}

int run_scenarios(const RunCommand &command) {
    RunOptions options{
        .policy = command.policy, .params = {}, .seed = command.seed, .mpsched = mpsched_path()};
    const auto failed = [&](const Scenario *scenario, const Error &error) {
        const int code = exit_status(error);
        if (command.json) {
            print(failed_run(scenario, options, error, code).dump() + "\n");
        }
        print_error(error);
        return code;
    };
    for (const auto &param : command.params) {
        const auto equals = param.find('=');
        if (equals == std::string::npos || equals == 0) {
            return failed(nullptr,
                          Error{fmt::format("\"{}\" is no parameter", param), "-s key=value", EINVAL});
        }
        options.params[param.substr(0, equals)] = param.substr(equals + 1);
    }
    // All names first: a run may take long.
    std::vector<Scenario> scenarios;
    for (const auto &name : command.scenarios) {
        auto found = find_scenarios(name, command.seed);
        if (!found) {
            return failed(nullptr, found.error());
        }
        scenarios.insert(scenarios.end(), found->begin(), found->end());
    }
    int worst = 0;
    for (const auto &scenario : scenarios) {
        const auto result = run_scenario(scenario, options);
        if (!result) {
            worst = std::max(worst, failed(&scenario, result.error()));
            if (result.error().err == EINTR) {
                break;
            }
        } else if (command.json) {
            print(result->dump() + "\n");
        } else {
            print_result(*result);
        }
        std::fflush(stdout);
    }
    return worst;
}

} // namespace mps::lab::cli
