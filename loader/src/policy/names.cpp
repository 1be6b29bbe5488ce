// SPDX-License-Identifier: MIT
#include "policy/names.hpp"

#include <pwd.h>

#include <mps/abi.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/numbers.hpp"

namespace mps {

namespace {

constexpr std::string_view letters_and_digits =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool is_made_of(std::string_view text, std::string_view more) {
    return !text.empty() && std::ranges::all_of(text, [&](char c) {
        return letters_and_digits.find(c) != letters_and_digits.npos || more.find(c) != more.npos;
    });
}

// Controllers whose files stand beside cgroups; systemd keeps clear of them (cg_needs_escape() in its cgroup-util.c).
constexpr auto controllers = std::to_array<std::string_view>(
    {"cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids", "bpf-firewall", "bpf-devices",
     "bpf-foreign", "bpf-socket-bind", "bpf-restrict-network-interfaces", "bpf-bind-network-interface"});

} // namespace

std::uint64_t name_digest(const char *name) {
    std::array<__u64, MPS_RULE_NAME_WORDS> words;
    std::memcpy(words.data(), name, MPS_RULE_NAME_LEN);
    return mps_name_digest(words.data());
}

bool is_host_name(std::string_view text) {
    return is_made_of(text, "-_.") && text.find_first_not_of("0123456789.") != text.npos &&
           !text.starts_with('.') && !text.starts_with('-') && text.find("..") == text.npos;
}

bool is_user_name(std::string_view text) {
    return is_made_of(text, "-_.@$\\") && !text.starts_with('-') && !parse_unsigned(text);
}

bool is_command_name(std::string_view text) {
    return !text.empty() && !text.starts_with(' ') && !text.ends_with(' ') &&
           std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~' && c != ',' && c != '/'; });
}

std::optional<std::uint32_t> user_id(std::string_view text) {
    if (const auto number = parse_unsigned(text))
        return *number < UINT32_MAX ? std::optional(static_cast<std::uint32_t>(*number)) : std::nullopt;
    if (!is_user_name(text))
        return std::nullopt;
    std::vector<char> memory(16'384);
    passwd entry{};
    passwd *found = nullptr;
    if (::getpwnam_r(std::string(text).c_str(), &entry, memory.data(), memory.size(), &found) || !found)
        return std::nullopt;
    return entry.pw_uid;
}

std::string user_name(std::uint32_t uid) {
    std::vector<char> memory(16'384);
    passwd entry{};
    passwd *found = nullptr;
    if (::getpwuid_r(uid, &entry, memory.data(), memory.size(), &found) || !found ||
        !is_user_name(entry.pw_name))
        return std::to_string(uid);
    return entry.pw_name;
}

std::optional<std::string> unit_name(std::string_view text) {
    static constexpr auto endings =
        std::to_array<std::string_view>({".service", ".scope", ".slice", ".socket", ".mount", ".swap"});
    if (!is_made_of(text, "-_.@:\\"))
        return std::nullopt;
    if (std::ranges::any_of(endings, [&](auto ending) { return text.ends_with(ending) && text != ending; }))
        return std::string(text);
    // As systemctl has it; what looks like another ending is none of a unit that has processes.
    static constexpr auto others =
        std::to_array<std::string_view>({".target", ".timer", ".path", ".device", ".automount"});
    if (std::ranges::any_of(others, [&](auto ending) { return text.ends_with(ending); }))
        return std::nullopt;
    return std::string(text) + ".service";
}

std::string unit_cgroup(const std::string &unit) {
    const bool escaped =
        unit.starts_with('_') || unit.starts_with('.') || unit.starts_with("cgroup.") ||
        std::ranges::any_of(controllers, [&](std::string_view one) {
            return unit.starts_with(one) && unit.size() > one.size() && unit[one.size()] == '.';
        });
    return (escaped ? "_" : "") + unit;
}

} // namespace mps
