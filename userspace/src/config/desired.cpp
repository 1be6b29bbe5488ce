// SPDX-License-Identifier: MIT

#include "config/desired.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "codec/sha256.hpp"
#include "config/kernel_wishes.hpp"
#include "mpsched/nearest.hpp"
#include "mpsched/option_rule_words.hpp"
#include "mpsched/path_limits.hpp"
#include "mpsched/policy_names.hpp"

namespace mps::config {

namespace {

constexpr std::uint32_t longest_month_s = 31 * 86'400;

bool is_pattern(const std::string &name) { return name.find_first_of("*?[") != name.npos; }

class Builder {
  public:
    explicit Builder(std::vector<Problem> &problems) : problems_(problems) {}

    void add(const File &file);
    Desired finish() {
        if (!has_fallback_)
            set_policy(desired_.fallback.tx, {}, "policy", "set");
        if (desired_.engine.empty())
            desired_.engine = engine_params();
        return std::move(desired_);
    }

  private:
    void complain(const Position &at, std::string what, std::string hint) {
        problems_.push_back({at, std::move(what), std::move(hint)});
    }
    void complain(const Position &at, const Error &error) { complain(at, error.what, error.hint); }

    void add_failover(const Section &section);
    void add_top(const Section &section);
    void add_fallback(const Section &section);
    void add_engine(const Section &section);
    void add_interface(const Section &section);
    void add_rule(const Section &section);
    void add_option_rule(const Section &section);
    http::Address listen_address(const Section &section);
    void add_application(const Section &section);
    void add_names(const Entry &entry, InterfaceWish &wish);
    void add_attribute(const Entry &entry, InterfaceWish &wish);
    void add_period(const Section &section, InterfaceWish &wish);
    void add_other(const Entry &entry, InterfaceWish &wish);
    void refuse_double(const InterfaceWish &wish);
    void set_policy(PolicyWish &wish, const Section &section, std::string_view policy_key,
                    std::string_view set_key);
    void set_rx(UseWish &wish, const Section &section);
    void refuse_stray_set(const Section &section, std::string_view set_key, std::string_view policy_key);

