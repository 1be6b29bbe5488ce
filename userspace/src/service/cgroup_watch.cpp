// SPDX-License-Identifier: MIT

#include "service/cgroup_watch.hpp"

#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <ranges>
#include <set>
#include <string_view>

#include "mpsched/applications.hpp"

namespace mps::service {

namespace {

std::optional<std::uint64_t> inode(const std::string &directory) {
    struct stat status{};
    if (::stat(directory.c_str(), &status) != 0)
        return std::nullopt;
    return status.st_ino;
}

void add_selected(std::set<std::string> &cgroups, std::string_view selector) {
    constexpr std::string_view key = "cgroup=";
    for (const auto part : selector | std::views::split(',')) {
        const std::string_view text(part.begin(), part.end());
        if (text.starts_with(key) && !text.substr(key.size()).starts_with('#'))
            cgroups.emplace(text.substr(key.size()));
    }
}

std::set<std::string> cgroups_of(const config::Desired &desired) {
    std::set<std::string> cgroups;
    for (const config::ApplicationWish &one : desired.applications)
        cgroups.insert(one.grant.cgroup);
    for (const config::RuleWish &one : desired.rules)
        add_selected(cgroups, one.selector);
    for (const config::CongestionWish &one : desired.congestion)
        add_selected(cgroups, one.use.selector);
    return cgroups;
}

} // namespace

void CgroupWatch::want(const config::Desired &desired) {
    std::map<std::string, Known> cgroups;
    for (const std::string &cgroup : cgroups_of(desired))
        if (const auto place = cgroup_place(cgroup))
            cgroups[place->path] = {.directory = place->directory};
    if (std::ranges::equal(std::views::keys(cgroups), std::views::keys(cgroups_)))
        return;
    cgroups_ = std::move(cgroups);
    // What was watched for others is forgotten with it. Without, those that come are found at the next comparison.
    inotify_ = cgroups_.empty() ? Fd() : Fd(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
    (void)come();
}

void CgroupWatch::watch(const std::string &directory) {
    std::filesystem::path above;
    for (const auto &part : std::filesystem::path(directory).parent_path()) {
        above /= part;
        // Where there is none yet, the one above it tells when it comes.
        if (::inotify_add_watch(inotify_.get(), above.c_str(), IN_CREATE | IN_ONLYDIR) < 0)
            return;
    }
}

std::vector<std::string> CgroupWatch::come() {
    alignas(inotify_event) std::array<char, 4096> events;
    while (inotify_ && ::read(inotify_.get(), events.data(), events.size()) > 0) {
    }
    std::vector<std::string> result;
    for (auto &[path, known] : cgroups_) {
        watch(known.directory);
        const auto now = inode(known.directory);
        if (now && now != known.inode)
            result.push_back(path);
        known.inode = now;
    }
    return result;
}

} // namespace mps::service
