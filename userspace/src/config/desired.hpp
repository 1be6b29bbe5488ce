// SPDX-License-Identifier: MIT
//
// What mpsched.toml asks for, checked: every value has been through the parser that the command line uses.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/sections.hpp"
#include "http/address.hpp"
#include "mpsched/applications.hpp"
#include "mpsched/check.hpp"
#include "mpsched/congestion.hpp"
#include "mpsched/instance.hpp"
#include "mpsched/spread.hpp"

namespace mps::config {

// What `quota_period` says.
struct Period {
    std::uint32_t seconds = 0; // 0: none
    std::uint32_t month_day =
        0; // 1..31: months that begin on this day; `seconds` are then those of the longest month
};

// One [[interface]].
struct InterfaceWish {
    Position at{};
    std::vector<std::string> names{}; // or patterns
    std::string type{};               // "": any
    std::optional<bool> default_route{};
    std::optional<bool> metered{};
    std::optional<bool> attach{};
    std::optional<Mode> mode{};
    std::optional<Role> role{};
    PathChange attributes{};
    std::optional<Period> period{};

    // By its name alone.
    [[nodiscard]] bool names_it(const std::string &name) const;
    [[nodiscard]] bool matches(const NetworkInterface &interface, bool is_metered) const;
    // Names that are no patterns and need nothing but the interface's being there: these can be waited for.
    [[nodiscard]] std::vector<std::string> plain_names() const;
    // "wwan*", or "eth*, en*".
    [[nodiscard]] std::string text() const;
};

struct PolicyWish {
    Position at{};
    std::string policy = "auto"; // as it was written; a file with its whole path
    std::vector<Setting> settings{};
    CheckedPolicy checked{};
};

// As rx_policy of a rule: it decides nothing about what peers send.
inline constexpr std::string_view left_open = "open";

// What decides about both directions, for [default] or one [[rule]].
struct UseWish {
    PolicyWish tx{};
    bool tx_open = false; // a rule that leaves what this host sends to later ones; `tx` means nothing
    std::optional<PolicyWish> rx{}; // for what peers send; without: `tx`, as far as it has a rule for that
    bool rx_open = false;           // a rule that leaves what peers send to later ones
};

struct RuleWish {
    std::string selector{};
    UseWish use{};
};

struct OptionRuleWish {
    Position at{};
    OptionRule rule{};
};

// [metrics]
struct MetricsWish {
    http::Address listen{};
    bool programs = false;
};

struct CongestionWish {
    Position at{};
    CongestionUse use{};
};

// [spread]
struct SpreadWish {
    Position at{};
    std::vector<std::string> interfaces{};
    SpreadMap map{};
    bool moves = true;
};

// One of [kernel].
struct KernelSetting {
    std::string name{}; // "net.mptcp.stale_loss_cnt"
    std::string value{};

    friend bool operator==(const KernelSetting &, const KernelSetting &) = default;
};

struct ApplicationWish {
    Position at{};
    ApplicationGrant grant{};
};

// What one interface is to be like: all [[interface]] that it matches, together.
struct PathWish {
    std::string name{};
    std::uint32_t ifindex = 0; // 0: it is not there
    bool attach = true;
    Mode mode = Mode::automatic;
    Role role = Role::host;
    PathAttributes attributes{};
    Period period{};
};

// A file that was read.
struct Source {
    std::string path{};
    std::string contents{};
};

struct Desired {
    std::string revision{}; // of all files together; "" where nothing was read
    std::vector<Source> sources{};
    std::string max_connections{};
    UseWish fallback{};
    std::vector<Param> engine{};
    std::vector<InterfaceWish> interfaces{};
    std::vector<RuleWish> rules{};
    std::vector<OptionRuleWish> option_rules{};
    std::vector<CongestionWish> congestion{};
    std::optional<SpreadWish> spread{};
    std::optional<MetricsWish> metrics{};
    std::optional<http::Address> web{}; // where the page is served
    std::vector<KernelSetting> kernel{};
    bool close_silent = false; // as FollowOptions has them
    std::uint32_t probe_idle_s = 0;
    std::vector<ApplicationWish> applications{};
    // The files say nothing at all: then nothing is managed.
    bool empty = true;
    // Not of the files: the interfaces that are called metered now, as who asks for it has heard.
    std::set<std::string> metered{};

    // Their names.
    [[nodiscard]] std::vector<std::string> files() const;
    [[nodiscard]] std::vector<OptionRule> option_rule_list() const;
    [[nodiscard]] bool asks_for_routes() const;
    [[nodiscard]] bool asks_for_metered() const;
    // nullopt: no [[interface]] is for it.
    [[nodiscard]] std::optional<PathWish> path(const NetworkInterface &interface) const;
    // Whether that [[interface]] is for it.
    [[nodiscard]] bool matches(const InterfaceWish &wish, const NetworkInterface &interface) const {
        return wish.matches(interface, metered.contains(interface.name));
    }
    // All interfaces that there are, and plain names that there are not.
    [[nodiscard]] std::vector<PathWish> paths(const std::vector<NetworkInterface> &interfaces) const;
};

// Mistakes go to `problems`, all of them; what comes back is complete where there are none.
[[nodiscard]] Desired build(const std::vector<File> &files, std::vector<Problem> &problems);

// The set of files at `path`, or the error that names file, line and column.
[[nodiscard]] Result<Desired> load(const std::string &path);
// As if `contents` stood in the file; drop-ins are as they are.
[[nodiscard]] Result<Desired> load(const std::string &path, const std::string &contents);

} // namespace mps::config
