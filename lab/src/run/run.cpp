// SPDX-License-Identifier: MIT
#include <mpsched/lab/run.hpp>

#include <cerrno>
#include <utility>

#include <mpsched/lab/counters.hpp>
#include <mpsched/lab/mptcp.hpp>
#include <mpsched/lab/network.hpp>

#include <fmt/format.h>

#include "../traffic/workload/workload.hpp"
#include "base/try.hpp"
#include "diary.hpp"
#include "director.hpp"
#include "document.hpp"
#include "metrics.hpp"
#include "policy.hpp"
#include "steering.hpp"

namespace mps::lab {
namespace {

Result<void> check_kernel(const Scenario &scenario) {
    if (auto available = check_mptcp_available(); !available) {
        return available;
    }
    const auto netem = netem_available();
    MPS_TRY(netem);
    if (!*netem) {
        return fail("this kernel has no netem, so it has no delays and losses",
                    fmt::format("\"./run lab {}\" runs the scenario in a VM", scenario.name()),
                    EPROTONOSUPPORT);
    }
    return {};
}

/// What a policy makes of a scenario's network.
struct Plan {
    NetworkSpec network;
    std::vector<bool> used; ///< by path
    std::size_t subflows = 1;
};

Plan plan(const Scenario &scenario, const Policy &policy) {
    Plan plan{.network = scenario.network(), .used = std::vector<bool>(scenario.paths.size(), true)};
    if (policy.alone) {
        plan.used.assign(plan.used.size(), false);
        plan.used[*policy.alone] = true;
        plan.network.first_path = *policy.alone;
        plan.network.joins = Joins::none;
    }
    if (plan.network.joins != Joins::none) {
        plan.subflows = std::min<std::size_t>(scenario.paths.size(), scenario.subflow_limit + 1U);
    }
    return plan;
}

Result<std::vector<Steering>> steer(const Network &network, const Scenario &scenario, const Policy &policy,
                                    const RunOptions &options) {
    std::vector<Steering> steerings;
    for (const auto &name : policy.steered) {
        auto steering = Steering::start(name == "client" ? network.a() : network.b(), name, scenario, options,
                                        policy.params);
        MPS_TRY(steering);
        steerings.push_back(std::move(*steering));
    }
    return steerings;
}

/// What only grows, and so is read before and after.
struct Sums {
    std::vector<std::uint64_t> drops; ///< by path
    Steering::Counts counts;
    Counters client;
    Counters server;
};

Result<std::vector<std::uint64_t>> drops_of(const Network &network) {
    std::vector<std::uint64_t> drops;
    for (std::size_t path = 0; path < network.path_count(); ++path) {
        const auto dropped = network.dropped(path);
        MPS_TRY(dropped);
        drops.push_back(*dropped);
    }
    return drops;
}

Result<Sums> read_sums(const Network &network, const std::vector<Steering> &steerings) {
    auto client = read_counters(network.a());
    MPS_TRY(client);
    auto server = read_counters(network.b());
    MPS_TRY(server);
    auto drops = drops_of(network);
    MPS_TRY(drops);
    const auto counts = sum_counts(steerings);
    MPS_TRY(counts);
    return Sums{std::move(*drops), *counts, std::move(*client), std::move(*server)};
}

/// What the run itself tells.
struct Course {
    WorkloadResult workload;
    Diary diary;
    std::vector<Event> events;
    std::optional<std::uint64_t> reinjected;
};

// Processes are started before and after, not while time is taken.
Result<Course> run_workload(Network &network, const Scenario &scenario, const Plan &plan, bool steered,
                            WorkloadRun &workload) {
    auto watcher = Watcher::create(network, steered);
    MPS_TRY(watcher);
    Director director(network, scenario, plan.used);
    const auto began = workload.begin();
    director.start(began);
    auto diary = watcher->keep_diary(workload, began, scenario.workload.look_ms);
    MPS_TRY(diary);
    const auto proven = director.stop_with_proof();
    auto result = workload.wait();
    MPS_TRY(result);
    MPS_TRY(proven);
    const auto reinjected = workload.reinjected_bytes();
    auto events = director.finish(result->seconds);
    MPS_TRY(events);
    return Course{std::move(*result), std::move(*diary), std::move(*events), reinjected};
}

Harvest harvest(const Scenario &scenario, const Policy &policy, const WorkloadRun &workload, Course course,
                const Sums &before, Sums after) {
    for (std::size_t path = 0; path < after.drops.size(); ++path) {
        after.drops[path] -= before.drops[path];
    }
    return {.scenario = scenario,
            .policy = policy,
            .workload = std::move(course.workload),
            .diary = std::move(course.diary),
            .events = std::move(course.events),
            .client = after.client - before.client,
            .server = after.server - before.server,
            .reinjected = course.reinjected,
            .subflows = workload.subflows(),
            .drops = std::move(after.drops),
            .flips = after.counts.flips - before.counts.flips,
            .wakes = after.counts.wakes - before.counts.wakes};
}

} // namespace

Result<Json> run_scenario(const Scenario &scenario, const RunOptions &options) {
    const auto policy = read_policy(scenario, options);
    MPS_TRY(policy);
    if (auto fit = check_kernel(scenario); !fit) {
        return std::unexpected(fit.error());
    }
    const auto planned = plan(scenario, *policy);
    auto network = Network::create(planned.network);
    MPS_TRY(network);
    const auto steerings = steer(*network, scenario, *policy, options);
    MPS_TRY(steerings);
    const bool chosen = scenario.by_application && !steerings->empty();
    auto workload = WorkloadRun::prepare(*network, scenario, planned.subflows, options.seed,
                                         chosen ? policy->name : std::string());
    MPS_TRY(workload);
    const auto before = read_sums(*network, *steerings);
    MPS_TRY(before);
    auto course = run_workload(*network, scenario, planned, !steerings->empty(), *workload);
    MPS_TRY(course);
    auto after = read_sums(*network, *steerings);
    MPS_TRY(after);
    return document(harvest(scenario, *policy, *workload, std::move(*course), *before, std::move(*after)),
                    *network, options.seed);
}

Json failed_run(const Scenario *scenario, const RunOptions &options, const Error &error, int code) {
    return {{"schema_version", 1},
            {"scenario", scenario != nullptr ? scenario_json(*scenario) : Json(nullptr)},
            {"policy", {{"name", options.policy}}},
            {"seed", options.seed},
            {"status", "failed"},
            {"error", {{"what", error.what}, {"hint", error.hint}, {"code", code}}}};
}

} // namespace mps::lab