    std::vector<Problem> &problems_;
    Desired desired_{};
    bool has_fallback_ = false;
    std::set<std::string> rules_of_file_{};
    std::size_t interfaces_before_ = 0; // of earlier files
    std::string folder_{};
};

void Builder::add(const File &file) {
    rules_of_file_.clear();
    interfaces_before_ = desired_.interfaces.size();
    folder_ = std::filesystem::path(file.path).parent_path().string();
    for (const Section &section : file.sections) {
        switch (section.part) {
        case Part::top:
            add_top(section);
            continue;
        case Part::fallback:
            add_fallback(section);
            break;
        case Part::engine:
            add_engine(section);
            break;
        case Part::interface:
            add_interface(section);
            break;
        case Part::rule:
            add_rule(section);
            break;
        case Part::option_rule:
            add_option_rule(section);
            break;
        case Part::congestion:
            read_congestion(section, desired_.congestion, problems_);
            break;
        case Part::spread:
            read_spread(section, folder_, desired_.spread, problems_);
            break;
        case Part::metrics:
            desired_.metrics = MetricsWish{.listen = listen_address(section),
                                           .programs = section.text("programs") == "true"};
            continue;
        case Part::web:
            desired_.web = listen_address(section);
            continue;
        case Part::kernel:
            read_kernel(section, desired_.kernel, problems_);
            continue;
        case Part::failover:
            add_failover(section);
            continue;
        case Part::application:
            add_application(section);
            break;
        }
        desired_.empty = false;
    }
}

void Builder::add_failover(const Section &section) {
    if (section.find("close_silent"))
        desired_.close_silent = section.text("close_silent") == "true";
    const Entry *idle = section.find("probe_idle_s");
    if (!idle)
        return;
    if (const auto parsed = parse_probe_idle(idle->texts.front()))
        desired_.probe_idle_s = *parsed;
    else
        complain(idle->at, fmt::format("'probe_idle_s' cannot be '{}'", idle->texts.front()),
                 parsed.error().hint);
}

void Builder::add_top(const Section &section) {
    if (const Entry *version = section.find("version"); version && version->texts.front() != "1") {
        const std::string &text = version->texts.front();
        const auto number = parse_number<int>(text);
        const bool newer = number && *number > format_version;
        complain(version->at,
                 newer ? fmt::format("the file is of format {}, which is for a newer mpsched", *number)
                       : fmt::format("there is no format '{}'", text),
                 fmt::format("this mpsched knows version = {}", format_version));
    }
    if (const Entry *room = section.find("max_connections")) {
        if (const auto parsed = parse_max_connections(room->texts.front()); !parsed)
            complain(room->at,
                     fmt::format("max_connections = {}: out of range or not a number", room->texts.front()),
                     parsed.error().hint);
        desired_.max_connections = room->texts.front();
    }
}

// A policy and its parameters, with each mistake where it stands.
void Builder::set_policy(PolicyWish &wish, const Section &section, std::string_view policy_key,
                         std::string_view set_key) {
    const Entry *policy = section.find(policy_key);
    const Entry *settings = section.find(set_key);
    wish.at = policy ? policy->at : section.at;
    if (policy)
        wish.policy = policy->texts.front();
    if (wish.policy.ends_with(".o") || wish.policy.find('/') != wish.policy.npos)
        wish.policy =
            std::filesystem::absolute(std::filesystem::path(folder_) / wish.policy).lexically_normal();
    const auto known = check_policy(wish.policy, {});
    if (!known)
        return complain(policy ? policy->at : section.at, known.error());
    std::set<std::string> seen;
    for (const PlacedSetting &one : settings ? settings->settings : std::vector<PlacedSetting>{}) {
        if (const auto good = check_policy(wish.policy, {one.setting}); !good)
            complain(one.at, good.error());
        else
            wish.settings.push_back(one.setting);
    }
    if (auto checked = check_policy(wish.policy, wish.settings))
        wish.checked = std::move(*checked);
    else
        complain(settings ? settings->at : section.at, checked.error());
}

void Builder::refuse_stray_set(const Section &section, std::string_view set_key,
                               std::string_view policy_key) {
    const Entry *settings = section.find(set_key);
    if (settings && !section.find(policy_key))
        complain(settings->at, fmt::format("'{}' needs '{}'", set_key, policy_key),
                 "parameters belong to the policy that is named with them");
}

// What decides about what peers send, where a file says another one than for what this host sends.
void Builder::set_rx(UseWish &wish, const Section &section) {
    refuse_stray_set(section, "rx_set", "rx_policy");
    const Entry *policy = section.find("rx_policy");
    if (!policy)
        return;
    if (section.part == Part::rule && policy->texts.front() == left_open) {
        wish.rx_open = true;
        if (const Entry *settings = section.find("rx_set"))
            complain(settings->at, "no policy is named for these parameters", "leave rx_set out");
        return;
    }
    wish.rx.emplace();
    set_policy(*wish.rx, section, "rx_policy", "rx_set");
    const CheckedPolicy &checked = wish.rx->checked;
    if (!checked.name.empty() && !checked.rx && checked.name != pass_through)
        complain(policy->at,
                 fmt::format("the policy '{}' has no rule for what peers send", policy->texts.front()),
                 "'mpsched policy list --json' tells which have one: rx");
}

void Builder::add_fallback(const Section &section) {
    desired_.fallback = {};
    has_fallback_ = true;
    set_policy(desired_.fallback.tx, section, "policy", "set");
    set_rx(desired_.fallback, section);
}

void Builder::add_engine(const Section &section) {
    std::vector<Setting> settings;
    for (const Entry &entry : section.entries) {
        const Setting setting{entry.key, entry.texts.front()};
        if (const auto good = check_engine({setting}); !good)
            complain(entry.at, good.error());
        else
            settings.push_back(setting);
    }
    if (auto params = check_engine(settings))
        desired_.engine = std::move(*params);
}

void Builder::add_names(const Entry &entry, InterfaceWish &wish) {
    constexpr std::size_t longest = 15;
    for (const std::string &name : entry.texts) {
        const bool good = !name.empty() && name != "." && name != ".." &&
                          name.find_first_of("/: \t\n\v\f\r") == name.npos &&
                          (is_pattern(name) || name.size() <= longest);
        if (!good)
            complain(entry.at, fmt::format("no interface can have the name '{}'", name),
                     "a name of at most 15 characters, or a pattern with * ? [a-z]");
        if (std::ranges::find(wish.names, name) != wish.names.end())
            complain(entry.at, fmt::format("'{}' stands in the list twice", name), "once is enough");
        wish.names.push_back(name);
    }
}

// One of those that `mpsched path` sets, by its parser.
void Builder::add_attribute(const Entry &entry, InterfaceWish &wish) {
    const auto change = parse_path_settings({Setting{entry.key, entry.texts.front()}});
    if (!change)
        return complain(entry.at, change.error());
    if (change->weight)
        wish.attributes.weight = change->weight;
    if (change->priority)
        wish.attributes.priority = change->priority;
    if (change->cost)
        wish.attributes.cost = change->cost;
    if (change->energy)
        wish.attributes.energy = change->energy;
    if (change->quota_then_bit_s)
        wish.attributes.quota_then_bit_s = change->quota_then_bit_s;
    if (change->use)
        wish.attributes.use = change->use;
    if (change->quota_bytes)
        wish.attributes.quota_bytes = change->quota_bytes;
}

void Builder::add_period(const Section &section, InterfaceWish &wish) {
    const Entry *period = section.find("quota_period");
    const Entry *day = section.find("quota_day");
    const bool month = period && period->texts.front() == "month";
    if (day && !month)
        complain(day->at, "quota_day is for quota_period = \"month\"", "say both, or none");
    if (!period)
        return;
    if (month) {
        const std::string text = day ? day->texts.front() : "1";
        const auto number = parse_number<std::uint32_t>(text);
        if (!number || *number < 1 || *number > 31)
            complain(day->at, fmt::format("quota_day={}: out of range or not a number", text),
                     "the range is 1..31");
        wish.period = Period{.seconds = longest_month_s, .month_day = number.value_or(1)};
        return;
    }
    const auto change = parse_path_settings({Setting{"quota_period", period->texts.front()}});
    if (!change)
        return complain(period->at, change.error().what, "month; or " + change.error().hint);
    wish.period = Period{.seconds = *change->quota_period_s};
}

void Builder::add_other(const Entry &entry, InterfaceWish &wish) {
    const std::string &text = entry.texts.front();
    if (entry.key == "mode") {
        if (const auto mode = parse_mode(text))
            wish.mode = *mode;
        else
            complain(entry.at, mode.error());
    } else if (entry.key == "role") {
        if (const auto role = parse_role(text))
            wish.role = *role;
        else
            complain(entry.at, role.error());
    } else if (entry.key == "type") {
        wish.type = text;
        const std::vector<std::string> types(interface_types().begin(), interface_types().end());
        if (std::ranges::find(types, text) == types.end())
            complain(entry.at, fmt::format("there is no type '{}'", text),
                     fmt::format("{}there are: {}", did_you_mean(text, types), fmt::join(types, ", ")));
    } else if (entry.key == "default_route") {
        wish.default_route = text == "true";
    } else if (entry.key == "metered") {
        wish.metered = text == "true";
    } else if (entry.key == "attach") {
        wish.attach = text == "true";
    }
}

// The same interfaces twice in one file are a slip; another file may well say more of them.
void Builder::refuse_double(const InterfaceWish &wish) {
    const std::span<const InterfaceWish> of_file = std::span(desired_.interfaces).subspan(interfaces_before_);
    const auto same = std::ranges::find_if(of_file, [&](const InterfaceWish &other) {
        return other.names == wish.names && other.type == wish.type &&
               other.default_route == wish.default_route && other.metered == wish.metered;
    });
    if (same != of_file.end())
        complain(wish.at, fmt::format("there is an [[interface]] for {} already", wish.text()),
                 fmt::format("it stands in line {}; put the two together", same->at.line));
}

void Builder::add_interface(const Section &section) {
    InterfaceWish wish{.at = section.at};
    for (const Entry &entry : section.entries) {
        if (entry.texts.empty())
            continue;
        if (entry.key == "name")
            add_names(entry, wish);
        else if (entry.key == "mode" || entry.key == "role" || entry.key == "type" ||
                 entry.key == "default_route" || entry.key == "metered" || entry.key == "attach")
            add_other(entry, wish);
        else if (entry.key != "quota_period" && entry.key != "quota_day")
            add_attribute(entry, wish);
    }
    add_period(section, wish);
    if (wish.role == Role::gateway && wish.mode && *wish.mode != Mode::automatic && *wish.mode != Mode::tc)
        complain(section.find("mode")->at,
                 fmt::format("a gateway's programs stand at TC: no mode \"{}\"", to_string(*wish.mode)),
                 "leave out 'mode'");
    refuse_double(wish);
    desired_.interfaces.push_back(std::move(wish));
}

void Builder::add_rule(const Section &section) {
    const Entry *selector = section.find("for");
    if (!selector)
        return;
    const std::string &text = selector->texts.front();
    if (const auto good = check_selector(text); !good)
        return complain(selector->at, good.error());
    if (!rules_of_file_.insert(text).second)
        return complain(section.at, fmt::format("there is a rule for '{}' already", text),
                        "a selector has one rule; the first would decide");
    const auto earlier = std::ranges::find(desired_.rules, text, &RuleWish::selector);
    if (section.text("enabled") == "false") {
        if (earlier != desired_.rules.end())
            desired_.rules.erase(earlier);
        return;
    }
    RuleWish rule{.selector = text};
    rule.use.tx_open = !section.find("policy");
    if (rule.use.tx_open && section.text("rx_policy").empty())
        return complain(section.at, "'policy' is missing", "what these connections use, or enabled = false");
    refuse_stray_set(section, "set", "policy");
    if (!rule.use.tx_open)
        set_policy(rule.use.tx, section, "policy", "set");
    set_rx(rule.use, section);
    if (rule.use.tx_open && rule.use.rx_open)
        return complain(section.at, "the rule leaves both directions open",
                        "say 'policy', or enabled = false");
    if (earlier != desired_.rules.end())
        *earlier = std::move(rule);
    else
        desired_.rules.push_back(std::move(rule));
}

void Builder::add_option_rule(const Section &section) {
    std::vector<Setting> matches;
    for (const Entry &entry : section.entries)
        if (std::ranges::any_of(option_rule_matches, [&](const auto &one) { return one.word == entry.key; }))
            matches.emplace_back(entry.key, fmt::format("{}", fmt::join(entry.texts, ",")));
    const auto text = [&](std::string_view key) { return section.text(key); };
    // What is missing has been told.
    for (const std::string_view key : {"interface", "direction", "option", "action"})
        if (!section.find(key))
            return;
    auto rule =
        make_option_rule(text("interface"), text("direction"), text("option"), text("action"), matches);
    if (!rule)
        return complain(section.at, rule.error());
    const auto same = std::ranges::find_if(desired_.option_rules,
                                           [&](const OptionRuleWish &one) { return one.rule == *rule; });
    if (same != desired_.option_rules.end())
        return complain(section.at, "there is this rule already",
                        fmt::format("it stands at {}", same->at.text()));
    desired_.option_rules.push_back({section.at, std::move(*rule)});
}

// Whoever reaches the address reads what is there, so more than this machine has to be asked for.
http::Address Builder::listen_address(const Section &section) {
    const Entry *listen = section.find("listen");
    if (!listen)
        return {};
    const auto address = http::parse_address(listen->texts.front());
    if (!address) {
        complain(listen->at, address.error());
        return {};
    }
    if (!address->loopback && section.text("remote") != "true")
        complain(
            listen->at, fmt::format("{} can be reached from other machines", address->text()),
            section.part == Part::web
                ? "the page is for loopback (127.0.0.1 or [::1]); from elsewhere: ssh -L 9465:127.0.0.1:9465"
                : "listen on loopback (127.0.0.1 or [::1]), or say remote = true as well");
    return *address;
}

// What a later file says of a cgroup takes the place of what an earlier one does.
void Builder::add_application(const Section &section) {
    ApplicationWish wish{.at = section.at, .grant = {.cgroup = section.text("cgroup")}};
    if (wish.grant.cgroup.empty())
        return; // has been told
    if (const Entry *policies = section.find("policies"))
        wish.grant.policies = policies->texts;
    if (const Entry *entry = section.find("max_cost")) {
        const std::string &text = entry->texts.front();
        const auto cost = parse_number<std::uint32_t>(text);
        if (!cost || *cost > path_cost.most)
            return complain(entry->at, fmt::format("'max_cost' cannot be '{}'", text),
                            fmt::format("a number from 0 to {}", path_cost.most));
        wish.grant.max_cost = cost;
    }
    const auto same = std::ranges::find_if(desired_.applications, [&](const ApplicationWish &one) {
        return one.grant.cgroup == wish.grant.cgroup;
    });
    if (same != desired_.applications.end())
        *same = std::move(wish);
    else
        desired_.applications.push_back(std::move(wish));
}

void apply(const InterfaceWish &wish, PathWish &path) {
    const PathChange &change = wish.attributes;
    path.attach = wish.attach.value_or(path.attach);
    path.mode = wish.mode.value_or(path.mode);
    path.role = wish.role.value_or(path.role);
    path.attributes.weight = change.weight.value_or(path.attributes.weight);
    path.attributes.priority = change.priority.value_or(path.attributes.priority);
    path.attributes.cost = change.cost.value_or(path.attributes.cost);
    path.attributes.energy = change.energy.value_or(path.attributes.energy);
    path.attributes.quota_then_bit_s = change.quota_then_bit_s.value_or(path.attributes.quota_then_bit_s);
    path.attributes.use = change.use.value_or(path.attributes.use);
    if (change.quota_bytes)
        path.attributes.quota_bytes = *change.quota_bytes ? change.quota_bytes : std::nullopt;
    path.period = wish.period.value_or(path.period);
    path.attributes.quota_period_s = path.period.seconds;
}

std::string revision_of(const std::vector<File> &files) {
    std::string all;
    for (const File &file : files)
        all += fmt::format("{} {}\n{}", file.path, file.contents.size(), file.contents);
    return sha256(std::as_bytes(std::span(all))).substr(0, 12);
}

} // namespace

bool InterfaceWish::names_it(const std::string &name) const {
    return std::ranges::any_of(
        names, [&](const std::string &pattern) { return !::fnmatch(pattern.c_str(), name.c_str(), 0); });
}

bool InterfaceWish::matches(const NetworkInterface &interface, bool is_metered) const {
    const bool named = std::ranges::any_of(names, [&](const std::string &pattern) {
        // "*" is hardly meant to attach the interface that no path leads over.
        return pattern == interface.name ||
               (interface.type != "loopback" && !::fnmatch(pattern.c_str(), interface.name.c_str(), 0));
    });
    return named && (type.empty() || type == interface.type) &&
           (!default_route || *default_route == interface.default_route) &&
           (!metered || *metered == is_metered);
}

std::vector<std::string> InterfaceWish::plain_names() const {
    std::vector<std::string> plain;
    if (type.empty() && !default_route && !metered)
        std::ranges::copy_if(names, std::back_inserter(plain),
                             [](const auto &name) { return !is_pattern(name); });
    return plain;
}

std::string InterfaceWish::text() const { return fmt::format("{}", fmt::join(names, ", ")); }

std::vector<std::string> Desired::files() const {
    std::vector<std::string> names;
    for (const Source &one : sources)
        names.push_back(one.path);
    return names;
}

std::vector<OptionRule> Desired::option_rule_list() const {
    std::vector<OptionRule> list;
    for (const OptionRuleWish &wish : option_rules)
        list.push_back(wish.rule);
    return list;
}

bool Desired::asks_for_routes() const {
    return std::ranges::any_of(interfaces,
                               [](const InterfaceWish &w) { return w.default_route.has_value(); });
}

bool Desired::asks_for_metered() const {
    return std::ranges::any_of(interfaces, [](const InterfaceWish &w) { return w.metered.has_value(); });
}

std::optional<PathWish> Desired::path(const NetworkInterface &interface) const {
    std::optional<PathWish> path;
    for (const InterfaceWish &wish : interfaces) {
        if (!matches(wish, interface))
            continue;
        if (!path)
            path = PathWish{.name = interface.name, .ifindex = interface.ifindex};
        apply(wish, *path);
    }
    return path;
}

std::vector<PathWish> Desired::paths(const std::vector<NetworkInterface> &present) const {
    std::vector<PathWish> all;
    for (const NetworkInterface &interface : present)
        if (auto wish = path(interface))
            all.push_back(std::move(*wish));
    std::set<std::string> names;
    for (const NetworkInterface &interface : present)
        names.insert(interface.name);
    for (const InterfaceWish &wish : interfaces)
        for (const std::string &name : wish.plain_names())
            if (names.insert(name).second)
                if (auto absent = path(NetworkInterface{.name = name}))
                    all.push_back(std::move(*absent));
    return all;
}

Desired build(const std::vector<File> &files, std::vector<Problem> &problems) {
    Builder builder(problems);
    for (const File &file : files)
        builder.add(file);
    Desired desired = builder.finish();
    desired.revision = revision_of(files);
    for (const File &file : files)
        desired.sources.push_back({file.path, file.contents});
    return desired;
}

namespace {

Result<Desired> load_set(const std::string &path, const std::string *contents) {
    std::vector<Problem> problems;
    const auto files = read_set(path, problems, contents);
    MPS_TRY(files);
    Desired desired;
    // Of a file that is no TOML nothing is known.
    if (std::ranges::none_of(*files, [](const File &file) { return file.sections.empty(); }))
        desired = build(*files, problems);
    if (problems.empty())
        return desired;
    std::ranges::stable_sort(
        problems, {}, [](const Problem &one) { return std::tuple(one.at.file, one.at.line, one.at.column); });
    return std::unexpected(error_of(problems));
}

} // namespace

Result<Desired> load(const std::string &path) { return load_set(path, nullptr); }
Result<Desired> load(const std::string &path, const std::string &contents) {
    return load_set(path, &contents);
}

} // namespace mps::config
