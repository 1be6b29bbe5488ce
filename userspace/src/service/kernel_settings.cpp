// SPDX-License-Identifier: MIT

#include "service/kernel_settings.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/try.hpp"
#include "config/sections.hpp"
#include "mpsched/kernel_settings.hpp"

namespace mps::service {

using Json = nlohmann::json;

namespace {

// Another one after each boot of the machine: settings are the kernel's own again.
std::string boot_id() {
    std::string id;
    std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
    return id;
}

} // namespace

std::string KernelSettings::file() const { return folder_ + "/kernel-settings.json"; }

std::map<std::string, KernelSettings::Change> KernelSettings::remembered() const {
    std::map<std::string, Change> changes;
    const auto text = config::read_whole(file());
    const Json all = text ? Json::parse(*text, nullptr, false) : Json();
    if (!all.is_object() || all.value("boot", Json()) != boot_id() || !all.contains("settings") ||
        !all["settings"].is_object())
        return changes;
    for (const auto &[name, one] : all["settings"].items())
        if (one.is_object() && one.value("before", Json()).is_string() &&
            one.value("set", Json()).is_string())
            changes[name] = {one["before"], one["set"]};
    return changes;
}

Result<void> KernelSettings::remember(const std::map<std::string, Change> &changes) const {
    if (::mkdir(folder_.c_str(), 0700) && errno != EEXIST)
        return std::unexpected(system_error(errno, fmt::format("making {}", folder_)));
    Json all{{"boot", boot_id()}, {"settings", Json::object()}};
    for (const auto &[name, one] : changes)
        all["settings"][name] = {{"before", one.before}, {"set", one.set}};
    return config::replace_file(file(), all.dump(1, ' ') + "\n");
}

Result<void> KernelSettings::set_one(std::map<std::string, Change> &changes,
                                     const config::KernelSetting &setting) {
    const auto now = read_kernel_setting(instance_, setting.name);
    MPS_TRY(now);
    const auto known = changes.find(setting.name);
    if (*now == setting.value && (known == changes.end() || known->second.set == setting.value))
        return {};
    // What somebody else has set since is what is put back.
    const bool ours = known != changes.end() && known->second.set == *now;
    changes[setting.name] = {ours ? known->second.before : *now, setting.value};
    MPS_TRY(remember(changes));
    MPS_TRY(write_kernel_setting(instance_, setting.name, setting.value));
    news_.push_back(fmt::format("{} is {}, it was {}", setting.name, setting.value, *now));
    return {};
}

Result<void> KernelSettings::put_back_one(std::map<std::string, Change> &changes, const std::string &name) {
    const Change change = changes[name];
    const auto now = read_kernel_setting(instance_, name);
    MPS_TRY(now);
    if (*now == change.set) {
        MPS_TRY(write_kernel_setting(instance_, name, change.before));
        news_.push_back(fmt::format("{} is {} again", name, change.before));
    }
    changes.erase(name);
    return remember(changes);
}

void KernelSettings::want(const std::vector<config::KernelSetting> &settings) {
    problem_.reset();
    std::map<std::string, Change> changes = remembered();
    std::vector<std::string> over;
    for (const auto &[name, change] : changes)
        if (std::ranges::find(settings, name, &config::KernelSetting::name) == settings.end())
            over.push_back(name);
    const auto note = [&](const Result<void> &done) {
        if (!done && !problem_)
            problem_ = done.error();
    };
    for (const std::string &name : over)
        note(put_back_one(changes, name));
    for (const config::KernelSetting &one : settings)
        note(set_one(changes, one));
    if (problem_)
        news_.push_back(
            fmt::format("{}{}{}", problem_->what, problem_->hint.empty() ? "" : "; ", problem_->hint));
}

} // namespace mps::service
