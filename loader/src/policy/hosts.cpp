// SPDX-License-Identifier: MIT
#include "policy/hosts.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <bpf/bpf.h>

#include "base/try.hpp"
#include "instance_impl.hpp"
#include "policy/names.hpp"

namespace mps {

namespace {

using namespace std::chrono_literals;

// getaddrinfo() tells no time to live; that of large services is about a minute.
constexpr auto look_again = 30s;
constexpr auto look_again_after_failure = 5s;
constexpr std::uint32_t kept_s = 3600;

std::uint32_t now_s() { return static_cast<std::uint32_t>(boottime_ns() / 1'000'000'000); }

std::vector<mps_host_address> all_entries(int map) {
    std::vector<mps_host_address> keys;
    mps_host_address key{};
    const void *previous = nullptr;
    // As in all_keys(): the bound is for a key that is deleted under our feet.
    while (keys.size() < MPS_MAX_HOST_ADDRESSES && !bpf_map_get_next_key(map, previous, &key)) {
        keys.push_back(key);
        previous = &keys.back();
    }
    return keys;
}

HostAddress address_of(const mps_host_address &key) {
    HostAddress address;
    std::copy(std::begin(key.address), std::end(key.address), address.begin());
    return address;
}

} // namespace

KnownHost known_host(const Pins &pins, std::uint64_t digest) {
    KnownHost known;
    const int map = pins.map(MPS_MAP_HOSTS);
    for (const mps_host_address &key : all_entries(map)) {
        std::uint32_t seen_s = 0;
        if (key.host != digest || bpf_map_lookup_elem(map, &key, &seen_s))
            continue;
        known.addresses.push_back(address_of(key));
        known.seen_s = std::max(known.seen_s, seen_s);
    }
    std::ranges::sort(known.addresses);
    return known;
}

Result<bool> remember_host(const Pins &pins, std::uint64_t digest,
                           const std::vector<HostAddress> &addresses) {
    const int map = pins.map(MPS_MAP_HOSTS);
    const std::uint32_t now = now_s();
    bool changed = false;
    for (const mps_host_address &key : all_entries(map)) {
        std::uint32_t seen_s = 0;
        if (key.host != digest || std::ranges::find(addresses, address_of(key)) != addresses.end() ||
            bpf_map_lookup_elem(map, &key, &seen_s) || now - seen_s < kept_s)
            continue;
        changed |= !bpf_map_delete_elem(map, &key);
    }
    for (const HostAddress &address : addresses) {
        mps_host_address key{.host = digest, .address = {}};
        std::ranges::copy(address, key.address);
        std::uint32_t before = 0;
        changed |= bpf_map_lookup_elem(map, &key, &before) != 0;
        if (bpf_map_update_elem(map, &key, &now, BPF_ANY))
            return errno == E2BIG ? fail(ErrorKind::full, "the table of hosts' addresses is full",
                                         "'mpsched unuse' a rule with host=, or use remote=PREFIX")
                                  : std::unexpected(system_error(errno, "writing the map " MPS_MAP_HOSTS));
    }
    return changed;
}

void forget_other_hosts(const Pins &pins, const std::vector<mps_rule> &rules) {
    const int map = pins.map(MPS_MAP_HOSTS);
    for (const mps_host_address &key : all_entries(map)) {
        const bool named = std::ranges::any_of(rules, [&](const mps_rule &rule) {
            return (rule.fields & MPS_RULE_HOST) && rule.host == key.host;
        });
        if (!named)
            (void)bpf_map_delete_elem(map, &key);
    }
}

bool HostFollower::has_news(const std::vector<mps_rule> &rules) {
    std::set<std::string> named;
    for (const mps_rule &rule : rules)
        if (rule.fields & MPS_RULE_HOST)
            named.insert(rule.host_name);
    std::erase_if(due_, [&](const auto &one) { return !named.contains(one.first); });
    const auto now = Clock::now();
    for (const std::string &name : named) {
        // At once what is new to us.
        if (asked_.contains(name) || (due_.contains(name) && due_[name] > now))
            continue;
        due_[name] = now;
        asked_.emplace(name, Lookup(name));
    }
    return std::ranges::any_of(asked_, [](const auto &one) { return one.second.ready(); });
}

Result<void> HostFollower::write(Session &session) {
    const auto rules = session.slots().rules();
    MPS_TRY(rules);
    bool changed = false;
    for (auto at = asked_.begin(); at != asked_.end();) {
        if (!at->second.ready()) {
            ++at;
            continue;
        }
        const std::string name = at->first;
        const auto answer = at->second.wait(0ms);
        at = asked_.erase(at);
        due_[name] = Clock::now() + (answer ? look_again : look_again_after_failure);
        const auto rule = std::ranges::find_if(*rules, [&](const mps_rule &one) {
            return (one.fields & MPS_RULE_HOST) && name == one.host_name;
        });
        if (!answer || rule == rules->end())
            continue;
        const auto news = remember_host(session.pins, rule->host, *answer);
        MPS_TRY(news);
        changed |= *news;
    }
    if (!changed)
        return {};
    // Connections are matched anew, unless they were to keep what they had.
    return session.config.update([](mps_config &c) {
        if (!(c.flags & MPS_CONFIG_NEW_ONLY))
            c.choice += std::uint64_t{1} << 32;
    });
}

} // namespace mps
