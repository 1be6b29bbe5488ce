// SPDX-License-Identifier: MIT
#include "observe/happenings.hpp"

#include <algorithm>
#include <tuple>

#include <fmt/format.h>

#include "mpsched/compare.hpp"

namespace mps {

namespace {

using Kind = Event::Kind;
using List = std::vector<Event>;

// A quota counts as nearly used up from so many percent on, and as used up when the kernel's next burst might exceed it: policies go no further.
constexpr std::uint64_t near_percent = 90;
constexpr std::uint64_t burst_bytes = 65536;

void find_addresses(const SeenLink &before, const SeenLink &now, List &events) {
    for (const std::string &address : before.addresses) {
        if (!now.addresses.contains(address))
            events.push_back({.kind = Kind::address_gone, .interface = now.name, .about = address});
    }
    for (const std::string &address : now.addresses) {
        if (!before.addresses.contains(address))
            events.push_back({.kind = Kind::address_new, .interface = now.name, .about = address});
    }
}

void find_links(const Seen &before, const Seen &now, List &events) {
    for (const auto &[ifindex, link] : before.links) {
        if (!now.links.contains(ifindex))
            events.push_back({.kind = Kind::link_gone, .interface = link.name});
    }
    for (const auto &[ifindex, link] : now.links) {
        const auto earlier = before.links.find(ifindex);
        if (earlier == before.links.end()) {
            events.push_back({.kind = Kind::link_new, .interface = link.name});
            if (link.up)
                events.push_back({.kind = Kind::link_up, .interface = link.name});
            find_addresses({}, link, events);
            continue;
        }
        if (earlier->second.name != link.name)
            events.push_back({.kind = Kind::link_renamed,
                              .interface = link.name,
                              .before = earlier->second.name,
                              .now = link.name});
        if (earlier->second.up != link.up)
            events.push_back({.kind = link.up ? Kind::link_up : Kind::link_down, .interface = link.name});
        find_addresses(earlier->second, link, events);
    }
}

std::string quota_text(const std::optional<std::uint64_t> &bytes) {
    return bytes ? fmt::to_string(*bytes) : "none";
}

void find_attributes(const PathStatus &before, const PathStatus &now, List &events) {
    const auto compare = [&](std::string_view name, const std::string &was, const std::string &is) {
        if (was != is)
            events.push_back({.kind = Kind::path_changed,
                              .interface = now.name,
                              .about = std::string(name),
                              .before = was,
                              .now = is});
    };
    const PathAttributes &was = before.attributes, &is = now.attributes;
    compare("weight", fmt::to_string(was.weight), fmt::to_string(is.weight));
    compare("priority", fmt::to_string(was.priority), fmt::to_string(is.priority));
    compare("cost", fmt::to_string(was.cost), fmt::to_string(is.cost));
    compare("energy", was.energy, is.energy);
    compare("use", was.use, is.use);
    compare("quota", quota_text(was.quota_bytes), quota_text(is.quota_bytes));
    compare("quota_period", fmt::to_string(was.quota_period_s), fmt::to_string(is.quota_period_s));
}

// 0: there is room, 1: nearly used up, 2: used up.
int fullness(const PathStatus &path) {
    if (!path.attributes.quota_bytes)
        return 0;
    const std::uint64_t quota = *path.attributes.quota_bytes, used = path.quota_used_bytes;
    if (used >= quota || (quota > burst_bytes && quota - used < burst_bytes))
        return 2;
    return used >= quota / 100 * near_percent ? 1 : 0;
}

void find_quota(const PathStatus &before, const PathStatus &now, List &events) {
    if (!now.attributes.quota_bytes)
        return;
    Event event{.interface = now.name,
                .about = fmt::to_string(*now.attributes.quota_bytes),
                .before = fmt::to_string(before.quota_used_bytes),
                .now = fmt::to_string(now.quota_used_bytes)};
    const bool same_quota = before.attributes.quota_bytes.has_value();
    if (same_quota && now.quota_used_bytes < before.quota_used_bytes) {
        event.kind = Kind::quota_anew;
        events.push_back(event);
    }
    if (fullness(now) > (same_quota ? fullness(before) : 0)) {
        event.kind = fullness(now) == 2 ? Kind::quota_used_up : Kind::quota_near;
        events.push_back(event);
    }
}

void find_paths(const SeenInstallation &before, const SeenInstallation &now, List &events) {
    for (const auto &[name, path] : before.paths) {
        if (path.attached && !now.paths.contains(name))
            events.push_back({.kind = Kind::detached, .interface = name});
    }
    for (const auto &[name, path] : now.paths) {
        const auto found = before.paths.find(name);
        const PathStatus earlier = found == before.paths.end() ? PathStatus{.name = name} : found->second;
        if (earlier.attached != path.attached)
            events.push_back({.kind = path.attached ? Kind::attached : Kind::detached, .interface = name});
        if (earlier.down != path.down)
            events.push_back({.kind = path.down ? Kind::path_down : Kind::path_up, .interface = name});
        find_attributes(earlier, path, events);
        find_quota(earlier, path, events);
    }
}

std::string policies_of(const RuleStatus &rule) {
    if (rule.rx_policy.empty() || rule.rx_policy == rule.policy)
        return rule.policy;
    return fmt::format("{}, what peers send: {}", rule.policy.empty() ? "as others say" : rule.policy,
                       rule.rx_policy);
}

void find_rules(const SeenInstallation &before, const SeenInstallation &now, List &events) {
    for (const RuleStatus &rule : before.rules) {
        if (std::ranges::find(now.rules, rule.selector, &RuleStatus::selector) == now.rules.end())
            events.push_back({.kind = Kind::rule_gone, .about = rule.selector, .before = policies_of(rule)});
    }
    for (const RuleStatus &rule : now.rules) {
        const auto earlier = std::ranges::find(before.rules, rule.selector, &RuleStatus::selector);
        if (earlier == before.rules.end())
            events.push_back({.kind = Kind::rule_new, .about = rule.selector, .now = policies_of(rule)});
        else if (policies_of(*earlier) != policies_of(rule))
            events.push_back({.kind = Kind::rule_changed,
                              .about = rule.selector,
                              .before = policies_of(*earlier),
                              .now = policies_of(rule)});
    }
}

void find_policies(const SeenInstallation &before, const SeenInstallation &now, List &events) {
    if (before.policy != now.policy)
        events.push_back({.kind = Kind::policy, .before = before.policy, .now = now.policy});
    if (before.rx_policy != now.rx_policy)
        events.push_back({.kind = Kind::rx_policy, .before = before.rx_policy, .now = now.rx_policy});
    find_rules(before, now, events);
}

Kind kind_of(Change::Kind kind) {
    switch (kind) {
    case Change::Kind::connection_begun:
        return Kind::connection_begun;
    case Change::Kind::connection_ended:
        return Kind::connection_ended;
    case Change::Kind::subflow_joined:
        return Kind::subflow_joined;
    case Change::Kind::subflow_left:
        return Kind::subflow_left;
    case Change::Kind::policy:
        return Kind::connection_policy;
    case Change::Kind::failover:
        return Kind::failover;
    case Change::Kind::verdict:
        break;
    }
    return Kind::verdict;
}

// A path that is lost takes many connections along: one event for those that go the same way.
void add_failover(const Change &change, List &events) {
    const auto same = std::ranges::find_if(events, [&](const Event &one) {
        return one.kind == Kind::failover && one.interface == change.interface && one.now == change.now &&
               one.why == change.why;
    });
    if (same == events.end()) {
        events.push_back({.kind = Kind::failover,
                          .interface = change.interface,
                          .token = change.token,
                          .subflow = change.subflow,
                          .now = change.now,
                          .why = change.why,
                          .connections = 1});
        return;
    }
    same->connections++;
    same->token.reset();
    same->subflow.reset();
}

void find_changes(const SeenInstallation &before, const SeenInstallation &now, List &events) {
    for (const Change &change : changes_between(before.connections, now.connections)) {
        if (change.kind == Change::Kind::failover)
            add_failover(change, events);
        else
            events.push_back({.kind = kind_of(change.kind),
                              .interface = change.interface,
                              .token = change.token,
                              .subflow = change.subflow,
                              .now = change.now});
    }
}

} // namespace

std::vector<Event> events_between(const Seen &before, const Seen &now) {
    List events;
    find_links(before, now, events);
    const SeenInstallation &was = before.installation, &is = now.installation;
    if (is.installed && !was.installed)
        events.push_back({.kind = Kind::installed});
    find_paths(was, is, events);
    if (is.installed && was.installed)
        find_policies(was, is, events);
    else if (is.installed)
        find_policies({.policy = "default", .rx_policy = "default"}, is, events);
    find_changes(was, is, events);
    if (was.installed && !is.installed)
        events.push_back({.kind = Kind::removed});
    return events;
}

} // namespace mps
