// SPDX-License-Identifier: MIT
#include "attach/hooks.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "base/try.hpp"
#include "common/log.hpp"
#include "spread/spread_pins.hpp"

namespace mps {

namespace {

int as_int(std::uint32_t ifindex) { return static_cast<int>(ifindex); }

bool belongs(const std::string &name, HookId id) {
    const HookProgram *row = find_hook_program(name);
    return row && row->hook == id;
}

FilterPlace place_of(const Hook &hook, std::uint32_t ifindex) {
    return {ifindex, *hook.filter, hook.handles.front()};
}

// Our program in the filter's place, 0 if there is none.
std::uint32_t own_filter(const Pins &pins, const Hook &hook, std::uint32_t ifindex) {
    const std::uint32_t id = hook.filter ? filter_program(place_of(hook, ifindex)) : 0;
    return belongs(pins.program_name(id), hook.id) ? id : 0;
}

Result<void> update_link(const std::string &path, int program, const std::string &what) {
    const auto link = open_pin(path);
    MPS_TRY(link);
    if (*link && bpf_link_update((*link)->get(), program, nullptr))
        return std::unexpected(system_error(errno, "replacing the program at " + what));
    return {};
}

} // namespace

Result<std::optional<LinkInfo>> read_link(const std::string &path) {
    const auto fd = open_pin(path);
    MPS_TRY(fd);
    if (!*fd)
        return std::optional<LinkInfo>{};
    if (object_kind((*fd)->get()) != ObjectKind::link) {
        return fail(ErrorCode::failed, fmt::format("{} is not ours: it is no BPF link", path),
                    "'mpsched detach --all' removes what is there");
    }
    auto info = link_info((*fd)->get());
    MPS_TRY(info);
    return std::optional(*info);
}

Result<void> remove_link(const std::string &path) {
    const auto fd = open_pin(path);
    if (fd && *fd) {
        // The last reference detaches too, but somebody may hold another one; ENOLINK and the like: it is off
        // already.
        bpf_link_detach((*fd)->get());
    }
    return unpin(path);
}

Result<void> put_link(const InstallationPaths &paths, const Hook &hook, const NetDevice &device, int program,
                      std::uint32_t flags) {
    const std::string path = pin_of(paths, hook, device.ifindex);
    MPS_TRY(remove_link(path));
    LIBBPF_OPTS(bpf_link_create_opts, options, .flags = flags);
    const Fd link(
        bpf_link_create(program, as_int(device.ifindex), static_cast<bpf_attach_type>(hook.type), &options));
    if (!link)
        return std::unexpected(
            system_error(errno, fmt::format("attaching to {} of {}", hook.name, device.name)));
    return pin(link.get(), path);
}

std::string pin_of(const InstallationPaths &paths, const Hook &hook, std::uint32_t ifindex) {
    return fmt::format("{}/{}", paths.links_dir(), fmt::format(fmt::runtime(hook.pin), ifindex));
}

std::string mark_of(const InstallationPaths &paths, const Hook &hook, std::uint32_t ifindex) {
    return fmt::format("{}/{}", paths.links_dir(), fmt::format(fmt::runtime(hook.mark), ifindex));
}

std::vector<std::string> other_marks(const InstallationPaths &paths, const Hook &hook,
                                     std::uint32_t ifindex) {
    std::vector<std::string> marks{spread_clsact_mark(paths, ifindex)};
    for (const Hook &other : hooks())
        if (other.filter && other.mark != hook.mark)
            marks.push_back(mark_of(paths, other, ifindex));
    return marks;
}

Result<Standing> read_hook(const InstallationPaths &paths, const Pins &pins, HookId id,
                           std::uint32_t ifindex) {
    const Hook &hook = hook_of(id);
    const auto link = read_link(pin_of(paths, hook, ifindex));
    MPS_TRY(link);
    return Standing{.link = *link, .filter_prog_id = own_filter(pins, hook, ifindex)};
}

Result<Hooks> read_hooks(const InstallationPaths &paths, const Pins &pins, std::uint32_t ifindex) {
    Hooks all;
    for (const auto &[id, standing] :
         {std::pair{HookId::xdp, &all.xdp}, {HookId::in, &all.in}, {HookId::out, &all.out}}) {
        auto read = read_hook(paths, pins, id, ifindex);
        MPS_TRY(read);
        *standing = *read;
    }
    const auto mark = open_pin(mark_of(paths, hook_of(HookId::in), ifindex));
    MPS_TRY(mark);
    all.clsact_is_ours = mark->has_value();
    return all;
}

bool lacks_egress(const Hooks &hooks, std::uint32_t ifindex) {
    return hooks.in.filter_prog_id &&
           filter_program(place_of(hook_of(HookId::out), ifindex)) == hooks.in.filter_prog_id;
}

Result<void> put_program(const InstallationPaths &paths, const Pins &pins, const HookProgram &program,
                         const NetDevice &device, bool tcx) {
    const Hook &hook = hook_of(program.hook);
    const std::string name = program_name(program, device);
    const std::string what = fmt::format("{} of {}", hook.name, device.name);
    const auto there = read_hook(paths, pins, hook.id, device.ifindex);
    MPS_TRY(there);
    if (pins.program_name(there->prog_id()) == name)
        return {};
    if (hook.id == HookId::out) {
        const auto in = read_hook(paths, pins, HookId::in, device.ifindex);
        MPS_TRY(in);
        if (lacks_egress({.in = *in}, device.ifindex))
            return fail(ErrorCode::unsupported,
                        fmt::format("{} has an ingress qdisc, which has no egress", device.name),
                        "a clsact qdisc in its place has both");
    }
    if (there->linked())
        MPS_TRY(update_link(pin_of(paths, hook, device.ifindex), pins.program(name), what));
    else if (tcx && !there->filter_prog_id)
        MPS_TRY(put_link(paths, hook, device, pins.program(name)));
    else
        MPS_TRY(put_filter(place_of(hook, device.ifindex), device, pins.program(name),
                           mark_of(paths, hook, device.ifindex), other_marks(paths, hook, device.ifindex)));
    const auto after = read_hook(paths, pins, hook.id, device.ifindex);
    MPS_TRY(after);
    if (pins.program_name(after->prog_id()) != name)
        return fail(ErrorCode::failed, fmt::format("{} is not at {} although the kernel took it", name, what),
                    "something else changes the same hook: try again");
    return {};
}

namespace {

Result<void> take_off(const InstallationPaths &paths, const Pins &pins, const Hook &hook,
                      std::uint32_t ifindex) {
    MPS_TRY(remove_link(pin_of(paths, hook, ifindex)));
    return own_filter(pins, hook, ifindex) ? remove_filter(place_of(hook, ifindex)) : Result<void>{};
}

} // namespace

Result<void> remove_programs(const InstallationPaths &paths, const Pins &pins, std::uint32_t ifindex) {
    for (const Hook &hook : hooks())
        if (hook.of_interface)
            MPS_TRY(take_off(paths, pins, hook, ifindex));
    return remove_clsact(mark_of(paths, hook_of(HookId::in), ifindex), ifindex);
}

Result<void> remove_program(const InstallationPaths &paths, const Pins &pins, HookId id,
                            std::uint32_t ifindex) {
    MPS_TRY(take_off(paths, pins, hook_of(id), ifindex));
    return remove_clsact(mark_of(paths, hook_of(id), ifindex), ifindex);
}

bool remove_filter_by_name(std::uint32_t ifindex) {
    bool removed = false;
    for (const FilterPlace &place : filter_places(ifindex)) {
        const std::uint32_t id = filter_program(place);
        const auto program = id ? prog_by_id(id) : std::unexpected(Error{});
        const auto info = program ? prog_info(program->get()) : std::unexpected(Error{});
        if (info && (find_hook_program(info->name) || info->name.starts_with("mps_sp_out_")))
            removed |= remove_filter(place).has_value();
    }
    return removed;
}

Result<XdpState> read_xdp(std::uint32_t ifindex, const Hooks &hooks) {
    const LibbpfMessages messages;
    LIBBPF_OPTS(bpf_xdp_query_opts, query);
    if (const int err = bpf_xdp_query(as_int(ifindex), 0, &query)) {
        if (err == -ENODEV)
            return XdpState{};
        return std::unexpected(system_error(err, "asking for the XDP program of an interface"));
    }
    // Native and generic programs exclude each other; hardware offload is reported as prog_id only.
    const bool generic = query.skb_prog_id != 0;
    const std::uint32_t id = generic             ? query.skb_prog_id
                             : query.drv_prog_id ? query.drv_prog_id
                                                 : query.prog_id;
    XdpState state;
    if (!id)
        return state;
    if (hooks.has_xdp() && hooks.xdp.prog_id() == id) {
        state.own_mode = generic ? Mode::generic : Mode::native;
    } else {
        state.foreign = ForeignXdp{id, generic};
    }
    return state;
}

Result<void> remove_foreign_xdp(const NetDevice &device, const ForeignXdp &foreign, Fd &removed) {
    // Attached through a link, only the link can detach it.
    for (std::uint32_t id = 0; !bpf_link_get_next_id(id, &id);) {
        const Fd link(bpf_link_get_fd_by_id(id));
        if (!link)
            continue;
        const auto info = link_info(link.get());
        if (!info || info->type != BPF_LINK_TYPE_XDP || info->ifindex != device.ifindex ||
            info->prog_id != foreign.prog_id) {
            continue;
        }
        if (!bpf_link_detach(link.get()))
            return {};
        return std::unexpected(system_error(
            errno, fmt::format("detaching {} from {}", prog_text(foreign.prog_id), device.name)));
    }
    const LibbpfMessages messages;
    const std::uint32_t flags = foreign.generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
    if (auto program = prog_by_id(foreign.prog_id))
        removed = std::move(*program);
    if (const int err = bpf_xdp_attach(as_int(device.ifindex), -1, flags, nullptr)) {
        return std::unexpected(
            system_error(err, fmt::format("detaching {} from {}", prog_text(foreign.prog_id), device.name)));
    }
    return {};
}

void put_foreign_xdp_back(const NetDevice &device, const ForeignXdp &foreign, const Fd &removed) {
    const LibbpfMessages messages;
    const std::uint32_t flags = foreign.generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
    if (removed)
        bpf_xdp_attach(as_int(device.ifindex), removed.get(), flags | XDP_FLAGS_UPDATE_IF_NOEXIST, nullptr);
}

std::expected<void, XdpFailure> put_xdp(const InstallationPaths &paths, const Pins &pins,
                                        const NetDevice &device, Mode mode) {
    const Hook &hook = hook_of(HookId::xdp);
    const HookProgram *wanted = wanted_at(hook.id, device, mode, Role::host);
    const std::string path = pin_of(paths, hook, device.ifindex);
    // A dead link of an earlier attachment.
    if (auto done = unpin(path); !done)
        return std::unexpected(XdpFailure{done.error()});
    LIBBPF_OPTS(bpf_link_create_opts, options,
                .flags = mode == Mode::generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
    const Fd link(bpf_link_create(wanted ? pins.program(program_name(*wanted, device)) : -1,
                                  as_int(device.ifindex), BPF_XDP, &options));
    if (!link) {
        const int err = errno;
        const std::string driver = device.driver.empty() ? device.kind : device.driver;
        XdpFailure failure{.error = {}, .err = err};
        // EBUSY is a program that came between our look and now; everything else is the driver's own
        // judgement.
        failure.driver_refused = mode == Mode::native && err != EBUSY && err != EPERM && err != ENODEV;
        failure.error =
            system_error(err,
                         fmt::format("attaching {} XDP to {}{}", to_string(mode), device.name,
                                     driver.empty() ? "" : fmt::format(" (driver {})", driver)),
                         err == EPERM ? ""
                                      : fmt::format("try '--mode tc'{}",
                                                    mode == Mode::native ? " or '--mode generic'" : ""));
        if (failure.driver_refused)
            failure.error.code = ErrorCode::unsupported;
        return std::unexpected(std::move(failure));
    }
    if (auto done = pin(link.get(), path); !done)
        return std::unexpected(XdpFailure{done.error()});

    const auto hooks = read_hooks(paths, pins, device.ifindex);
    if (!hooks)
        return std::unexpected(XdpFailure{hooks.error()});
    const auto state = read_xdp(device.ifindex, *hooks);
    if (!state)
        return std::unexpected(XdpFailure{state.error()});
    if (state->own_mode != mode) {
        return std::unexpected(
            XdpFailure{Error{ErrorCode::failed,
                             fmt::format("{} has no {} XDP program of ours although the kernel took it",
                                         device.name, to_string(mode)),
                             "something else changes the same hook: try again"}});
    }
    return {};
}

Result<void> remove_xdp(const InstallationPaths &paths, std::uint32_t ifindex) {
    return remove_link(pin_of(paths, hook_of(HookId::xdp), ifindex));
}

} // namespace mps
