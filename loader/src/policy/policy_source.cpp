// SPDX-License-Identifier: MIT
#include "policy/policy_source.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <set>
#include <span>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/files.hpp"
#include "base/try.hpp"
#include "codec/sha256.hpp"
#include "kernel/kernel_probe.hpp"
#include "mpsched/nearest.hpp"

namespace mps {

namespace {

constexpr std::string_view what_policies_are = "a policy is a name ('mpsched policy list') or an object file";

Result<std::vector<std::byte>> read_object_file(const std::string &path) {
    struct stat status{};
    if (::stat(path.c_str(), &status)) {
        Error error = system_error(errno, fmt::format("opening {}", path));
        error.code = errno == ENOENT || errno == ENOTDIR ? ErrorCode::usage : ErrorCode::failed;
        if (error.hint.empty())
            error.hint = what_policies_are;
        return std::unexpected(std::move(error));
    }
    constexpr off_t most = 64 << 20;
    if (!S_ISREG(status.st_mode) || status.st_size > most) {
        return fail(ErrorCode::usage, fmt::format("{} is no object file", path),
                    std::string(what_policies_are));
    }
    const auto text = read_file(path);
    if (!text)
        return std::unexpected(system_error(text.error(), fmt::format("reading {}", path)));
    const auto bytes = std::as_bytes(std::span(*text));
    return std::vector(bytes.begin(), bytes.end());
}

} // namespace

bool is_file_name(const std::string &text) { return text.find('/') != text.npos || text.ends_with(".o"); }

const BuiltinPolicy *find_builtin(std::string_view name) {
    const auto all = builtin_policies();
    const auto it =
        std::find_if(all.begin(), all.end(), [&](const BuiltinPolicy &p) { return p.name == name; });
    return it == all.end() ? nullptr : &*it;
}

Result<OpenedPolicy> open_policy_file(const std::string &path) {
    auto bytes = read_object_file(path);
    MPS_TRY(bytes);
    auto object = PolicyObject::open(*bytes, path);
    MPS_TRY(object);
    const BuiltinPolicy *builtin = find_builtin(object->header().name);
    if (builtin && std::ranges::equal(*bytes, builtin->object))
        return open_builtin(*builtin);
    std::error_code error;
    const std::filesystem::path absolute = std::filesystem::canonical(path, error);
    PolicyOrigin origin{.file = error ? path : absolute.string(), .sha256 = sha256(*bytes)};
    return OpenedPolicy{std::move(*bytes), std::move(*object), std::move(origin)};
}

Result<OpenedPolicy> open_builtin(const BuiltinPolicy &builtin) {
    auto object = PolicyObject::open(builtin.object, fmt::format("policy '{}'", builtin.name));
    MPS_TRY(object);
    return OpenedPolicy{{}, std::move(*object), {.file = {}, .sha256 = sha256(builtin.object)}};
}

Result<OpenedPolicy> open_again(const OpenedPolicy &opened) {
    if (opened.builtin())
        return open_builtin(*find_builtin(opened.name()));
    std::vector<std::byte> bytes = opened.bytes;
    auto object = PolicyObject::open(bytes, opened.origin.file);
    MPS_TRY(object);
    return OpenedPolicy{std::move(bytes), std::move(*object), opened.origin};
}

std::optional<Error> name_is_taken(const OpenedPolicy &opened) {
    const std::string_view ours = resolve_policy_name(opened.name());
    if (opened.builtin() || !find_builtin(ours))
        return std::nullopt;
    const std::string other =
        opened.name() == ours ? "the name of a built-in policy" : fmt::format("another name of '{}'", ours);
    return Error{
        ErrorCode::usage,
        fmt::format("{} calls its policy '{}', which is {}", opened.origin.file, opened.name(), other),
        fmt::format("give it a name of its own in MPS_POLICY(); 'mpsched use {}' takes the built-in one",
                    opened.name())};
}

std::string file_now(const PolicyOrigin &origin) {
    if (origin.file.empty())
        return {};
    const auto bytes = read_object_file(origin.file);
    if (!bytes)
        return "gone";
    return sha256(*bytes) == origin.sha256 ? "" : "changed";
}

std::vector<std::string> names_in(const std::vector<Slot> &slots) {
    std::vector<std::string> names;
    for (const Slot &slot : slots) {
        if (slot.policy)
            names.push_back(slot.policy->header.name);
    }
    return names;
}

bool holds(const std::vector<Slot> &slots, std::string_view name) {
    return std::any_of(slots.begin(), slots.end(),
                       [&](const Slot &slot) { return slot.policy && slot.policy->header.name == name; });
}

std::string segment_reason(const SegmentPolicy &policy) {
    constexpr std::string_view needs = "it decides about single segments";
    // Reading the kernel's BTF takes some 50 ms; the kernel stays the same.
    static const bool can_register = probe_mptcp_struct_ops().answer == Answer::available;
    if (can_register)
        return fmt::format("{}, and mpsched has no '{}' for the mptcp_sched_ops of this kernel yet", needs,
                           policy.name);
    return fmt::format("{}, which takes a kernel that registers BPF schedulers (mptcp_sched_ops)", needs);
}

std::optional<Error> refusal(const std::string &name, const std::vector<Slot> &slots) {
    const auto it = std::find_if(segment_policies.begin(), segment_policies.end(),
                                 [&](const SegmentPolicy &policy) { return policy.name == name; });
    if (it == segment_policies.end() || holds(slots, name))
        return std::nullopt;
    return Error{ErrorCode::unsupported,
                 fmt::format("policy '{}' cannot run here: {}", name, segment_reason(*it)),
                 fmt::format("'mpsched use {}' comes closest; 'mpsched probe' tells what this kernel has",
                             it->nearest)};
}

void add_preset(const std::string &name, std::vector<Setting> &settings) {
    const Preset *preset = find_preset(name);
    if (!preset)
        return;
    std::vector<Setting> all;
    for (const Preset::Value &one : preset->params)
        if (!one.key.empty() && std::ranges::find(settings, one.key, &Setting::key) == settings.end())
            all.emplace_back(std::string(one.key), one.value);
    settings.insert(settings.begin(), all.begin(), all.end());
}

std::vector<std::string> aliases_of(std::string_view name) {
    std::vector<std::string> result;
    for (const PolicyAlias &one : policy_aliases) {
        if (one.policy == name)
            result.emplace_back(one.alias);
    }
    for (const Preset &one : presets) {
        if (one.policy == name)
            result.emplace_back(one.name);
    }
    return result;
}

std::unexpected<Error> unknown_policy(const std::string &name, const std::vector<std::string> &loaded) {
    std::set<std::string> names(loaded.begin(), loaded.end());
    for (const PolicyAlias &one : policy_aliases)
        names.emplace(one.alias);
    for (const Preset &one : presets)
        names.emplace(one.name);
    for (const BuiltinPolicy &builtin : builtin_policies())
        names.emplace(builtin.name);
    const std::vector<std::string> all(names.begin(), names.end());
    return fail(ErrorKind::no_such_policy, fmt::format("there is no policy '{}'", name),
                fmt::format("{}there are: {}; or give an object file (*.o)", did_you_mean(name, all),
                            fmt::join(all, ", ")));
}

} // namespace mps
