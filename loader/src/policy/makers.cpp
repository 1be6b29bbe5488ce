// SPDX-License-Identifier: MIT
#include "policy/makers.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include <fmt/format.h>

#include "base/try.hpp"
#include "command.skel.h"
#include "congestion/choices.hpp"
#include "kernel/cgroup.hpp"
#include "kernel/iterator.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/load_object.hpp"
#include "pins/kept_maps.hpp"

namespace mps {

namespace {

struct Destroy {
    void operator()(command *object) const { command__destroy(object); }
};
using Object = std::unique_ptr<command, Destroy>;

bool is_for_command(const mps_rule &rule) { return (rule.fields & MPS_RULE_COMMAND) != 0; }

Result<bool> is_needed(const Session &session) {
    const auto rules = session.slots().rules();
    MPS_TRY(rules);
    const auto choices = congestion_choices(session.paths);
    MPS_TRY(choices);
    return std::ranges::any_of(*rules, is_for_command) ||
           std::ranges::any_of(*choices, is_for_command, &CongestionChoice::rule);
}

Result<Object> load() {
    Object object(command__open());
    if (!object)
        return std::unexpected(system_error(errno, "opening the programs that note commands"));
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    object->rodata->mps_netns_cookie = *cookie;
    MPS_TRY(load_object(object->obj, "loading the programs that note commands",
                        [&] { return command__load(object.get()); }));
    return object;
}

} // namespace

Result<void> prepare_makers(const Session &session) {
    const auto attached = has_own_link(session.paths.makers_link());
    MPS_TRY(attached);
    if (*attached)
        return {};
    if (!session.sockops)
        return fail(ErrorCode::unsupported, "programs at cgroup v2 are treated as missing (MPS_WITHOUT)",
                    "unit=NAME, user=NAME or cgroup=PATH need none");
    const auto object = load();
    MPS_TRY(object);
    const auto cgroup = open_root_cgroup();
    MPS_TRY(cgroup);
    const Fd link(bpf_link_create(bpf_program__fd((*object)->progs.mps_cmd_make), cgroup->get(),
                                  BPF_CGROUP_INET_SOCK_CREATE, nullptr));
    if (!link)
        return std::unexpected(system_error(errno, "attaching the program that notes commands to cgroup v2"));
    MPS_TRY(run_iterator(bpf_program__fd((*object)->progs.mps_cmd_scan), "noting whose the sockets are",
                         [](std::span<const char>) {}));
    MPS_TRY(make_directory(session.paths.makers_dir()));
    return pin(link.get(), session.paths.makers_link());
}

Result<void> settle_makers(const Session &session) {
    const auto attached = has_own_link(session.paths.makers_link());
    MPS_TRY(attached);
    if (!*attached)
        return {};
    const auto needed = is_needed(session);
    MPS_TRY(needed);
    return *needed ? Result<void>{} : remove_tree(session.paths.makers_dir());
}

Result<void> repair_makers(const Session &session) {
    const auto needed = is_needed(session);
    MPS_TRY(needed);
    return *needed ? prepare_makers(session) : settle_makers(session);
}

} // namespace mps
