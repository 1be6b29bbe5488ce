// SPDX-License-Identifier: MIT
#include "mpsched/protocol_switch.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cerrno>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "kernel/kernel_probe.hpp"
#include "kernel/load_error.hpp"
#include "kernel/netns.hpp"
#include "kernel/verifier_log.hpp"
#include "mptcp_run.skel.h"

namespace mps {

struct [[gnu::visibility("hidden")]] ProtocolSwitch::Impl {
    mptcp_run *object = nullptr;
    Fd link{};

    Impl() = default;
    Impl(const Impl &) = delete;
    Impl &operator=(const Impl &) = delete;
    ~Impl() { mptcp_run__destroy(object); }
};

namespace {

constexpr const char *without_it =
    "Linux 6.6 and later can where BPF trampolines are allowed; see 'mpsched probe' (fmod_ret)";

Result<void> load(mptcp_run &object) {
    VerifierLogBuffer log;
    bpf_program__set_log_buf(object.progs.mps_run, log.data(), log.size());
    const LibbpfMessages messages;
    const int err = mptcp_run__load(&object);
    if (!err)
        return {};
    // Before 6.6 there is no such function.
    if (err == -ESRCH || err == -ENOENT || err == -EINVAL)
        return fail(ErrorCode::unsupported, "this kernel lets no program choose the protocol of a socket",
                    without_it);
    return std::unexpected(
        load_error(err, "loading the program for sockets", log.text(), messages.warnings()));
}

} // namespace

ProtocolSwitch::ProtocolSwitch(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProtocolSwitch::ProtocolSwitch(ProtocolSwitch &&) noexcept = default;
ProtocolSwitch &ProtocolSwitch::operator=(ProtocolSwitch &&) noexcept = default;
ProtocolSwitch::~ProtocolSwitch() = default;

Result<ProtocolSwitch> ProtocolSwitch::attach(const std::string &cgroup) {
    const auto without = effective_without({});
    MPS_TRY(without);
    if (without->contains("fmod_ret"))
        return fail(ErrorCode::unsupported, "treated as missing (MPS_WITHOUT)", without_it);
    const auto cookie = netns_cookie();
    MPS_TRY(cookie);
    const Fd directory(::open(cgroup.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory)
        return std::unexpected(system_error(errno, fmt::format("opening the cgroup {}", cgroup)));
    auto made = std::make_unique<Impl>();
    {
        const LibbpfMessages messages;
        made->object = mptcp_run__open();
    }
    if (!made->object)
        return std::unexpected(system_error(errno, "opening the program for sockets"));
    made->object->rodata->mps_home_cookie = *cookie;
    MPS_TRY(load(*made->object));
    const std::uint32_t key = 0;
    const int cgroup_fd = directory.get();
    if (bpf_map_update_elem(bpf_map__fd(made->object->maps.mps_command), &key, &cgroup_fd, BPF_ANY))
        return std::unexpected(system_error(errno, fmt::format("naming the cgroup {}", cgroup)));
    // Where trampolines are not allowed it is this that fails.
    made->link =
        Fd(bpf_link_create(bpf_program__fd(made->object->progs.mps_run), 0, BPF_MODIFY_RETURN, nullptr));
    if (!made->link)
        return fail(ErrorCode::unsupported,
                    fmt::format("attaching the program for sockets: {}", errno_text(errno)), without_it);
    return ProtocolSwitch(std::move(made));
}

int ProtocolSwitch::fd() const { return impl_->link.get(); }

ProtocolSwitch::Counts ProtocolSwitch::counts() const {
    const auto &seen = *impl_->object->bss;
    return {.mptcp = seen.mps_made, .refused = seen.mps_refused, .elsewhere = seen.mps_elsewhere};
}

} // namespace mps
