// SPDX-License-Identifier: MIT
//
// cc: congestion controls in the kernel, and who gets which.
#include <chrono>
#include <memory>

#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "commands/cc.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "mpsched/congestion.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Align;
using output::Paint;

Json user_json(const CongestionUser &user) {
    return {{"netns", user.netns},
            {"local", user.local},
            {"remote", user.remote},
            {"mptcp", user.mptcp},
            {"token", user.mptcp ? Json(fmt::format("{:08x}", user.token)) : Json()},
            {"uid", user.uid},
            {"cgroup", user.cgroup.empty() ? Json() : Json(user.cgroup)}};
}

Json control_json(const CongestionControl &control) {
    Json sockets = Json::array();
    for (const CongestionUser &user : control.sockets)
        sockets.push_back(user_json(user));
    return {{"name", control.name},
            {"state", control.state},
            {"users", control.users},
            {"sockets", std::move(sockets)}};
}

Json rule_json(const CongestionRule &rule) {
    return {{"name", rule.name},           {"selector", rule.selector.empty() ? Json() : Json(rule.selector)},
            {"plain_tcp", rule.plain_tcp}, {"given", rule.given},
            {"refused", rule.refused},     {"problem", rule.problem.empty() ? Json() : Json(rule.problem)}};
}

// "MPTCP connections with rport=443", "all other TCP and MPTCP connections"
std::string whom(const CongestionRule &rule) {
    const std::string kind = rule.plain_tcp ? "TCP and MPTCP connections" : "MPTCP connections";
    return rule.selector.empty() ? fmt::format("all other {}", kind)
                                 : fmt::format("{} with {}", kind, text::printable(rule.selector));
}

// ----------------------------------------------------------------------------------------------------- load, unload

Result<Reply> run_load(const Context &context, const std::vector<std::string> &names) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto done = load_congestion(*instance, names);
    MPS_TRY(done);
    Reply reply{.json = {{"loaded", done->loaded}, {"already", done->already}}, .text = {}};
    if (!done->loaded.empty())
        reply.text += fmt::format("loaded {}\n", text::join(done->loaded));
    if (!done->already.empty())
        reply.text += fmt::format("{} {} loaded already\n", text::join(done->already),
                                  done->already.size() == 1 ? "was" : "were");
    return reply;
}

struct UnloadOptions {
    std::vector<std::string> names;
    std::optional<std::string> drain;
};

Result<std::optional<std::chrono::milliseconds>> parse_drain(const std::optional<std::string> &text) {
    if (!text)
        return std::nullopt;
    const auto seconds = parse_number<std::uint32_t>(*text);
    if (!seconds || *seconds > 86400)
        return usage_error(fmt::format("'{}' is no number of seconds", text::printable(*text)),
                           "0..86400; --drain alone waits a minute");
    return std::chrono::seconds(*seconds);
}

Result<Reply> run_unload(const Context &context, const UnloadOptions &options) {
    const auto drain = parse_drain(options.drain);
    MPS_TRY(drain);
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto done = unload_congestion(*instance, options.names, *drain);
    MPS_TRY(done);
    Json left = Json::array();
    Reply reply{.json = {{"unloaded", done->unloaded}}, .text = {}};
    reply.text = done->unloaded.empty() ? "none of them was loaded\n"
                                        : fmt::format("unloaded {}\n", text::join(done->unloaded));
    for (const CongestionControl &one : done->left) {
        left.push_back(control_json(one));
        reply.warnings.push_back(
            fmt::format("{} goes when its last user does: there {} {}, as 'mpsched cc list' tells", one.name,
                        one.users == 1 ? "is" : "are", text::count(one.users, "user")));
    }
    reply.json["left"] = std::move(left);
    return reply;
}

// ----------------------------------------------------------------------------------------------------- list

std::string socket_line(const CongestionUser &user) {
    std::string line = fmt::format("    {} → {}  ", user.local, user.remote);
    line += user.mptcp ? fmt::format("subflow of {:08x}", user.token) : "plain TCP";
    line += fmt::format("  uid {}", user.uid);
    if (!user.cgroup.empty())
        line += "  " + text::printable(user.cgroup);
    if (!user.netns.empty())
        line += "  netns " + text::printable(user.netns);
    return line + "\n";
}

Result<Reply> run_list(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto controls = congestion_controls(*instance);
    MPS_TRY(controls);
    const auto rules = congestion_rules(*instance);
    MPS_TRY(rules);
    Json list = Json::array();
    std::string lines;
    for (const CongestionControl &one : *controls) {
        list.push_back(control_json(one));
        lines += fmt::format("{:<10}  {}{}\n", one.name, one.state,
                             one.state == "not loaded" ? "" : ", " + text::count(one.users, "user"));
        for (const CongestionUser &user : one.sockets)
            lines += socket_line(user);
    }
    lines += rules->empty() ? "no rules: 'mpsched cc use NAME' makes one\n"
                            : "rules\n" + congestion_rule_lines(*rules, context.style);
    return Reply{.json = {{"controls", std::move(list)}, {"rules", congestion_rules_json(*rules)}},
                 .text = lines};
}

