// SPDX-License-Identifier: MIT

#include <memory>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "commands/commands.hpp"
#include "mpsched/applications.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Paint;

Json grant_json(const ApplicationGrant &grant) {
    Json all{{"cgroup", grant.cgroup}, {"policies", grant.policies}};
    all["max_cost"] = grant.max_cost ? Json(*grant.max_cost) : Json(nullptr);
    if (!grant.problem.empty())
        all["problem"] = grant.problem;
    return all;
}

std::string policies_text(const ApplicationGrant &grant) {
    return grant.policies.empty() ? "none" : fmt::format("{}", fmt::join(grant.policies, ", "));
}

std::string cost_text(const ApplicationGrant &grant) {
    return grant.max_cost ? fmt::to_string(*grant.max_cost) : "any";
}

// ----------------------------------------------------------------------------------------------------- attach

struct AttachOptions {
    std::optional<std::string> cgroup;
    std::vector<std::string> policies;
    std::optional<std::string> max_cost;
};

Result<std::optional<std::uint32_t>> cost_of_word(const std::optional<std::string> &word) {
    constexpr std::uint32_t most = 1'000'000; // as `path` has it
    if (!word)
        return std::nullopt;
    const auto cost = parse_number<std::uint32_t>(*word);
    if (!cost || *cost > most)
        return usage_error(fmt::format("option '--max-cost' cannot be {}", text::quoted(*word)),
                           fmt::format("a number from 0 to {}", most));
    return cost;
}

Result<Reply> run_attach(const Context &context, const AttachOptions &options) {
    if (!options.cgroup)
        return usage_error("'app attach' needs --cgroup PATH",
                           "the cgroup of a process stands in /proc/PID/cgroup after '0::'");
    const auto cost = cost_of_word(options.max_cost);
    MPS_TRY(cost);
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto result = grant_applications(
        *instance, {.cgroup = *options.cgroup, .policies = options.policies, .max_cost = *cost});
    MPS_TRY(result);
    Reply reply{.json = grant_json(result->grant), .text = {}, .warnings = result->warnings};
    reply.json["changed"] = result->changed;
    reply.text = fmt::format("applications of {} may choose{}\n  policies  {}\n  cost      {}\n",
                             text::printable(result->grant.cgroup), result->changed ? "" : ", as before",
                             text::printable(policies_text(result->grant)), cost_text(result->grant));
    return reply;
}

// ----------------------------------------------------------------------------------------------------- list, detach

Result<Reply> run_list(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto grants = application_grants(*instance);
    MPS_TRY(grants);
    Reply reply{.json = Json::array(), .text = {}};
    output::Table table({{"cgroup"},
                         {"policies", output::Align::left, true},
                         {"cost", output::Align::right},
                         {"", output::Align::left, true}});
    for (const ApplicationGrant &one : *grants) {
        reply.json.push_back(grant_json(one));
        table.add(
            {text::printable(one.cgroup), policies_text(one), cost_text(one), {one.problem, Paint::warn}});
    }
    reply.text = grants->empty() ? "no applications may choose; 'mpsched app attach' lets those of a cgroup\n"
                                 : table.render(context.style);
    return reply;
}

struct DetachOptions {
    std::vector<std::string> cgroups;
    bool all = false;
};

Result<Reply> run_detach(const Context &context, const DetachOptions &options) {
    if (options.all == !options.cgroups.empty())
        return usage_error("'app detach' needs --cgroup PATH or --all", "'mpsched app list' shows them");
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto gone = revoke_applications(*instance, options.cgroups);
    MPS_TRY(gone);
    Reply reply{.json = {{"removed", *gone}}, .text = {}};
    for (const std::string &one : *gone)
        reply.text += fmt::format("applications of {} choose no more\n", text::printable(one));
    if (gone->empty())
        reply.text = "no applications could choose\n";
    return reply;
}

} // namespace

void setup_app_attach(Binder &binder) {
    auto options = std::make_shared<AttachOptions>();
    binder.option("--cgroup", options->cgroup);
    binder.option("--allow-policy", options->policies);
    binder.option("--max-cost", options->max_cost);
    binder.run([options](const Context &context) { return run_attach(context, *options); });
}

void setup_app_detach(Binder &binder) {
    auto options = std::make_shared<DetachOptions>();
    binder.option("--cgroup", options->cgroups);
    binder.flag("--all", options->all);
    binder.run([options](const Context &context) { return run_detach(context, *options); });
}

void setup_app_list(Binder &binder) {
    binder.run([](const Context &context) { return run_list(context); });
}

} // namespace mps::cli
