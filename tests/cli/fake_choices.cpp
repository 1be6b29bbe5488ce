// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Of the fake loader: rules about options, congestion controls, what applications may choose.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fake_loader.hpp"
#include "mpsched/applications.hpp"
#include "mpsched/congestion.hpp"

namespace mps {

using namespace fake;

namespace {

OptionRule some_rule() {
    return {.interface = "wan0", .direction = "in", .option = "mp_join", .action = "neutralise"};
}

} // namespace

Result<std::vector<OptionRuleStatus>> Instance::option_rules() const {
    return std::vector<OptionRuleStatus>{
        {.rule = some_rule(), .matched = 1234, .changed = 1233, .failed = 1}};
}

Result<OptionRulesResult> Instance::add_option_rule(const OptionRule &rule,
                                                    std::optional<std::uint32_t> position) {
    log_call(fmt::format("add_option_rule [{}] {}", option_rule_text(rule), position.value_or(0)));
    return OptionRulesResult{.added = {rule}, .rules = {rule}};
}

Result<OptionRulesResult> Instance::remove_option_rules(const std::vector<std::uint32_t> &places) {
    log_call(fmt::format("remove_option_rules {}", places.size()));
    return OptionRulesResult{.removed = {some_rule()}};
}

Result<OptionRulesResult> Instance::set_option_rules(const std::vector<OptionRule> &rules) {
    log_call(fmt::format("set_option_rules {}", rules.size()));
    return OptionRulesResult{.added = rules, .rules = rules};
}

namespace {

CongestionControl some_control() {
    return {.name = "mps_lia",
            .state = "loaded",
            .id = 7,
            .users = 2,
            .sockets = {{.netns = "blue",
                         .local = "192.0.2.1:40000",
                         .remote = "192.0.2.2:443",
                         .mptcp = true,
                         .token = 0x7a3b12cd,
                         .uid = 1000,
                         .cgroup = "/user.slice"}}};
}

CongestionRule some_congestion_rule() {
    return {.name = "mps_lia",
            .selector = "rport=443",
            .plain_tcp = true,
            .given = 3,
            .refused = 1,
            .problem = "no"};
}

} // namespace

Result<std::vector<CongestionControl>> congestion_controls(const Instance &) {
    return std::vector<CongestionControl>{some_control(), {.name = "mps_olia", .state = "not loaded"}};
}

Result<CongestionLoaded> load_congestion(const Instance &, const std::vector<std::string> &names) {
    log_call(fmt::format("load_congestion {}", names.size()));
    return CongestionLoaded{.loaded = names, .already = {"mps_balia"}};
}

Result<CongestionUnloaded> unload_congestion(const Instance &, const std::vector<std::string> &names,
                                             std::optional<std::chrono::milliseconds> wait) {
    log_call(fmt::format("unload_congestion {} {}", names.size(), wait ? wait->count() : -1));
    return CongestionUnloaded{.unloaded = names, .left = {some_control()}};
}

Result<std::vector<CongestionRule>> congestion_rules(const Instance &) {
    return std::vector<CongestionRule>{some_congestion_rule()};
}

Result<CongestionUsed> use_congestion(const Instance &, const CongestionUse &use) {
    log_call(fmt::format("use_congestion {} [{}] {}", use.name, use.selector, use.plain_tcp));
    return CongestionUsed{.rule = {.name = use.name, .selector = use.selector}, .before = "cubic"};
}

Result<std::vector<CongestionRule>> unuse_congestion(const Instance &,
                                                     const std::optional<std::string> &selector) {
    log_call(fmt::format("unuse_congestion [{}]", selector.value_or("all")));
    return std::vector<CongestionRule>{some_congestion_rule()};
}

Result<std::string> canonical_cgroup(const std::string &path) { return path; }

Result<std::vector<ApplicationGrant>> application_grants(const Instance &) {
    return std::vector<ApplicationGrant>{
        {.cgroup = "/user.slice", .policies = {"weighted", "active-standby"}, .max_cost = 5}};
}

Result<ApplicationResult> grant_applications(const Instance &, const ApplicationGrant &grant) {
    log_call(fmt::format("grant_applications {} {} {}", grant.cgroup, fmt::join(grant.policies, ","),
                         grant.max_cost.value_or(0)));
    return ApplicationResult{.grant = grant};
}

Result<std::vector<std::string>> revoke_applications(const Instance &,
                                                     const std::vector<std::string> &cgroups) {
    log_call(fmt::format("revoke_applications {}", fmt::join(cgroups, ",")));
    return cgroups.empty() ? std::vector<std::string>{"/user.slice"} : cgroups;
}

} // namespace mps
