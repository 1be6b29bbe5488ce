// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// A loader without a kernel, for tests of the command line: answers are canned, calls are written to a
// file. Steered by the environment, because the command line under test is a process of its own:
//   MPS_FAKE_LOG    file to which each call is appended, one a line
//   MPS_FAKE_ERROR  "CODE|what|hint|detail": everything fails with it
//   MPS_FAKE_HOLD   a change announces itself with a line on standard error, and then takes this many milliseconds
//   MPS_FAKE_EMPTY  nothing is installed, there are no connections
//   MPS_FAKE_THROW  open() throws

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "mpsched/applications.hpp"
#include "mpsched/check.hpp"
#include "mpsched/congestion.hpp"
#include "mpsched/events.hpp"
#include "mpsched/explain.hpp"
#include "mpsched/gateway.hpp"
#include "mpsched/instance.hpp"
#include "mpsched/log.hpp"
#include "mpsched/sampler.hpp"
#include "mpsched/trace.hpp"

namespace mps {

namespace {

LogSink sink;

const char *environment(const char *name) {
    const char *value = std::getenv(name);
    return value != nullptr && *value != '\0' ? value : nullptr;
}

void log_call(const std::string &call) {
    if (sink)
        sink("libbpf: " + call);
    if (const char *path = environment("MPS_FAKE_LOG"))
        std::ofstream(path, std::ios::app) << call << '\n';
}

Result<void> wanted() {
    if (environment("MPS_FAKE_THROW") != nullptr)
        throw std::runtime_error("thrown");
    const char *text = environment("MPS_FAKE_ERROR");
    if (text == nullptr)
        return {};
    std::vector<std::string> parts(1);
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '|')
            parts.emplace_back();
        else
            parts.back() += *c;
    }
    parts.resize(4);
    return fail(static_cast<ErrorCode>(std::stoi(parts[0])), parts[1], parts[2], parts[3]);
}

void hold() {
    const char *ms = environment("MPS_FAKE_HOLD");
    if (ms == nullptr)
        return;
    constexpr std::string_view line = "fake: changing\n";
    if (write(STDERR_FILENO, line.data(), line.size()) < 0)
        std::abort();
    // As the real one: interrupted system calls go on.
    std::this_thread::sleep_for(std::chrono::milliseconds(std::stoi(ms)));
}

std::string settings_text(const std::vector<Setting> &settings) {
    std::string all;
    for (const Setting &one : settings)
        all += fmt::format(" [{}]=[{}]", one.key, one.value);
    return all;
}

Param quantum() {
    return {.name = "quantum_ms",
            .type = "u32",
            .value = 25,
            .default_value = 10,
            .min = 1,
            .max = 1000,
            .unit = "ms",
            .text = "how long a share is looked at"};
}

PolicyInfo weighted(bool loaded) {
    PolicyInfo info{.name = "weighted", .doc = "shares by the weights of the paths"};
    info.builtin = true;
    if (loaded) {
        info.slot = 1;
        info.is_default = true;
        info.connections = 2;
    }
    info.state_bytes = 64;
    info.params = {quantum()};
    return info;
}

std::vector<PolicyInfo> all_policies() {
    PolicyInfo standby{.name = "active-standby", .doc = "the best tier that has a usable subflow"};
    standby.builtin = true;
    PolicyInfo pass{.name = "default", .doc = "leaves the kernel alone"};
    pass.builtin = true;
    return {pass, weighted(environment("MPS_FAKE_EMPTY") == nullptr), standby};
}

PathStatus path_of(const std::string &name, std::uint32_t ifindex) {
    return {.name = name, .ifindex = ifindex, .attached = true, .attributes = {.weight = 3}};
}

} // namespace

struct Instance::Impl {};

std::unexpected<Error> fail(ErrorCode code, std::string what, std::string hint, std::string detail) {
    return std::unexpected(Error{code, std::move(what), std::move(hint), std::move(detail)});
}

std::unexpected<Error> fail(ErrorKind kind, std::string what, std::string hint, std::string detail) {
    return fail(code_of(kind), std::move(what), std::move(hint), std::move(detail));
}

