// SPDX-License-Identifier: MIT
#include "json/documents.hpp"

#include <algorithm>
#include <sstream>

#include "mpsched/policy_names.hpp"
#include "json/reason_text.hpp"

namespace mps {

namespace {

// What the kernel has where nobody has set one.
constexpr std::uint32_t no_limit = 0xffffffff;

Json named(const std::string &name) { return name.empty() ? Json(nullptr) : Json(name); }

Json subflow_json(const SubflowStatus &one, const ConnectionStatus &connection) {
    return {{"id", one.id},
            {"ifname", one.ifname},
            {"ifindex", one.ifindex},
            {"local", one.local},
            {"remote", one.remote},
            {"state", one.tcp_state},
            {"verdict", verdict_of(one)},
            {"allowed", one.steerable ? Json(one.allowed) : Json(nullptr)},
            {"usable", one.usable},
            {"stale", one.stale},
            {"silent", one.silent},
            {"down", one.down},
            {"steerable", one.steerable},
            {"backup", one.backup},
            {"peer_backup", one.peer_backup},
            {"local_backup", one.local_backup},
            {"srtt_us", one.srtt_us},
            {"rttvar_us", one.rttvar_us},
            {"min_rtt_us", one.min_rtt_us},
            {"cwnd", one.cwnd},
            {"ssthresh", one.ssthresh},
            {"in_flight", one.in_flight},
            {"mss_bytes", one.mss_bytes},
            {"queued_bytes", one.queued_bytes},
            {"notsent_bytes", one.notsent_bytes},
            {"bytes_acked", one.bytes_acked},
            {"bytes_received", one.bytes_received},
            {"told", one.told},
            {"rx_allowed", one.rx_allowed},
            {"rx_ignored", one.rx_ignored},
            {"acked_bytes_s", one.acked_bytes_s ? Json(*one.acked_bytes_s) : Json(nullptr)},
            {"pacing_rate", one.pacing_rate},
            {"max_pacing_rate", one.max_pacing_rate >= no_limit ? Json(nullptr) : Json(one.max_pacing_rate)},
            {"notsent_lowat", one.notsent_lowat == 0 || one.notsent_lowat == no_limit
                                  ? Json(nullptr)
                                  : Json(one.notsent_lowat)},
            {"lost", one.lost},
            {"delivered", one.delivered},
            {"reason", reason_json(one, other_of(one, connection))}};
}

Json interface_json(const InterfaceStatus &one) {
    return {{"name", one.name},
            {"ifindex", one.ifindex},
            {"state", to_string(one.state)},
            {"mode", to_string(one.mode)},
            {"role", to_string(one.role)},
            {"tc_hook", one.tc_hook},
            {"layer3", one.layer3},
            {"xdp_prog_id", one.xdp_prog_id},
            {"tc_prog_id", one.tc_prog_id},
            {"out_prog_id", one.out_prog_id},
            {"weight", one.attributes.weight},
            {"priority", one.attributes.priority},
            {"cost", one.attributes.cost},
            {"energy", one.attributes.energy},
            {"use", one.attributes.use},
            {"problem", one.problem.empty() ? Json(nullptr) : Json(one.problem)}};
}

} // namespace

std::string json_text(const Json &document) {
    return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json param_values(const std::vector<Param> &params) {
    Json all = Json::object();
    for (const Param &param : params)
        all[param.name] = param.value;
    return all;
}

Json param_descriptions(const std::vector<Param> &params) {
    Json all = Json::array();
    for (const Param &param : params)
        all.push_back({{"name", param.name},
                       {"type", param.type},
                       {"value", param.value},
                       {"default", param.default_value},
                       {"min", param.min},
                       {"max", param.max},
                       {"unit", param.unit},
                       {"text", param.text}});
    return all;
}

std::string_view preset_of(const PolicyInfo &policy) {
    for (const Preset &preset : presets) {
        if (preset.policy != policy.name || !policy.builtin)
            continue;
        const bool same = std::ranges::all_of(policy.params, [&](const Param &param) {
            const auto said = std::ranges::find(preset.params, param.name, &Preset::Value::key);
            return param.value ==
                   (said == preset.params.end() ? param.default_value : std::int64_t{said->value});
        });
        if (same)
            return preset.name;
    }
    return {};
}

Json policy_json(const PolicyInfo &policy) {
    return {{"name", policy.name},
            {"preset", named(std::string(preset_of(policy)))},
            {"doc", policy.doc},
            {"builtin", policy.builtin},
            {"file", policy.file.empty() ? Json(nullptr) : Json(policy.file)},
            {"sha256", policy.sha256.empty() ? Json(nullptr) : Json(policy.sha256)},
            {"file_now", policy.file_now.empty() ? Json(nullptr) : Json(policy.file_now)},
            {"slot", policy.slot ? Json(*policy.slot) : Json(nullptr)},
            {"is_default", policy.is_default},
            {"is_rx_default", policy.is_rx_default},
            {"rx", policy.rx},
            {"kept", policy.kept},
            {"rules", policy.rules},
            {"connections", policy.connections},
            {"state_bytes", policy.state_bytes},
            {"aliases", policy.aliases},
            {"unsupported", policy.unsupported.empty() ? Json(nullptr) : Json(policy.unsupported)},
            {"params", param_values(policy.params)}};
}

Json finding_json(const Diagnosis &finding) {
    return {{"severity", finding.severity == Diagnosis::Severity::problem ? "problem" : "note"},
            {"id", finding.id},
            {"subject", finding.subject.empty() ? Json(nullptr) : Json(finding.subject)},
            {"what", finding.what},
            {"why", finding.why},
            {"next", finding.next}};
}

Json path_json(const PathStatus &path) {
    return {{"name", path.name},
            {"ifindex", path.ifindex},
            {"attached", path.attached},
            {"present", path.ifindex != 0},
            {"down", path.down},
            {"weight", path.attributes.weight},
            {"priority", path.attributes.priority},
            {"cost", path.attributes.cost},
            {"energy", path.attributes.energy},
            {"use", path.attributes.use},
            {"quota_bytes", path.attributes.quota_bytes ? Json(*path.attributes.quota_bytes) : Json(nullptr)},
            {"quota_period_s", path.attributes.quota_period_s},
            {"quota_then_bit_s", path.attributes.quota_then_bit_s},
            {"quota_used_bytes", path.quota_used_bytes},
            {"quota_left_bytes", path.attributes.quota_bytes
                                     ? Json(*path.attributes.quota_bytes -
                                            std::min(*path.attributes.quota_bytes, path.quota_used_bytes))
                                     : Json(nullptr)}};
}

Json status_json(const Status &status) {
    Json all{{"installed", status.installed},
             {"abi", status.abi},
             {"netns_cookie", status.netns_cookie},
             {"interfaces", Json::array()},
             {"default_policy", status.default_policy},
             {"default_slot", status.default_slot},
             {"rx_default_policy", status.rx_default_policy},
             {"rx_default_slot", status.rx_default_slot},
             {"policies", Json::array()},
             {"rules", Json::array()},
             {"new_only", status.new_only},
             {"paths", Json::array()},
             {"engine", param_values(status.engine)},
             {"connections", status.connections},
             {"max_connections", status.max_connections ? Json(status.max_connections) : Json(nullptr)},
             {"problems", status.problems},
             {"notes", status.notes}};
    for (const InterfaceStatus &one : status.interfaces)
        all["interfaces"].push_back(interface_json(one));
    for (const PolicyInfo &policy : status.policies)
        all["policies"].push_back(policy_json(policy));
    for (const RuleStatus &rule : status.rules)
        all["rules"].push_back({{"selector", rule.selector},
                                {"policy", named(rule.policy)},
                                {"slot", rule.slot},
                                {"rx_policy", named(rule.rx_policy)},
                                {"rx_slot", rule.rx_slot},
                                {"addresses", rule.addresses}});
    for (const PathStatus &path : status.paths)
        all["paths"].push_back(path_json(path));
    return all;
}

Json connection_json(const ConnectionStatus &connection) {
    Json one{
        {"token", connection.token},         {"policy", connection.policy},   {"slot", connection.slot},
        {"rx_policy", connection.rx_policy}, {"tracked", connection.tracked}, {"pending", connection.pending},
        {"plain_tcp", connection.plain},     {"forwarded", nullptr},          {"subflows", Json::array()}};
    for (const SubflowStatus &subflow : connection.subflows)
        one["subflows"].push_back(subflow_json(subflow, connection));
    return one;
}

namespace {

Json way_json(const ForwardedWay &way) {
    return {{"bytes", way.bytes},
            {"again_bytes", way.again_bytes},
            {"late_bytes", way.late_bytes},
            {"late_most", way.late_most},
            {"bytes_s", way.bytes_s ? Json(*way.bytes_s) : Json(nullptr)},
            {"srtt_us", way.srtt_us},
            {"rttvar_us", way.rttvar_us},
            {"min_rtt_us", way.min_rtt_us},
            {"backup", way.backup},
            {"allowed", way.allowed},
            {"told", way.told},
            {"ignored", way.ignored}};
}

} // namespace

Json forwarded_json(const ForwardedConnection &connection) {
    Json subflows = Json::array();
    for (const ForwardedSubflow &one : connection.subflows)
        subflows.push_back({{"id", one.id},
                            {"interface", one.ifname},
                            {"ifindex", one.ifindex},
                            {"initiator", one.initiator},
                            {"responder", one.responder},
                            {"idle_ms", one.idle_ms},
                            {"up", way_json(one.up)},
                            {"down", way_json(one.down)}});
    Json one = connection_json({.token = connection.initiator_token, .policy = "default", .tracked = true});
    one["forwarded"] = {{"responder_token", connection.responder_token},
                        {"up_policy", connection.up_policy},
                        {"down_policy", connection.down_policy},
                        {"subflows", std::move(subflows)}};
    return one;
}

Json option_rule_json(const OptionRule &rule) {
    const auto text = [](const std::string &one) { return one.empty() ? Json(nullptr) : Json(one); };
    const auto port = [](std::uint16_t number) { return number ? Json(number) : Json(nullptr); };
    return {{"interface", rule.interface},
            {"direction", rule.direction},
            {"option", rule.option},
            {"action", rule.action},
            {"state", text(rule.state)},
            {"local", text(rule.local)},
            {"lport", port(rule.local_port)},
            {"remote", text(rule.remote)},
            {"rport", port(rule.remote_port)},
            {"address", text(rule.address)},
            {"above", rule.above ? Json(*rule.above) : Json(nullptr)}};
}

Json option_rule_json(const OptionRuleStatus &rule, std::size_t place) {
    Json one = option_rule_json(rule.rule);
    one["rule"] = place;
    one["matched"] = rule.matched;
    one["changed"] = rule.changed;
    one["failed"] = rule.failed;
    one["problem"] = rule.problem.empty() ? Json(nullptr) : Json(rule.problem);
    return one;
}

Json stats_json(const std::vector<CounterValue> &counters) {
    Json all = Json::object();
    for (const CounterValue &counter : counters)
        all[std::string(counter.name)] = counter.value;
    return all;
}

Json attach_json(const AttachResult &result) {
    Json all{{"interfaces", Json::array()},
             {"policy", result.policy.empty() ? Json(nullptr) : Json(result.policy)},
             {"absent", result.absent}};
    for (const AttachedInterface &one : result.interfaces)
        all["interfaces"].push_back({{"name", one.name},
                                     {"ifindex", one.ifindex},
                                     {"mode", to_string(one.mode)},
                                     {"why", one.why},
                                     {"changed", one.changed}});
    return all;
}

Json detach_json(const DetachResult &result) {
    return {{"interfaces", result.interfaces}, {"removed_everything", result.removed_everything},
            {"restored", result.restored},     {"unrestored", result.unrestored},
            {"forgotten", result.forgotten},   {"option_rules", result.option_rules}};
}

Json use_json(const UseResult &result, const std::optional<std::string> &selector, bool new_only) {
    return {{"policy", result.policy},
            {"slot", result.slot},
            {"rx_policy", named(result.rx_policy)},
            {"previous", result.previous.empty() ? Json(nullptr) : Json(result.previous)},
            {"for", selector ? Json(*selector) : Json(nullptr)},
            {"new_only", new_only},
            {"params", param_values(result.params)},
            {"engine", param_values(result.engine)},
            {"also", result.also}};
}

Json set_json(const SetResult &result, const std::vector<Setting> &settings) {
    Json all{{"policy", result.policy},
             {"slot", result.slot},
             {"changed", Json::object()},
             {"params", param_values(result.params)},
             {"also", result.also}};
    for (const Param &param : result.params) {
        if (std::ranges::find(settings, param.name, &Setting::key) != settings.end())
            all["changed"][param.name] = param.value;
    }
    return all;
}

Json error_json(const Error &error) {
    Json all{{"what", error.what},
             {"hint", error.hint},
             {"code", static_cast<int>(error.code)},
             {"kind", to_string(error.kind)}};
    if (error.detail.empty())
        return all;
    std::istringstream lines(error.detail);
    for (std::string line; std::getline(lines, line);)
        all["detail"].push_back(line);
    return all;
}

} // namespace mps
