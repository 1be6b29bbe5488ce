// SPDX-License-Identifier: MIT

#include "config/keys.hpp"

#include <algorithm>
#include <array>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "mpsched/option_rule_words.hpp"
#include "mpsched/path_limits.hpp"

namespace mps::config {

namespace {

constexpr std::array<std::string_view, 12> types{"ethernet", "wifi", "wwan",   "ppp",    "veth",      "vlan",
                                                 "bond",     "team", "bridge", "ipvlan", "wireguard", "tun"};

std::string words(std::span<const OptionRuleWord> list) {
    std::string all;
    for (const OptionRuleWord &one : list)
        all += fmt::format("{}{}", all.empty() ? "" : ", ", one.word);
    return all;
}

std::string range(const PathLimit &limit) { return fmt::format("{}..{}", limit.least, limit.most); }

} // namespace

std::span<const std::string_view> interface_types() { return types; }

std::span<const PartText> parts() {
    static const std::vector<PartText> all{
        {Part::top, "", "", false, "What stands before the first heading."},
        {Part::fallback, "[default]", "default", false,
         "What all connections use that no rule names. Without it: policy auto."},
        {Part::engine, "[engine]", "engine", false, "Parameters that belong to no policy."},
        {Part::interface, "[[interface]]", "interface", true,
         "Interfaces that are to be attached, and what policies know of them. May stand several times: of all that an "
         "interface matches, the later ones decide, key by key."},
        {Part::rule, "[[rule]]", "rule", true,
         "Connections that are to have another policy. Tried in this order, the first that matches decides. One with the same "
         "'for' in a later file takes the place of the earlier one."},
        {Part::option_rule, "[[option_rule]]", "option_rule", true,
         "What becomes of MPTCP options on an interface, as rule add has it. Tried in this order, that of the files by name; the first "
         "that matches decides. Rules that are not in the files go with the next reload."},
        {Part::congestion, "[[congestion]]", "congestion", true,
         "Which subflows have which congestion control, as cc use has it. Tried in this order, the first that matches decides; that without "
         "'for' comes last. Rules that are not in the files go with the next reload."},
        {Part::spread, "[spread]", "spread", false,
         "Interfaces whose subflows are placed on different paths of equal cost, as spread on has it."},
        {Part::metrics, "[metrics]", "metrics", false,
         "What mpschedd serves to Prometheus, at http://ADDRESS/metrics. Without it: nothing. It manages nothing: files with nothing "
         "else in them still leave everything as it is."},
        {Part::web, "[web]", "web", false,
         "A page that mpschedd serves to a browser on this machine: what 'mpsched top' shows, and with a token that 'mpsched web' tells "
         "root, another policy and other weights. Without it: nothing. It manages nothing either."},
        {Part::kernel, "[kernel]", "kernel", false,
         "Settings of the kernel that decide how quickly a lost path is left and how quickly one goes on after a pause, for the network "
         "namespace. What is not said is left alone; when it is not said any more, and when mpschedd ends, the kernel has what it had before."},
        {Part::failover, "[failover]", "failover", false,
         "What mpschedd does about paths that are lost, beyond what policies do. It manages nothing either."},
        {Part::application, "[[application]]", "application", true,
         "Cgroups whose applications may choose for their own connections, as app attach has it."},
    };
    return all;
}

std::span<const Key> keys() {
    static const std::string directions = words(option_rule_directions);
    static const std::string options = words(option_rule_options);
    static const std::string actions = words(option_rule_actions);
    static const std::string states = fmt::format("{}", fmt::join(option_rule_states, ", "));
    constexpr std::string_view prefix = "192.0.2.1, 192.0.2.0/24, 2001:db8::/32";
    static const std::string uses = fmt::format("{}", fmt::join(use_names, ", "));
    static const std::string energies = fmt::format("{}", fmt::join(energy_names, ", "));
    static const std::string type_names = fmt::format("{}", fmt::join(types, ", "));
    static const std::string weight = range(path_weight);
    static const std::string priority = range(path_priority);
    static const std::string cost = range(path_cost);
    constexpr bool required = true;
    constexpr bool optional = false;
    static const std::vector<Key> all{
        {Part::top, "version", Form::amount, required, "1", "the format of the file"},
        {Part::top, "max_connections", Form::amount, optional, "as attach --max-connections has it",
         "room for so many connections of several subflows; counts when the first interface is attached"},
        {Part::fallback, "policy", Form::text, required, "a policy's name, or the path of an object file",
         "what all connections use"},
        {Part::fallback, "set", Form::settings, optional, "parameters of that policy",
         "those that are not named have their defaults"},
        {Part::fallback, "rx_policy", Form::text, optional, "a policy with a rule for what peers send",
         "what decides about what peers send; without it 'policy', or the peers' kernels where that has no such rule"},
        {Part::fallback, "rx_set", Form::settings, optional, "parameters of rx_policy",
         "those that are not named have their defaults"},
        {Part::engine, "dwell_us", Form::amount, optional, "0..10000000",
         "the least time between two edits of one subflow's backup bit"},
        {Part::interface, "name", Form::texts, required, "a name or a pattern (* ? [a-z]), or a list of them",
         "which interfaces; one that is not there is waited for. Patterns do not match loopback"},
        {Part::interface, "type", Form::text, optional, type_names, "only interfaces of this type"},
        {Part::interface, "default_route", Form::flag, optional, "true, false",
         "only interfaces over which a default route leads, or none"},
        {Part::interface, "metered", Form::flag, optional, "true, false",
         "only interfaces that NetworkManager calls metered, or none of these; see docs/service.md"},
        {Part::interface, "attach", Form::flag, optional, "true, false",
         "false: only set its attributes, and leave it alone; default true"},
        {Part::interface, "mode", Form::text, optional, "auto, native, generic, tc",
         "the hook; default auto"},
        {Part::interface, "role", Form::text, optional, "host, gateway",
         "gateway: connections of other hosts that pass, see docs/gateway.md; default host"},
        {Part::interface, "weight", Form::amount, optional, weight,
         "share of the bytes, relative to the other paths; default 1"},
        {Part::interface, "priority", Form::amount, optional, priority, "lower is preferred; default 0"},
        {Part::interface, "cost", Form::amount, optional, cost,
         "money per byte in a unit of your own; default 0"},
        {Part::interface, "energy", Form::text, optional, energies, "kind of radio; default none"},
        {Part::interface, "use", Form::text, optional, uses,
         "never: no policy uses it while a connection has anything else; default policy"},
        {Part::interface, "quota", Form::amount, optional, "none, or bytes: 10000000, \"5GB\", \"5GiB\"",
         "what it may carry in a period; default none"},
        {Part::interface, "quota_then", Form::amount, optional, "none, or a rate: \"256kbit\", \"1.5Mbit\"",
         "what it may carry in the mean once the quota is used up; default none"},
        {Part::interface, "quota_period", Form::amount, optional, "none, month, or a time: \"24h\", \"30d\"",
         "after which the count starts over; default none"},
        {Part::interface, "quota_day", Form::amount, optional, "1..31",
         "day on which a month begins, at midnight; in shorter months the last one; default 1"},
        {Part::rule, "for", Form::text, required, "a selector, as use --for has it", "which connections"},
        {Part::rule, "policy", Form::text, optional, "a policy's name, or the path of an object file",
         "what they use; without it (and with rx_policy) later rules decide about what this host sends"},
        {Part::rule, "set", Form::settings, optional, "parameters of that policy",
         "those that are not named have their defaults"},
        {Part::rule, "rx_policy", Form::text, optional, "as in [default], or \"open\"",
         "what decides about what their peers send; open: later rules do, and [default]"},
        {Part::rule, "rx_set", Form::settings, optional, "parameters of rx_policy",
         "those that are not named have their defaults"},
        {Part::rule, "enabled", Form::flag, optional, "true, false",
         "false: there is no such rule, whatever an earlier file says; default true"},
        {Part::option_rule, "interface", Form::text, required, "a name",
         "which interface; one that is not there is waited for"},
        {Part::option_rule, "direction", Form::text, required, directions, "what arrives, or what leaves"},
        {Part::option_rule, "option", Form::text, required, options, "the option"},
        {Part::option_rule, "action", Form::text, required, actions, "what becomes of it"},
        {Part::option_rule, "state", Form::texts, optional, states, "only in these packets of a connection"},
        {Part::option_rule, "local", Form::text, optional, prefix, "only of this address of this host"},
        {Part::option_rule, "remote", Form::text, optional, prefix, "only of this address of the peer"},
        {Part::option_rule, "lport", Form::amount, optional, "1..65535", "only of this port of this host"},
        {Part::option_rule, "rport", Form::amount, optional, "1..65535", "only of this port of the peer"},
        {Part::option_rule, "above", Form::amount, optional, "0..16",
         "mp_join: only in the SYNs of joins beyond the first so many of a connection"},
        {Part::option_rule, "address", Form::text, optional, prefix,
         "only where add_addr announces this address"},
        {Part::congestion, "control", Form::text, required,
         "mps_lia, mps_olia, mps_balia, or any of the kernel",
         "the congestion control; one of ours is loaded if it is not"},
        {Part::congestion, "for", Form::text, optional, "a selector, as cc use --for has it",
         "which connections; without it all that no other rule names"},
        {Part::congestion, "plain_tcp", Form::flag, optional, "true, false",
         "true: also TCP without MPTCP; default false"},
        {Part::spread, "interfaces", Form::texts, required, "names",
         "which interfaces; one that is not there is waited for"},
        {Part::spread, "map", Form::text, optional, "the path of a file, as spread probe --save writes it",
         "which labels or ports take which path"},
        {Part::spread, "routes", Form::texts, optional, "lines of such a file", "the same without a file"},
        {Part::spread, "move", Form::flag, optional, "true, false",
         "false: subflows keep their label for life; default true"},
        {Part::metrics, "listen", Form::text, required,
         "an address and a port: \"127.0.0.1:9464\", \"[::1]:9464\"",
         "where, in the network namespace in which mpschedd itself runs"},
        {Part::metrics, "remote", Form::flag, optional, "true, false",
         "true: 'listen' may be another address than loopback's, and whoever reaches it reads what is served; default false"},
        {Part::metrics, "programs", Form::flag, optional, "true, false",
         "true: the kernel measures what BPF programs cost, all of the machine: two readings of the clock for each run; default false"},
        {Part::web, "listen", Form::text, required,
         "an address of loopback and a port: \"127.0.0.1:9465\", \"[::1]:9465\"",
         "where, in the network namespace in which mpschedd itself runs; for other machines there is ssh -L"},
        {Part::kernel, "stale_loss_cnt", Form::amount, optional, "0..1000",
         "net.mptcp.stale_loss_cnt: how many retransmission intervals of MPTCP without progress make a subflow stale; the kernel has 4, less "
         "leaves a lost path earlier and a slow one, too; 0 never"},
        {Part::failover, "close_silent", Form::flag, optional, "true, false",
         "true: subflows of a path that went silent are closed by removing its MPTCP endpoint, so that what they had under way is sent again at once; "
         "it is added again until the path answers. Default false"},
        {Part::failover, "probe_idle_s", Form::amount, optional, "1..3600",
         "a path over which nothing went for so many seconds is probed, one packet and its answer, so that one that died in a pause is avoided before it is needed; "
         "a path with a cost or a quota every 10 s at most. Default: never"},
        {Part::kernel, "slow_start_after_idle", Form::flag, optional, "true, false",
         "net.ipv4.tcp_slow_start_after_idle: false lets all TCP go on after a pause with the window it had, which is a burst into a path "
         "that may have changed"},
        {Part::application, "cgroup", Form::text, required,
         "a path, below the mount point of cgroup v2 or whole",
         "which cgroup; one that is not there is waited for"},
        {Part::application, "policies", Form::texts, optional, "names of policies",
         "those that may be chosen; without it none"},
        {Part::application, "max_cost", Form::amount, optional, cost,
         "connections whose application has chosen something use no dearer interface; default any"},
    };
    return all;
}

const PartText &part_text(Part part) { return *std::ranges::find(parts(), part, &PartText::part); }

const Key *find_key(Part part, std::string_view name) {
    const auto all = keys();
    const auto found =
        std::ranges::find_if(all, [&](const Key &key) { return key.part == part && key.name == name; });
    return found == all.end() ? nullptr : &*found;
}

std::vector<std::string> key_names(Part part) {
    std::vector<std::string> names;
    for (const Key &key : keys())
        if (key.part == part)
            names.emplace_back(key.name);
    if (part == Part::top)
        for (const PartText &text : parts())
            if (!text.name.empty())
                names.emplace_back(text.name);
    return names;
}

std::string_view example() {
    return R"(version = 1

[default]
policy = "overflow"

[[interface]]
name = ["eth*", "en*"]
type = "ethernet"
default_route = true

[[interface]]
name = "wwan*"
priority = 1
cost = 20
energy = "lte"
quota = "5GB"
quota_period = "month"
quota_day = 15

[[rule]]
for = "rport=443"
policy = "weighted"
set = { lead_bytes = "16Ki" }

[[option_rule]]
interface = "wwan0"
direction = "in"
option = "add_addr"
action = "neutralise"
address = "10.0.0.0/8"

[[congestion]]
control = "mps_balia"
for = "rport=443"

[spread]
interfaces = ["eth1"]
routes = ["label any 2001:db8::/32 1:5 2:6"]

[metrics]
listen = "127.0.0.1:9464"

[web]
listen = "127.0.0.1:9465"

[kernel]
stale_loss_cnt = 1
slow_start_after_idle = true

[failover]
close_silent = true
probe_idle_s = 10

[[application]]
cgroup = "user.slice"
policies = ["active-standby", "weighted"]
max_cost = 20
)";
}

} // namespace mps::config
