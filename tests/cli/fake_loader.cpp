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

#include "fake_loader.hpp"

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include "mpsched/check.hpp"
#include "mpsched/gateway.hpp"
#include "mpsched/links.hpp"
#include "mpsched/log.hpp"
#include "mpsched/protocol_switch.hpp"
#include "mpsched/xdp.hpp"

namespace mps {

using namespace fake;

namespace {

LogSink sink;

} // namespace

namespace fake {

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

PathStatus path_of(const std::string &name, std::uint32_t ifindex) {
    return {.name = name, .ifindex = ifindex, .attached = true, .attributes = {.weight = 3}};
}

} // namespace fake

namespace {

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

} // namespace

struct Instance::Impl {};

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

std::string_view to_string(Role role) { return role == Role::gateway ? "gateway" : "host"; }

Result<Role> parse_role(std::string_view text) { return text == "gateway" ? Role::gateway : Role::host; }

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

Result<std::map<std::uint32_t, XdpFeatures>> xdp_features(const std::string & /*netns*/) {
    return std::map<std::uint32_t, XdpFeatures>{{2, {"basic", "redirect"}}};
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

Result<void> Instance::follow(const std::function<void(const PathEvent &)> &on_event, int,
                              const FollowOptions &) {
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

Result<std::vector<CounterValue>> Instance::stats() const {
    return std::vector<CounterValue>{
        {.name = "seen", .text = "packets", .value = 1234567},
        {.name = "malformed", .text = "packets with impossible lengths", .value = 0}};
}

Result<std::vector<NetworkInterface>> Instance::interfaces(bool) const {
    return std::vector<NetworkInterface>{{.name = "wan0", .ifindex = 2, .type = "ethernet", .up = true}};
}

Result<std::vector<Link>> links(const Instance &) {
    return std::vector<Link>{
        {.name = "wan0", .ifindex = 2, .type = "ethernet", .carrier = true, .bit_s = 1'000'000'000},
        {.name = "lte0", .ifindex = 3, .type = "wwan", .carrier = false}};
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
Result<std::uint32_t> parse_probe_idle(std::string_view) { return 10; }

// There is no kernel.
struct ProtocolSwitch::Impl {};
ProtocolSwitch::ProtocolSwitch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProtocolSwitch::ProtocolSwitch(ProtocolSwitch &&) noexcept = default;
ProtocolSwitch &ProtocolSwitch::operator=(ProtocolSwitch &&) noexcept = default;
ProtocolSwitch::~ProtocolSwitch() = default;
Result<ProtocolSwitch> ProtocolSwitch::attach(const std::string &) {
    return fail(ErrorCode::unsupported, "this kernel lets no program choose the protocol of a socket");
}
int ProtocolSwitch::fd() const { return -1; }
ProtocolSwitch::Counts ProtocolSwitch::counts() const { return {}; }

} // namespace mps