ErrorCode code_of(ErrorKind kind) { return kind == ErrorKind::usage ? ErrorCode::usage : ErrorCode::failed; }

Error system_error(int err, std::string_view what, std::string hint) {
    return {ErrorCode::failed, fmt::format("{}: error {}", what, err), std::move(hint)};
}

std::string_view to_string(ErrorKind kind) { return kind == ErrorKind::usage ? "usage" : "failed"; }

std::string_view to_string(Answer answer) {
    return answer == Answer::available ? "available" : answer == Answer::missing ? "missing" : "unknown";
}

std::string_view to_string(InterfaceState state) {
    return state == InterfaceState::attached ? "attached" : "absent";
}

std::string_view to_string(PathEvent::Kind kind) {
    return kind == PathEvent::Kind::gone ? "gone" : "attached";
}

std::string_view to_string(Installation::State state) {
    return state == Installation::State::other_abi ? "other abi" : "complete";
}

std::string_view to_string(Mode mode) {
    switch (mode) {
    case Mode::automatic:
        return "auto";
    case Mode::native:
        return "native";
    case Mode::generic:
        return "generic";
    case Mode::tc:
        return "tc";
    }
    return "";
}

std::string_view to_string(Role role) { return role == Role::gateway ? "gateway" : "host"; }

Result<Role> parse_role(std::string_view text) { return text == "gateway" ? Role::gateway : Role::host; }

Result<Mode> parse_mode(std::string_view text) {
    for (const Mode mode : {Mode::automatic, Mode::native, Mode::generic, Mode::tc})
        if (to_string(mode) == text)
            return mode;
    return fail(ErrorCode::usage, "bad mode");
}

Result<Setting> parse_setting(std::string_view text) {
    const std::size_t at = text.find('=');
    if (at == std::string_view::npos || at == 0)
        return fail(ErrorCode::usage, fmt::format("'{}' is not key=value", text), "write key=value");
    return Setting{std::string(text.substr(0, at)), std::string(text.substr(at + 1))};
}

std::vector<Param> engine_params() {
    return {{.name = "dwell_us",
             .type = "u32",
             .value = 1000,
             .default_value = 1000,
             .min = 100,
             .max = 10'000'000,
             .unit = "us",
             .text = "least time between two edits of one subflow"}};
}

bool Probe::usable() const { return features.front().answer == Answer::available; }

Result<Probe> probe(const ProbeOptions &options) {
    sink = options.log;
    log_call(fmt::format("probe netns=[{}]", options.netns));
    if (auto ok = options.netns.empty() ? Result<void>{} : wanted(); !ok)
        return std::unexpected(ok.error());
    Feature mptcp{.name = "mptcp", .title = "Multipath TCP", .required = true};
    mptcp.answer = environment("MPS_FAKE_EMPTY") != nullptr ? Answer::missing : Answer::available;
    mptcp.since = "5.6";
    mptcp.need = "everything";
    mptcp.detail = "socket: EPROTONOSUPPORT";
    mptcp.hint = "use a kernel with CONFIG_MPTCP";
    InterfaceProbe wan{.name = "wan0", .ifindex = 2, .driver = "veth", .link_type = "ethernet"};
    wan.up = true;
    wan.mtu = 1500;
    wan.native_xdp = Answer::available;
    wan.auto_mode = "tc";
    wan.auto_reason = "veth: native XDP switches the peer's offloads off";
    return Probe{.features = {mptcp}, .interfaces = {wan}};
}

