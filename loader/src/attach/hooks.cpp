// SPDX-License-Identifier: MIT
#include "attach/hooks.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_link.h>
#include <mps/abi.h>
#include <mps/gateway_abi.h>

#include <cerrno>

#include <fmt/format.h>

#include "attach/clsact.hpp"
#include "common/log.hpp"
#include "policy/variants.hpp"

namespace mps {

namespace {

constexpr std::string_view vrf_program = "mps_tc_vrf";

int as_int(std::uint32_t ifindex) { return static_cast<int>(ifindex); }

Result<std::optional<LinkInfo>> read_link(const std::string &path) {
    const auto fd = open_pin(path);
    if (!fd)
        return std::unexpected(fd.error());
    if (!*fd)
        return std::optional<LinkInfo>{};
    if (object_kind((*fd)->get()) != ObjectKind::link) {
        return fail(ErrorCode::failed, fmt::format("{} is not ours: it is no BPF link", path),
                    "'mpsched detach --all' removes what is there");
    }
    auto info = link_info((*fd)->get());
    if (!info)
        return std::unexpected(info.error());
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

// Removes a filter in our place if its program is one of `pins`.
Result<void> remove_own_filter(const Pins &pins, const FilterPlace &place) {
    return pins.program_name(filter_program(place)).empty() ? Result<void>{} : remove_filter(place);
}

} // namespace

Result<Hooks> read_hooks(const InstallationPaths &paths, const Pins &pins, std::uint32_t ifindex) {
    Hooks hooks;
    const auto xdp = read_link(paths.xdp_link(ifindex));
    if (!xdp)
        return std::unexpected(xdp.error());
    hooks.xdp = *xdp;
    const auto tcx = read_link(paths.tc_link(ifindex));
    if (!tcx)
        return std::unexpected(tcx.error());
    hooks.tcx = *tcx;
    if (const std::uint32_t id = filter_program({.ifindex = ifindex}); !pins.program_name(id).empty())
        hooks.filter_prog_id = id;
    const auto out = read_link(paths.out_link(ifindex));
    if (!out)
        return std::unexpected(out.error());
    hooks.out = *out;
    const std::uint32_t out_id = filter_program({ifindex, BPF_TC_EGRESS});
    if (steers_peers(pins.program_name(out_id)))
        hooks.out_filter_prog_id = out_id;
    const auto mark = open_pin(paths.clsact_mark(ifindex));
    if (!mark)
        return std::unexpected(mark.error());
    hooks.clsact_is_ours = mark->has_value();
    return hooks;
}

std::string xdp_program_name(bool layer3) { return layer3 ? "mps_xdp_l3" : "mps_xdp_eth"; }

std::string tc_program_name(bool layer3, TcRole role) {
    const char *what = role == TcRole::whole ? "mps_tc" : role == TcRole::wakes ? "mps_wake" : "mps_gin";
    return fmt::format("{}_{}", what, layer3 ? "l3" : "eth");
}

std::set<std::string> programs_of(const NetDevice &device, Mode mode) {
    const bool layer3 = device.layer3();
    if (mode != Mode::tc)
        return {xdp_program_name(layer3), tc_program_name(layer3, TcRole::wakes)};
    std::set<std::string> programs{tc_program_name(layer3, TcRole::whole)};
    if (device.port_kind == "vrf")
        programs.emplace(vrf_program);
    return programs;
}

Result<void> put_tc(const InstallationPaths &paths, const Pins &pins, const NetDevice &device, TcRole role,
                    bool tcx) {
    const std::string program = tc_program_name(device.layer3(), role);
    const auto hooks = read_hooks(paths, pins, device.ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    const std::string path = paths.tc_link(device.ifindex);
    if (hooks->tcx && hooks->tcx->ifindex) {
        const auto link = open_pin(path);
        if (!link)
            return std::unexpected(link.error());
        if (*link && bpf_link_update((*link)->get(), pins.program(program), nullptr)) {
            return std::unexpected(
                system_error(errno, fmt::format("replacing the TC program of {}", device.name)));
        }
    } else if (tcx && !hooks->filter_prog_id) {
        if (hooks->tcx) {
            if (auto done = unpin(path); !done)
                return done;
        }
        const Fd link(bpf_link_create(pins.program(program), as_int(device.ifindex),
                                      static_cast<bpf_attach_type>(attach_type_tcx_ingress), nullptr));
        if (!link)
            return std::unexpected(
                system_error(errno, fmt::format("attaching to TC ingress of {}", device.name)));
        if (auto done = pin(link.get(), path); !done)
            return done;
    } else if (auto done =
                   put_filter({.ifindex = device.ifindex}, device, pins.program(program),
                              paths.clsact_mark(device.ifindex), {paths.rules_clsact_mark(device.ifindex)});
               !done) {
        return done;
    }

    const auto after = read_hooks(paths, pins, device.ifindex);
    if (!after)
        return std::unexpected(after.error());
    if (pins.program_name(after->tc_prog_id()) != program) {
        return fail(
            ErrorCode::failed,
            fmt::format("{} is not on TC ingress of {} although the kernel took it", program, device.name),
            "something else changes the same hook: try again");
    }
    return {};
}

std::string out_program_name(bool layer3, Role role) {
    return fmt::format("{}_{}", role == Role::gateway ? "mps_gout" : "mps_out", layer3 ? "l3" : "eth");
}

std::set<std::string> out_programs_of(const NetDevice &device, Role role) {
    if (role == Role::gateway)
        return {out_program_name(device.layer3(), role), MPS_PROG_GW_BACK, MPS_PROG_GW_LOOK};
    return {out_program_name(device.layer3()), MPS_PROG_TAKE_BACK};
}

bool has_egress(const NetDevice &device) { return device.kind != "vrf"; }

bool lacks_egress(const Hooks &hooks, std::uint32_t ifindex) {
    return hooks.filter_prog_id && filter_program({ifindex, BPF_TC_EGRESS}) == *hooks.filter_prog_id;
}

Result<void> put_out(const InstallationPaths &paths, const Pins &pins, const NetDevice &device, bool tcx,
                     Role role) {
    const std::string program = out_program_name(device.layer3(), role);
    const auto hooks = read_hooks(paths, pins, device.ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    if (pins.program_name(hooks->out_prog_id()) == program)
        return {};
    if (lacks_egress(*hooks, device.ifindex)) {
        return fail(ErrorCode::unsupported,
                    fmt::format("{} has an ingress qdisc, which has no egress", device.name),
                    "a clsact qdisc in its place has both");
    }
    if (!tcx)
        return put_filter({device.ifindex, BPF_TC_EGRESS}, device, pins.program(program),
                          paths.clsact_mark(device.ifindex), {paths.rules_clsact_mark(device.ifindex)});
    // A dead link of an earlier attachment.
    const std::string path = paths.out_link(device.ifindex);
    if (auto done = remove_link(path); !done)
        return done;
    const Fd link(bpf_link_create(pins.program(program), as_int(device.ifindex),
                                  static_cast<bpf_attach_type>(attach_type_tcx_egress), nullptr));
    if (!link)
        return std::unexpected(system_error(errno, fmt::format("attaching to TC egress of {}", device.name)));
    return pin(link.get(), path);
}

Result<void> remove_tc(const InstallationPaths &paths, const Pins &pins, std::uint32_t ifindex) {
    for (const std::string &link : {paths.tc_link(ifindex), paths.out_link(ifindex)}) {
        if (auto done = remove_link(link); !done)
            return done;
    }
    if (auto done = remove_own_filter(pins, {.ifindex = ifindex}); !done)
        return done;
    if (steers_peers(pins.program_name(filter_program({ifindex, BPF_TC_EGRESS})))) {
        if (auto done = remove_own_filter(pins, {ifindex, BPF_TC_EGRESS}); !done)
            return done;
    }
    return remove_clsact(paths.clsact_mark(ifindex), ifindex);
}

Result<bool> has_vrf_program(const InstallationPaths &paths, const Pins &pins, std::uint32_t vrf) {
    const auto link = read_link(paths.vrf_link(vrf));
    if (!link)
        return std::unexpected(link.error());
    if (*link && (*link)->ifindex)
        return pins.program_name((*link)->prog_id) == vrf_program;
    return pins.program_name(filter_program({vrf, BPF_TC_EGRESS})) == vrf_program;
}

Result<void> put_vrf_program(const InstallationPaths &paths, const Pins &pins, const NetDevice &vrf,
                             bool tcx) {
    const auto there = has_vrf_program(paths, pins, vrf.ifindex);
    if (!there)
        return std::unexpected(there.error());
    if (*there)
        return {};
    const std::string program(vrf_program);
    if (!tcx)
        return put_filter({vrf.ifindex, BPF_TC_EGRESS}, vrf, pins.program(program),
                          paths.vrf_clsact_mark(vrf.ifindex), {});
    // A dead link of an earlier attachment.
    const std::string path = paths.vrf_link(vrf.ifindex);
    if (auto done = unpin(path); !done)
        return done;
    const Fd link(bpf_link_create(pins.program(program), as_int(vrf.ifindex),
                                  static_cast<bpf_attach_type>(attach_type_tcx_egress), nullptr));
    if (!link)
        return std::unexpected(system_error(errno, fmt::format("attaching to TC egress of {}", vrf.name)));
    return pin(link.get(), path);
}

Result<void> remove_vrf_program(const InstallationPaths &paths, const Pins &pins, std::uint32_t vrf) {
    if (auto done = remove_link(paths.vrf_link(vrf)); !done)
        return done;
    if (auto done = remove_own_filter(pins, {vrf, BPF_TC_EGRESS}); !done)
        return done;
    return remove_clsact(paths.vrf_clsact_mark(vrf), vrf);
}

namespace {

bool has_name_of_filter(const std::string &name) {
    return name.starts_with("mps_tc_") || name.starts_with("mps_wake_") || steers_peers(name) ||
           name.starts_with("mps_rin_") || name.starts_with("mps_rout_");
}

} // namespace

bool remove_filter_by_name(std::uint32_t ifindex) {
    bool removed = false;
    for (const FilterPlace &place : filter_places(ifindex)) {
        const std::uint32_t id = filter_program(place);
        const auto program = id ? prog_by_id(id) : std::unexpected(Error{});
        const auto info = program ? prog_info(program->get()) : std::unexpected(Error{});
        if (info && has_name_of_filter(info->name))
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
    if (hooks.has_xdp() && hooks.xdp->prog_id == id) {
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
    const std::string path = paths.xdp_link(device.ifindex);
    // A dead link of an earlier attachment.
    if (auto done = unpin(path); !done)
        return std::unexpected(XdpFailure{done.error()});
    LIBBPF_OPTS(bpf_link_create_opts, options,
                .flags = mode == Mode::generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE);
    const Fd link(bpf_link_create(pins.program(xdp_program_name(device.layer3())), as_int(device.ifindex),
                                  BPF_XDP, &options));
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
    return remove_link(paths.xdp_link(ifindex));
}

} // namespace mps