// ----------------------------------------------------------------------------------------------------- use, unuse

struct UseOptions {
    std::string name;
    std::optional<std::string> selector;
    bool plain_tcp = false;
};

Result<void> refuse_empty(const std::optional<std::string> &selector) {
    if (selector && selector->empty())
        return usage_error("the selector is empty",
                           "without --for, all connections that no rule names are meant");
    return {};
}

Result<Reply> run_use(const Context &context, const UseOptions &options) {
    MPS_TRY(refuse_empty(options.selector));
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto used = use_congestion(
        *instance,
        {.name = options.name, .selector = options.selector.value_or(""), .plain_tcp = options.plain_tcp});
    MPS_TRY(used);
    Reply reply{.json = rule_json(used->rule), .text = {}};
    reply.json["before"] = used->before.empty() ? Json() : Json(used->before);
    reply.json["loaded"] = used->loaded;
    if (used->loaded)
        reply.text = fmt::format("loaded {}\n", used->rule.name);
    reply.text += fmt::format("{} now use {}{}\n", whom(used->rule), used->rule.name,
                              used->before.empty() ? "" : fmt::format(" (before: {})", used->before));
    if (used->rule.given)
        reply.text += fmt::format("given to {} that {} there\n", text::count(used->rule.given, "socket"),
                                  used->rule.given == 1 ? "was" : "were");
    if (used->rule.refused)
        reply.warnings.push_back(
            fmt::format("the kernel refused it to {}", text::count(used->rule.refused, "socket")));
    return reply;
}

struct UnuseOptions {
    std::optional<std::string> selector;
    bool all = false;
};

Result<Reply> run_unuse(const Context &context, const UnuseOptions &options) {
    if (options.all && options.selector)
        return usage_error("--all and --for exclude each other", "'mpsched cc list' shows the rules");
    MPS_TRY(refuse_empty(options.selector));
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto removed = unuse_congestion(
        *instance, options.all ? std::nullopt : std::optional(options.selector.value_or("")));
    MPS_TRY(removed);
    Reply reply{.json = {{"removed", congestion_rules_json(*removed)}}, .text = {}};
    for (const CongestionRule &rule : *removed)
        reply.text += fmt::format("{} have back what they had instead of {}\n", whom(rule), rule.name);
    if (removed->empty())
        reply.text = "there were no rules\n";
    return reply;
}

} // namespace

Json congestion_rules_json(const std::vector<CongestionRule> &rules) {
    Json all = Json::array();
    for (const CongestionRule &rule : rules)
        all.push_back(rule_json(rule));
    return all;
}

std::string congestion_rule_lines(const std::vector<CongestionRule> &rules, const output::Style &style) {
    output::Table table({{""}, {""}, {""}, {"", Align::left, true}});
    for (const CongestionRule &rule : rules) {
        std::string count = fmt::format("given to {}", text::count(rule.given, "socket"));
        if (rule.refused)
            count += fmt::format(", refused to {}", rule.refused);
        table.add({whom(rule), {rule.name, Paint::bold}, {count, Paint::dim}, {rule.problem, Paint::warn}});
    }
    return rules.empty() ? "" : table.render(style, 2);
}

void setup_cc_load(Binder &binder) {
    auto names = std::make_shared<std::vector<std::string>>();
    binder.argument("NAME", *names);
    binder.run([names](const Context &context) { return run_load(context, *names); });
}

void setup_cc_list(Binder &binder) {
    binder.run([](const Context &context) { return run_list(context); });
}

void setup_cc_use(Binder &binder) {
    auto options = std::make_shared<UseOptions>();
    binder.argument("NAME", options->name);
    binder.option("--for", options->selector);
    binder.flag("--plain-tcp", options->plain_tcp);
    binder.run([options](const Context &context) { return run_use(context, *options); });
}

void setup_cc_unuse(Binder &binder) {
    auto options = std::make_shared<UnuseOptions>();
    binder.option("--for", options->selector);
    binder.flag("--all", options->all);
    binder.run([options](const Context &context) { return run_unuse(context, *options); });
}

void setup_cc_unload(Binder &binder) {
    auto options = std::make_shared<UnloadOptions>();
    binder.argument("NAME", options->names);
    binder.option("--drain", options->drain);
    binder.run([options](const Context &context) { return run_unload(context, *options); });
}

} // namespace mps::cli
