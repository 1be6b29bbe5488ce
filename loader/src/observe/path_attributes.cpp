// SPDX-License-Identifier: MIT
#include "observe/path_attributes.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/try.hpp"
#include "common/amounts.hpp"
#include "instance_impl.hpp"
#include "mpsched/nearest.hpp"
#include "mpsched/path_limits.hpp"

namespace mps {

namespace {

static_assert(energy_names.size() == MPS_ENERGY_MAX);

struct PathField {
    PathLimit limit;
    std::optional<std::uint32_t> PathChange::*wish;
    std::uint32_t mps_path::*member;
};
constexpr PathField path_fields[] = {
    {path_weight, &PathChange::weight, &mps_path::weight},
    {path_priority, &PathChange::priority, &mps_path::priority},
    {path_cost, &PathChange::cost, &mps_path::cost},
};

std::unexpected<Error> bad_value(std::string_view key, std::string_view value, std::string_view why,
                                 std::string range) {
    return fail(ErrorCode::usage, fmt::format("{}={}: {}", key, value, why), std::move(range));
}

std::string range_text(std::uint64_t least, std::uint64_t most, std::string_view rest = {}) {
    return fmt::format("the range is {}..{}{}", least, most, rest);
}

// A value of an attribute, or a usage error that tells the range.
Result<std::uint64_t> attribute_value(const Setting &setting, std::string_view unit_name, std::uint64_t least,
                                      std::uint64_t most, std::string_view besides = {}) {
    const Unit unit = unit_of(unit_name);
    const auto value = parse_amount(setting.value, unit);
    const bool in_range = value && *value >= 0 && static_cast<std::uint64_t>(*value) >= least &&
                          static_cast<std::uint64_t>(*value) <= most;
    if (in_range)
        return static_cast<std::uint64_t>(*value);
    const std::string_view units = units_hint(unit.measure);
    return bad_value(setting.key, setting.value,
                     value ? std::string_view("out of range") : std::string_view(value.error()),
                     range_text(least, most,
                                fmt::format("{}{}{}{}{}", unit_name.empty() ? "" : " ", unit_name, besides,
                                            units.empty() ? "" : "; ", units)));
}

// "256kbit", "1.5Mbit", "none".
Result<std::uint64_t> parse_rate(const Setting &setting) {
    if (setting.value == "none")
        return 0;
    std::string number = setting.value;
    for (const std::string_view unit : {"bit/s", "bps", "bit"})
        if (number.ends_with(unit)) {
            number.erase(number.size() - unit.size());
            break;
        }
    const auto value = parse_amount(number, Unit{});
    const auto least = static_cast<std::int64_t>(least_quota_then_bit_s);
    const auto most = static_cast<std::int64_t>(most_quota_then_bit_s);
    if (value && *value >= least && *value <= most)
        return static_cast<std::uint64_t>(*value);
    return bad_value(
        setting.key, setting.value,
        value ? std::string_view("out of range") : std::string_view(value.error()),
        range_text(least_quota_then_bit_s, most_quota_then_bit_s, " bit/s, or none; 256kbit, 1.5Mbit"));
}

Result<void> parse_quota(PathChange &change, const Setting &setting) {
    if (setting.key == "quota_period") {
        const auto seconds = setting.value == "none"
                                 ? Result<std::uint64_t>(0)
                                 : attribute_value(setting, "s", 1, most_quota_period_s,
                                                   ", or none for a quota once and for all");
        MPS_TRY(seconds);
        change.quota_period_s = static_cast<std::uint32_t>(*seconds);
        return {};
    }
    if (setting.key == "quota_then") {
        const auto rate = parse_rate(setting);
        MPS_TRY(rate);
        change.quota_then_bit_s = *rate;
        return {};
    }
    const bool is_quota = setting.key == "quota";
    const auto bytes =
        is_quota && setting.value == "none"
            ? Result<std::uint64_t>(0)
            : attribute_value(setting, "bytes", is_quota, most_quota_bytes, is_quota ? ", or none" : "");
    MPS_TRY(bytes);
    (is_quota ? change.quota_bytes : change.quota_used_bytes) = *bytes;
    return {};
}

std::unexpected<Error> no_such_attribute(const std::string &key) {
    std::vector<std::string> names;
    std::vector<std::string> texts;
    for (const PathField &field : path_fields) {
        names.emplace_back(field.limit.name);
        texts.push_back(fmt::format("{} ({}..{})", field.limit.name, field.limit.least, field.limit.most));
    }
    texts.push_back(fmt::format("energy ({})", fmt::join(energy_names, ", ")));
    texts.push_back(fmt::format("use ({})", fmt::join(use_names, ", ")));
    for (const char *name : {"energy", "use", "quota", "quota_period", "quota_then", "quota_used"})
        names.emplace_back(name);
    texts.insert(texts.end(), names.end() - 4, names.end());
    return fail(ErrorCode::usage, fmt::format("a path has no attribute '{}'", key),
                fmt::format("{}there are: {}", did_you_mean(key, names), fmt::join(texts, ", ")));
}

Result<std::uint32_t> energy_class(const std::string &name) {
    const auto it = std::ranges::find(energy_names, name);
    if (it == energy_names.end())
        return bad_value("energy", name, "unknown class",
                         fmt::format("there are: {}", fmt::join(energy_names, ", ")));
    return static_cast<std::uint32_t>(it - energy_names.begin());
}

Result<std::uint32_t> use_flag(const std::string &name) {
    if (std::ranges::find(use_names, name) == use_names.end())
        return bad_value("use", name, "unknown", fmt::format("there are: {}", fmt::join(use_names, ", ")));
    return name == "never" ? static_cast<std::uint32_t>(MPS_PATH_NEVER) : 0;
}

Result<void> parse_one(PathChange &change, const Setting &setting) {
    if (setting.key == "quota" || setting.key == "quota_period" || setting.key == "quota_then" ||
        setting.key == "quota_used")
        return parse_quota(change, setting);
    if (setting.key == "energy") {
        MPS_TRY(energy_class(setting.value));
        change.energy = setting.value;
        return {};
    }
    if (setting.key == "use") {
        MPS_TRY(use_flag(setting.value));
        change.use = setting.value;
        return {};
    }
    for (const PathField &field : path_fields) {
        if (field.limit.name != setting.key)
            continue;
        const auto value = attribute_value(setting, "", field.limit.least, field.limit.most);
        MPS_TRY(value);
        change.*field.wish = static_cast<std::uint32_t>(*value);
        return {};
    }
    return no_such_attribute(setting.key);
}

Result<void> in_range(std::string_view key, std::uint64_t value, std::uint64_t least, std::uint64_t most) {
    if (value >= least && value <= most)
        return {};
    return bad_value(key, fmt::to_string(value), "out of range", range_text(least, most));
}

Result<void> change_quota(mps_path &path, const PathChange &change) {
    if (change.quota_period_s) {
        MPS_TRY(in_range("quota_period", *change.quota_period_s, 0, most_quota_period_s));
        path.quota_period_s = *change.quota_period_s;
        path.quota_since_ns = boottime_ns();
    }
    if (change.quota_bytes) {
        MPS_TRY(in_range("quota", *change.quota_bytes, 0, most_quota_bytes));
        if (!path.quota_bytes && *change.quota_bytes)
            path.quota_since_ns = boottime_ns();
        path.quota_bytes = *change.quota_bytes;
    }
    if (change.quota_then_bit_s) {
        if (*change.quota_then_bit_s)
            MPS_TRY(in_range("quota_then", *change.quota_then_bit_s, least_quota_then_bit_s,
                             most_quota_then_bit_s));
        path.then_bytes_s = static_cast<std::uint32_t>(*change.quota_then_bit_s / 8);
    }
    if (change.quota_used_bytes)
        MPS_TRY(in_range("quota_used", *change.quota_used_bytes, 0, most_quota_bytes));
    return {};
}

} // namespace

Result<PathChange> parse_path_change(const std::vector<Setting> &settings) {
    PathChange change;
    for (const Setting &setting : settings)
        MPS_TRY(parse_one(change, setting));
    return change;
}

Result<void> change_path(mps_path &path, const PathChange &change) {
    for (const PathField &field : path_fields) {
        const std::optional<std::uint32_t> &wish = change.*field.wish;
        if (!wish)
            continue;
        MPS_TRY(in_range(field.limit.name, *wish, field.limit.least, field.limit.most));
        path.*field.member = *wish;
    }
    if (change.energy) {
        const auto number = energy_class(*change.energy);
        MPS_TRY(number);
        path.energy_class = *number;
    }
    if (change.use) {
        const auto flag = use_flag(*change.use);
        MPS_TRY(flag);
        path.flags = (path.flags & ~static_cast<std::uint32_t>(MPS_PATH_NEVER)) | *flag;
    }
    return change_quota(path, change);
}

std::string energy_name(std::uint32_t energy_class) {
    return std::string(energy_names[energy_class < energy_names.size() ? energy_class : 0]);
}

PathAttributes attributes_of(const mps_path &path) {
    return PathAttributes{.weight = path.weight,
                          .priority = path.priority,
                          .cost = path.cost,
                          .energy = energy_name(path.energy_class),
                          .quota_bytes = path.quota_bytes ? std::optional(path.quota_bytes) : std::nullopt,
                          .quota_period_s = path.quota_period_s,
                          .quota_then_bit_s = std::uint64_t{path.then_bytes_s} * 8,
                          .use = path.flags & MPS_PATH_NEVER ? "never" : "policy"};
}

PathStatus path_status(const mps_path &path, std::uint64_t used_bytes) {
    return PathStatus{.name = path_name(path),
                      .ifindex = path.ifindex,
                      .attached = (path.flags & MPS_PATH_ATTACHED) != 0,
                      .wanted = (path.flags & MPS_PATH_WANTED) != 0,
                      .attributes = attributes_of(path),
                      .quota_used_bytes = used_bytes};
}

Result<PathStatus> path_status(const PathTable &table, const PathEntry &entry) {
    const auto used = table.used_bytes(entry);
    MPS_TRY(used);
    return path_status(entry.path, *used);
}

} // namespace mps