Instance::Instance(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Instance::Instance(Instance &&) noexcept = default;
Instance &Instance::operator=(Instance &&) noexcept = default;
Instance::~Instance() = default;

Result<Instance> Instance::open(OpenOptions options) {
    sink = options.log;
    log_call(fmt::format("open netns=[{}]", options.netns));
    if (auto ok = wanted(); !ok)
        return std::unexpected(ok.error());
    return Instance(std::make_unique<Impl>());
}

bool Instance::installed() const { return environment("MPS_FAKE_EMPTY") == nullptr; }

Result<std::vector<Installation>> Instance::list_all(const OpenOptions &) {
    Installation other{.state = Installation::State::other_abi, .path = "/sys/fs/bpf/mpsched/v0"};
    other.text = "made by another version";
    return std::vector<Installation>{other};
}

Result<std::vector<std::string>> Instance::repair(const OpenOptions &, bool force) {
    log_call(fmt::format("repair force={}", force));
    if (auto ok = wanted(); !ok)
        return std::unexpected(ok.error());
    return std::vector<std::string>{"/sys/fs/bpf/mpsched/v1/new-1"};
}

Result<AttachResult> Instance::attach(const AttachRequest &request) {
    log_call(fmt::format("attach {} mode={} policy={}{} force={}", request.interfaces,
                         to_string(request.mode), request.policy, request.policy_only_if_first ? "?" : "",
                         request.force));
    hold();
    AttachResult result;
    std::uint32_t ifindex = 2;
    for (const std::string &name : request.interfaces)
        result.interfaces.push_back(
            {.name = name, .ifindex = ifindex++, .mode = Mode::tc, .why = "as wished"});
    result.policy = request.policy;
    result.warnings.emplace_back("lte0 is down");
    log_call("attached");
    return result;
}

Result<DetachResult> Instance::detach(const DetachRequest &request) {
    log_call(fmt::format("detach {} all={}", request.interfaces, request.all));
    return DetachResult{.interfaces =
                            request.all ? std::vector<std::string>{"wan0", "lte0"} : request.interfaces,
                        .removed_everything = request.all,
                        .restored = 1,
                        .unrestored = {},
                        .warnings = {}};
}

Result<void> Instance::follow(const std::function<void(const PathEvent &)> &on_event, int) {
    log_call("follow");
    on_event({.kind = PathEvent::Kind::gone, .name = "lte0"});
    on_event({.kind = PathEvent::Kind::attached, .name = "lte0", .ifindex = 9, .why = "as wished"});
    return wanted();
}

Result<RecoverResult> Instance::recover() {
    log_call("recover");
    return RecoverResult{.events = {{.kind = PathEvent::Kind::attached, .name = "lte0", .ifindex = 9}},
                         .subflows = {"192.0.2.1:40000 - 198.51.100.1:443"}};
}

Result<bool> Instance::forget_path(const std::string &interface) {
    log_call(fmt::format("forget_path [{}]", interface));
    return interface == "lte0";
}

Result<PathStatus> Instance::path(const std::string &interface, const std::vector<Setting> &settings) {
    log_call(fmt::format("path [{}]{}", interface, settings_text(settings)));
    return path_of(interface, 2);
}

Result<PathStatus> Instance::path(const std::string &interface) const { return path_of(interface, 2); }

Result<std::vector<PolicyInfo>> Instance::policies(std::optional<Error> *) const { return all_policies(); }

Result<std::vector<PolicyInfo>> Instance::policy(const std::string &name_or_file,
                                                 std::optional<Error> *) const {
    for (const PolicyInfo &one : all_policies())
        if (one.name == name_or_file)
            return std::vector<PolicyInfo>{one};
    return fail(ErrorCode::usage, fmt::format("unknown policy '{}'", name_or_file),
                "valid are: default, weighted, active-standby");
}

Result<LoadResult> Instance::load_policy(const std::string &name_or_file, bool replace) {
    log_call(fmt::format("load {} replace={}", name_or_file, replace));
    return LoadResult{.policy = weighted(true)};
}

Result<void> Instance::unload_policy(const std::string &name) {
    log_call("unload " + name);
    return {};
}

Result<UseResult> Instance::use(const UseRequest &request) {
    const char *direction = request.direction == Direction::tx   ? " tx"
                            : request.direction == Direction::rx ? " rx"
                                                                 : "";
    log_call(fmt::format("use [{}]{} for=[{}] new_only={}{}", request.policy, settings_text(request.params),
                         request.selector.value_or("none"), request.new_only, direction));
    hold();
    return UseResult{.policy = request.policy,
                     .slot = 2,
                     .rx_policy = request.policy,
                     .previous = "default",
                     .params = {quantum()},
                     .warnings = {}};
}

Result<bool> Instance::remove_rule(const std::string &selector) {
    log_call("remove_rule " + selector);
    return selector == "rport=443";
}

Result<std::vector<std::string>> Instance::remove_all_rules() {
    log_call("remove_all_rules");
    return std::vector<std::string>{"rport=443"};
}

Result<SetResult> Instance::set(const std::vector<Setting> &settings, const SetTarget &target) {
    log_call(fmt::format("set policy=[{}] for=[{}] slot={}{}", target.policy,
                         target.selector.value_or("none"), target.slot.value_or(0), settings_text(settings)));
    SetResult result{.policy = "weighted", .slot = 1, .params = engine_params()};
    result.params.insert(result.params.begin(), quantum());
    return result;
}

Result<Status> Instance::status() const {
    Status status{.netns_cookie = 7, .abi = 2};
    if (environment("MPS_FAKE_EMPTY") != nullptr)
        return status;
    status.installed = true;
    status.interfaces = {{.name = "wan0", .ifindex = 2, .mode = Mode::native, .tc_hook = "tcx"},
                         {.name = "lte0", .ifindex = 3, .mode = Mode::tc, .tc_hook = "tcx"}};
    status.interfaces[1].problem = "program replaced by another one";
    status.paths = {path_of("wan0", 2), path_of("lte0", 3)};
    status.default_policy = "weighted";
    status.default_slot = 1;
    status.policies = {weighted(true)};
    status.rules = {{.selector = "rport=443", .policy = "weighted", .slot = 1}};
    status.engine = engine_params();
    status.connections = 2;
    status.max_connections = 16384;
    status.findings = {{.id = "absent",
                        .subject = "usb0",
                        .what = "usb0 is absent",
                        .why = "its attributes wait for it",
                        .next = "'mpsched attach --follow'"}};
    status.notes = {"usb0 is absent; 'mpsched attach --follow'"};
    if (environment("MPS_FAKE_PROBLEM") != nullptr) {
        status.findings.front().severity = Diagnosis::Severity::problem;
        status.problems = std::move(status.notes);
        status.notes.clear();
    }
    return status;
}

Result<std::vector<ForwardedConnection>> Instance::forwarded(std::uint32_t) const {
    if (environment("MPS_FAKE_EMPTY") != nullptr)
        return std::vector<ForwardedConnection>{};
    return std::vector{
        ForwardedConnection{.initiator_token = 0xa1b2c3d4,
                            .responder_token = 0x01020304,
                            .subflows = {{.id = 1,
                                          .ifindex = 2,
                                          .ifname = "wan0",
                                          .initiator = "192.0.2.1:40000",
                                          .responder = "198.51.100.1:443",
                                          .up = {.bytes = 1000, .bytes_s = 10, .srtt_us = 2000},
                                          .down = {.bytes = 2000000, .srtt_us = 3000}}}}};
}

Result<std::vector<ConnectionStatus>> Instance::connections(std::uint32_t) const {
    if (environment("MPS_FAKE_EMPTY") != nullptr)
        return std::vector<ConnectionStatus>{};
    SubflowStatus first{.id = 1, .ifindex = 2, .ifname = "wan0"};
    first.local = "192.0.2.1:40000";
    first.remote = "198.51.100.1:443";
    first.tcp_state = "established";
    first.usable = first.steerable = true;
    first.srtt_us = 12'345;
    first.cwnd = 10;
    first.bytes_acked = 4'123'456;
    first.pacing_rate = 1'250'000;
    SubflowStatus second = first;
    second.id = 2;
    second.ifname = "lte0";
    second.allowed = false;
    second.backup = true;
    second.srtt_us = 0;
    second.reason = SubflowReason{.code = 2, .number = 61'000, .than = 1};
    ConnectionStatus steered{.token = 0x7a3b12cd, .policy = "weighted", .slot = 1, .tracked = true};
    steered.subflows = {first, second};
    ConnectionStatus fresh{.token = 1, .policy = "default"};
    fresh.subflows = {first};
    fresh.subflows[0].steerable = false;
    return std::vector<ConnectionStatus>{fresh, steered};
}

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

Result<std::vector<CounterValue>> Instance::stats() const {
    return std::vector<CounterValue>{
        {.name = "seen", .text = "packets", .value = 1234567},
        {.name = "malformed", .text = "packets with impossible lengths", .value = 0}};
}

Result<std::vector<NetworkInterface>> Instance::interfaces(bool) const {
    return std::vector<NetworkInterface>{{.name = "wan0", .ifindex = 2, .type = "ethernet", .up = true}};
}

Result<std::string> Instance::canonical_selector(const std::string &selector) const { return selector; }

Result<PathStatus> Instance::set_path(const std::string &interface, const PathChange &) {
    log_call(fmt::format("set_path [{}]", interface));
    return path_of(interface, 2);
}

Result<PathChange> parse_path_settings(const std::vector<Setting> &) { return PathChange{.weight = 3}; }

Result<CheckedPolicy> check_policy(const std::string &name, const std::vector<Setting> &) {
    return CheckedPolicy{.name = name, .builtin = true, .params = {quantum()}};
}

Result<std::vector<Param>> check_engine(const std::vector<Setting> &) { return engine_params(); }
Result<void> check_selector(std::string_view) { return {}; }
Result<std::uint32_t> parse_max_connections(std::string_view) { return 16384; }

// Tells, with MPS_FAKE_EVENTS, a few events, once.
struct Events::Impl {
    bool told = std::getenv("MPS_FAKE_EVENTS") == nullptr;
};

Events::Events(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Events::Events(Events &&) noexcept = default;
Events &Events::operator=(Events &&) noexcept = default;
Events::~Events() = default;
// Always readable.
int Events::fd() const {
    static const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    return null;
}
std::vector<std::string> Events::blind() const { return {"nobody follows the interfaces"}; }

Result<std::vector<Event>> Events::read() {
    if (std::exchange(impl_->told, true))
        return std::vector<Event>{};
    return std::vector<Event>{{.kind = Event::Kind::link_down, .interface = "wan0"},
                              {.kind = Event::Kind::quota_used_up,
                               .interface = "lte0",
                               .about = "5000000000",
                               .before = "4900000000",
                               .now = "5000000001"},
                              {.kind = Event::Kind::failover,
                               .interface = "wan0",
                               .now = "lte0",
                               .why = "silent",
                               .connections = 3},
                              {.kind = Event::Kind::verdict,
                               .interface = "lte0",
                               .token = 0x7a3b12cd,
                               .subflow = 2,
                               .now = "parked"}};
}

Result<Events> start_events(const Instance &, std::uint32_t) {
    return Events(std::make_unique<Events::Impl>());
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

Result<Explanation> explain(const Instance &instance, std::uint32_t token) {
    const auto connections = instance.connections();
    if (!connections)
        return std::unexpected(connections.error());
    for (const ConnectionStatus &connection : *connections) {
        if (connection.token != token)
            continue;
        Explanation answer{.connection = connection, .decided_us_ago = 3200, .exact = true};
        answer.unsent_bytes = 1'200'000;
        answer.unacked_bytes = answer.window_bytes = 64'000;
        for (const SubflowStatus &one : connection.subflows) {
            answer.inputs.push_back({.id = one.id,
                                     .usable = true,
                                     .backup = one.backup,
                                     .steerable = one.steerable,
                                     .srtt_us = one.srtt_us,
                                     .cwnd = one.cwnd,
                                     .in_flight = 4,
                                     .mss_bytes = 1428,
                                     .queued_bytes = 12'500,
                                     .pacing_rate = one.pacing_rate,
                                     .quota_left_bytes = 5'000'000});
        }
        return answer;
    }
    return fail(ErrorCode::usage, fmt::format("there is no MPTCP connection {:08x}", token), "see 'conns'");
}

// Each look a second behind the last, however quickly it is asked for.
struct Sampler::Impl {
    const Instance &instance;
    std::uint64_t looks = 0;
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::Sampler(Sampler &&) noexcept = default;
Sampler &Sampler::operator=(Sampler &&) noexcept = default;
Sampler::~Sampler() = default;

const std::string &Sampler::unmeasured() const {
    static const std::string none;
    return none;
}

Result<Sample> Sampler::take() {
    if (const auto done = wanted(); !done)
        return std::unexpected(done.error());
    const std::uint64_t n = ++impl_->looks;
    Sample sample{.monotonic_ns = n * 1'000'000'000, .installed = true};
    sample.policy = sample.rx_policy = "weighted";
    sample.paths = {path_of("wan0", 2), path_of("lte0", 3)};
    sample.connections = *impl_->instance.connections();
    for (ConnectionStatus &connection : sample.connections)
        connection.subflows[0].bytes_acked += n * 1'000'000;
    sample.counters = {{.name = "decided", .text = "decisions", .value = n * 250}};
    sample.programs = {{.name = "mps_tc_eth", .id = 7, .runs = n * 1000, .time_ns = n * 2'000'000}};
    return sample;
}

Result<Sampler> start_sampler(const Instance &instance, bool) {
    if (const auto done = wanted(); !done)
        return std::unexpected(done.error());
    return Sampler(std::make_unique<Sampler::Impl>(instance));
}

std::string_view to_string(TracePacket::Ours ours) {
    return ours == TracePacket::Ours::inserted ? "inserted" : "";
}

// Tells, with MPS_FAKE_TRACE, one packet and one verdict, once.
struct Trace::Impl {
    std::vector<std::string> interfaces;
    bool told = std::getenv("MPS_FAKE_TRACE") == nullptr;
};

Trace::Trace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Trace::Trace(Trace &&) noexcept = default;
Trace &Trace::operator=(Trace &&) noexcept = default;
Trace::~Trace() = default;
int Trace::fd() const { return -1; }
Result<std::uint64_t> Trace::lost() const { return std::getenv("MPS_FAKE_TRACE") ? 3 : 0; }
const std::vector<std::string> &Trace::interfaces() const { return impl_->interfaces; }

Result<void> Trace::read(const TraceHandlers &handlers) {
    // An ACK with MP_PRIO and a NOP.
    static constexpr std::uint8_t packet[] = {
        0x45, 0,    0, 44, 0, 0, 0x40, 0, 64, 6, 0,    0,    192, 0, 2, 1, 198, 51, 100, 1, 0xc0, 0,
        0x01, 0xbb, 0, 0,  0, 1, 0,    0, 0,  2, 0x60, 0x10, 0,   1, 0, 0, 0,   0,  30,  3, 0x51, 1};
    if (impl_->told)
        return {};
    impl_->told = true;
    handlers.packet({.time_ns = 1700000000123456789,
                     .ifindex = 2,
                     .interface = "wan0",
                     .token = 0xdef48bf1,
                     .subflow = 2,
                     .ours = TracePacket::Ours::inserted,
                     .wire_bytes = sizeof packet,
                     .octets = packet});
    handlers.verdict({.time_ns = 1700000000123456789,
                      .token = 0xdef48bf1,
                      .policy = "weighted",
                      .subflows = {{.id = 1, .ifindex = 2, .interface = "wan0"},
                                   {.id = 2,
                                    .ifindex = 3,
                                    .interface = "lte0",
                                    .allowed = false,
                                    .told_backup = true,
                                    .by_wake = true}}});
    return {};
}

Result<Trace> start_trace(const Instance &, const TraceRequest &request) {
    auto impl = std::make_unique<Trace::Impl>();
    impl->interfaces =
        request.interfaces.empty() ? std::vector<std::string>{"wan0", "lte0"} : request.interfaces;
    return Trace(std::move(impl));
}

} // namespace mps
