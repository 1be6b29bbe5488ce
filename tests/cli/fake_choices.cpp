// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Of the fake loader: rules about options, congestion controls, what applications may choose, the proxy.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "fake_loader.hpp"
#include "mpsched/applications.hpp"
#include "mpsched/congestion.hpp"
#include "mpsched/proxy.hpp"
#include "mpsched/spread.hpp"

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

Result<void> set_congestion_rules(const Instance &, const std::vector<CongestionUse> &rules) {
    log_call(fmt::format("set_congestion_rules {}", rules.size()));
    return {};
}

Result<std::vector<CongestionRule>> unuse_congestion(const Instance &,
                                                     const std::optional<std::string> &selector) {
    log_call(fmt::format("unuse_congestion [{}]", selector.value_or("all")));
    return std::vector<CongestionRule>{some_congestion_rule()};
}

Result<std::string> canonical_cgroup(const std::string &path) { return path; }
Result<CgroupPlace> cgroup_place(const std::string &path) {
    return CgroupPlace{.path = path, .directory = "/sys/fs/cgroup" + path};
}

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

Result<SpreadStatus> spread_status(const Instance &, bool) {
    return SpreadStatus{.interfaces = {{.name = "eth0", .speed_bit_s = 8'000'000, .rate_bit_s = 5'000'000},
                                       {.name = "eth1", .problem = "no"}},
                        .map = {.routes = {{.by = "port",
                                            .local = "192.0.2.1",
                                            .peer = "192.0.2.2",
                                            .peer_port = 443,
                                            .paths = {{20001, 20002}, {20003}}}}},
                        .moved = 2,
                        .ports_given = 3,
                        .ports_exhausted = 1,
                        .subflows = {{.local = "192.0.2.1:20001",
                                      .peer = "192.0.2.2:443",
                                      .token = 0x7a3b12cd,
                                      .interface = "eth0",
                                      .port = 20001,
                                      .path = 1},
                                     {.local = "[2001:db8::1]:40000",
                                      .peer = "[2001:db8::2]:443",
                                      .interface = "eth0",
                                      .label = 0x12345,
                                      .moves = 1}}};
}

Result<SpreadOn> spread_on(const Instance &, const SpreadRequest &request) {
    log_call(fmt::format("spread_on {} map {} moves {}", fmt::join(request.interfaces, ","),
                         request.map ? std::ssize(request.map->routes) : -1, request.moves));
    return SpreadOn{.interfaces = request.interfaces};
}

Result<std::vector<std::string>> spread_off(const Instance &, const std::vector<std::string> &interfaces,
                                            bool all) {
    log_call(fmt::format("spread_off {} {}", fmt::join(interfaces, ","), all));
    return interfaces;
}

Result<SpreadMap> read_spread_map(const std::string &) { return SpreadMap{}; }
Result<SpreadMap> parse_spread_map(const std::string &, const std::string &) { return SpreadMap{}; }
std::string format_spread_map(const SpreadMap &map) { return fmt::format("{} lines\n", map.routes.size()); }

Result<std::vector<SpreadProbePair>> probe_spread(const Instance &, const SpreadProbeRequest &request) {
    log_call(fmt::format("probe_spread {} from {} by_port {} port {} values {} hops {}",
                         fmt::join(request.peers, ","), fmt::join(request.locals, ","), request.by_port,
                         request.peer_port, request.values, request.hops));
    return std::vector<SpreadProbePair>{{.local = "2001:db8::1",
                                         .peer = request.peers.front(),
                                         .by = "label",
                                         .paths = {"2001:db8::a", "2001:db8::b"},
                                         .route = {.by = "label", .paths = {{1, 2}, {3}}},
                                         .tried = 4,
                                         .answered = 3},
                                        {.local = "2001:db8::2", .by = "label", .problem = "no"}};
}

// Of a proxy only what 'proxy stop' and 'proxy status' ask of the library: nothing is intercepted here.
struct Interception::Impl {};
Interception::Interception(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Interception::Interception(Interception &&) noexcept = default;
Interception::~Interception() = default;
Result<Interception> Interception::start(const InterceptionSpec &) {
    return fail(ErrorCode::unsupported, "nothing can be intercepted here");
}
std::array<int, 2> Interception::listeners() const { return {-1, -1}; }
Result<void> Interception::offer(bool) const { return {}; }
Result<InterceptionCounts> Interception::counts() const { return InterceptionCounts{}; }

Result<void> move_to_netns(const std::string &netns) {
    log_call(fmt::format("move_to_netns {}", netns));
    return wanted();
}
Result<std::vector<std::string>> remove_interception() {
    log_call("remove_interception");
    return std::vector<std::string>{"lan0"};
}

} // namespace mps
