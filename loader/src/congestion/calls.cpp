// SPDX-License-Identifier: MIT
#include <algorithm>
#include <thread>

#include <fmt/format.h>

#include "base/try.hpp"
#include "congestion/struct_ops.hpp"
#include "congestion/users.hpp"
#include "instance_impl.hpp"
#include "kernel/kernel_probe.hpp"
#include "mpsched/builtin_congestion.hpp"

namespace mps {

namespace {

bool has_rdonly_cast(const Instance::Impl &impl) {
    return !impl.without.contains("rdonly_cast") && probe_rdonly_cast().answer == Answer::available;
}

CongestionControl told(const RegisteredCongestion &one) {
    return {
        .name = one.name, .state = one.registered ? "loaded" : "unloaded", .id = one.id, .users = one.users};
}

bool is_loaded(const std::vector<RegisteredCongestion> &all, std::string_view name) {
    return std::ranges::any_of(
        all, [&](const RegisteredCongestion &one) { return one.registered && one.name == name; });
}

// Sockets tell the name of theirs and not which of two of that name it is: the loaded one has them.
Result<void> add_users(std::vector<CongestionControl> &controls) {
    if (std::ranges::none_of(controls, [](const CongestionControl &one) { return one.users != 0; }))
        return {};
    auto users = congestion_users();
    MPS_TRY(users);
    for (const char *state : {"loaded", "unloaded"})
        for (CongestionControl &one : controls)
            if (one.state == state && one.users)
                one.sockets = std::exchange((*users)[one.name], {});
    return {};
}

std::unexpected<Error> in_use(const CongestionControl &control) {
    return fail(
        ErrorKind::in_use, fmt::format("{} has {}", control.name, users_text(control)),
        "end them, give them another one, or add --drain: nobody can choose it then, and it goes with the last of them");
}

} // namespace

Result<std::vector<CongestionControl>> congestion_controls(const Instance &instance) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    const auto registered = registered_congestion();
    MPS_TRY(registered);
    std::vector<CongestionControl> all;
    for (const BuiltinCongestion &one : builtin_congestion()) {
        if (!is_loaded(*registered, one.name))
            all.push_back({.name = std::string(one.name), .state = "not loaded"});
        for (const RegisteredCongestion &there : *registered)
            if (there.name == one.name)
                all.push_back(told(there));
    }
    MPS_TRY(add_users(all));
    return all;
}

Result<CongestionLoaded> load_congestion(const Instance &instance, const std::vector<std::string> &words) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    const auto names = congestion_names(words);
    MPS_TRY(names);
    const auto before = registered_congestion();
    MPS_TRY(before);
    CongestionLoaded result;
    for (const std::string &name : *names) {
        if (is_loaded(*before, name)) {
            result.already.push_back(name);
            continue;
        }
        if (auto done = register_congestion(name, has_rdonly_cast(impl)); !done) {
            const auto now = registered_congestion();
            for (const RegisteredCongestion &one : now ? *now : *before)
                if (std::ranges::find(result.loaded, one.name) != result.loaded.end() && one.registered)
                    (void)unregister_congestion(one);
            return std::unexpected(done.error());
        }
        result.loaded.push_back(name);
    }
    return result;
}

Result<CongestionUnloaded> unload_congestion(const Instance &instance, const std::vector<std::string> &words,
                                             std::optional<std::chrono::milliseconds> wait) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    const auto names = congestion_names(words);
    MPS_TRY(names);
    auto there = registered_congestion();
    MPS_TRY(there);
    std::erase_if(*there, [&](const RegisteredCongestion &one) {
        return std::ranges::find(*names, one.name) == names->end();
    });
    const bool all = std::ranges::find(words, "all") != words.end();
    for (const std::string &name : *names)
        if (!all && !is_loaded(*there, name))
            return fail(ErrorCode::failed, fmt::format("{} is not loaded", name),
                        "'mpsched cc list' shows what is");
    std::vector<CongestionControl> users;
    for (const RegisteredCongestion &one : *there)
        if (one.registered)
            users.push_back(told(one));
    MPS_TRY(add_users(users));
    for (const CongestionControl &one : users)
        if (one.users && !wait)
            return in_use(one);
    CongestionUnloaded result;
    for (const RegisteredCongestion &one : *there) {
        if (!one.registered)
            continue;
        MPS_TRY(unregister_congestion(one));
        result.unloaded.push_back(one.name);
    }
    const auto deadline = std::chrono::steady_clock::now() + wait.value_or(std::chrono::milliseconds(0));
    for (;;) {
        for (RegisteredCongestion &one : *there)
            MPS_TRY(look_again(one));
        const bool used =
            std::ranges::any_of(*there, [](const RegisteredCongestion &one) { return one.users; });
        if (!used || std::chrono::steady_clock::now() >= deadline ||
            (impl.options.give_up && impl.options.give_up()))
            break;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    for (const RegisteredCongestion &one : *there)
        if (one.users)
            result.left.push_back(told(one));
    MPS_TRY(add_users(result.left));
    return result;
}

} // namespace mps
