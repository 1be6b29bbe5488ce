// SPDX-License-Identifier: MIT

#include "config/persist.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "base/try.hpp"
#include "mpsched/path_limits.hpp"
#include "mpsched/policy_names.hpp"

namespace mps::config {

namespace {

constexpr std::string_view own_name = "90-by-hand.toml";
constexpr std::string_view head = "# Written by 'mpsched … --persist'; comments in it do not stay.\n";

bool is_engine(const std::string &key) { return find_key(Part::engine, key) != nullptr; }

std::vector<Setting> merged(std::vector<Setting> settings, const std::vector<Setting> &more) {
    for (const Setting &one : more) {
        std::erase_if(settings, [&](const Setting &other) { return other.key == one.key; });
        settings.push_back(one);
    }
    return settings;
}

// Instead of what the section says of policies now.
void write_use(Section &section, const UseWish &wish) {
    constexpr std::array keys{"policy", "set", "rx_policy", "rx_set", "enabled"};
    std::erase_if(section.entries,
                  [&](const Entry &e) { return std::ranges::find(keys, e.key) != keys.end(); });
    if (!wish.tx_open) {
        section.put("policy", wish.tx.policy);
        section.put("set", wish.tx.settings);
    }
    if (wish.rx) {
        section.put("rx_policy", wish.rx->policy);
        section.put("rx_set", wish.rx->settings);
    } else if (wish.rx_open && !wish.tx_open) {
        section.put("rx_policy", std::string(left_open));
    }
}

} // namespace

Result<DropIn> DropIn::open(const std::string &path) {
    DropIn drop_in;
    drop_in.path_ = path;
    drop_in.file_ = fmt::format("{}/{}", drop_in_folder(path), own_name);
    std::vector<Problem> problems;
    auto files = read_set(path, problems);
    if (!files && !problems.empty())
        return std::unexpected(error_of(problems));
    if (files && problems.empty())
        drop_in.desired_ = build(*files, problems);
    if (!problems.empty())
        return std::unexpected(error_of(problems));
    if (!files || drop_in.desired_.empty)
        return fail(ErrorCode::failed, fmt::format("--persist adds to {}, which says nothing yet", path),
                    "'mpsched config export' writes what runs now: put that there");
    for (File &file : *files) {
        if (file.path == drop_in.file_)
            drop_in.sections_ = std::move(file.sections);
        else
            drop_in.others_.push_back(std::move(file));
    }
    if (drop_in.sections_.empty())
        drop_in.only(Part::top).put("version", fmt::to_string(format_version));
    return drop_in;
}

Section &DropIn::only(Part part) {
    const auto it = std::ranges::find(sections_, part, &Section::part);
    return it != sections_.end() ? *it : sections_.emplace_back(Section{.part = part});
}

Section &DropIn::interface(const std::string &name) {
    for (Section &section : sections_)
        if (section.part == Part::interface && section.find("name") && section.text("name") == name &&
            section.find("name")->texts.size() == 1)
            return section;
    Section &fresh = sections_.emplace_back(Section{.part = Part::interface});
    fresh.put("name", name);
    return fresh;
}

Section &DropIn::rule(const std::string &selector) {
    for (Section &section : sections_)
        if (section.part == Part::rule && section.text("for") == selector)
            return section;
    Section &fresh = sections_.emplace_back(Section{.part = Part::rule});
    fresh.put("for", selector);
    return fresh;
}

void DropIn::attach(const std::vector<std::string> &names, const std::string &mode, Role role,
                    const std::string &policy) {
    for (const std::string &name : names) {
        Section &section = interface(name);
        section.put("attach", "true");
        if (mode != "auto")
            section.put("mode", mode);
        const auto wish = desired_.path({.name = name});
        if (role != (wish ? wish->role : Role::host))
            section.put("role", std::string(to_string(role)));
    }
    if (!policy.empty())
        use(policy, {}, std::nullopt);
}

void DropIn::detach(const std::vector<std::string> &names) {
    if (!names.empty()) {
        for (const std::string &name : names)
            interface(name).put("attach", "false");
        return;
    }
    std::vector<std::string> all;
    for (const InterfaceWish &wish : desired_.interfaces)
        all.insert(all.end(), wish.names.begin(), wish.names.end());
    detach(all);
}

void DropIn::path(const std::string &name, const std::vector<Setting> &settings) {
    const bool known =
        desired_.path({.name = name}).has_value() ||
        std::ranges::any_of(desired_.interfaces, [&](const auto &w) { return w.names_it(name); });
    Section &section = interface(name);
    // To know something of an interface is not to attach it.
    if (!known && !section.find("attach"))
        section.put("attach", "false");
    for (const Setting &one : settings)
        // A count is no setting.
        if (one.key != "quota_used")
            section.put(one.key, one.value);
}

void DropIn::forget(const std::string &name) {
    const PathAttributes none;
    path(name, {{"weight", none.weight},
                {"priority", none.priority},
                {"cost", none.cost},
                {"energy", none.energy},
                {"use", none.use},
                {"quota_then", std::string("none")},
                {"quota", std::string("none")}});
}

const UseWish *DropIn::present(const std::optional<std::string> &selector) const {
    if (!selector)
        return &desired_.fallback;
    const auto rule = std::ranges::find(desired_.rules, *selector, &RuleWish::selector);
    return rule == desired_.rules.end() ? nullptr : &rule->use;
}

void DropIn::use(const std::string &policy, const std::vector<Setting> &settings,
                 const std::optional<std::string> &selector, Direction direction) {
    std::vector<Setting> own;
    for (const Setting &one : settings) {
        if (is_engine(one.key))
            only(Part::engine).put(one.key, one.value);
        else
            own.push_back(one);
    }
    const UseWish *before = present(selector);
    UseWish wish = before ? *before : UseWish{.tx_open = true, .rx_open = true};
    const PolicyWish chosen{.policy = policy, .settings = own};
    if (direction == Direction::both) {
        wish = {.tx = chosen};
    } else if (direction == Direction::rx) {
        wish.rx = chosen;
        wish.rx_open = false;
    } else {
        // What followed it until now stays.
        if (!wish.rx && !wish.rx_open)
            wish.rx = wish.tx.checked.rx ? wish.tx : PolicyWish{.policy = std::string(pass_through)};
        wish.tx = chosen;
        wish.tx_open = false;
    }
    write_use(selector ? rule(*selector) : only(Part::fallback), wish);
}

void DropIn::unuse(const std::optional<std::string> &selector) {
    std::vector<std::string> all;
    if (selector)
        all.push_back(*selector);
    else
        for (const RuleWish &one : desired_.rules)
            all.push_back(one.selector);
    for (const std::string &one : all) {
        Section &section = rule(one);
        section.entries.clear();
        section.put("for", one);
        section.put("enabled", "false");
    }
}

Result<void> DropIn::set(const std::vector<Setting> &settings, const std::optional<std::string> &selector) {
    std::vector<Setting> own;
    for (const Setting &one : settings) {
        if (is_engine(one.key))
            only(Part::engine).put(one.key, one.value);
        else
            own.push_back(one);
    }
    if (own.empty())
        return {};
    const UseWish *known = present(selector);
    if (!known)
        return fail(ErrorKind::no_such_rule, fmt::format("the files have no rule for '{}'", *selector),
                    "'use … --for … --persist' writes it there first");
    if (known->tx_open)
        return fail(ErrorCode::usage,
                    fmt::format("the files' rule for '{}' is only for what peers send", *selector),
                    "'use … --direction rx --persist' takes parameters as well");
    UseWish wish = *known;
    wish.tx.settings = merged(wish.tx.settings, own);
    write_use(selector ? rule(*selector) : only(Part::fallback), wish);
    return {};
}

std::string DropIn::text() const { return std::string(head) + write(sections_); }

Result<void> DropIn::check() const {
    std::vector<Problem> problems;
    std::vector<File> files = others_;
    files.push_back(parse(file_, text(), problems));
    if (problems.empty())
        (void)build(files, problems);
    return problems.empty() ? Result<void>{} : std::unexpected(error_of(problems));
}

Result<std::string> DropIn::save() const {
    const std::string folder = drop_in_folder(path_);
    if (::mkdir(folder.c_str(), 0755) && errno != EEXIST)
        return std::unexpected(system_error(errno, fmt::format("making {}", folder)));
    MPS_TRY(replace_file(file_, text()));
    return file_;
}

} // namespace mps::config
