// SPDX-License-Identifier: MIT
//
// Our programs on one interface: what is there, putting it there, taking it away. Everything is read from the
// kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "attach/hook_table.hpp"
#include "kernel/kernel_objects.hpp"
#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"
#include "pins/pins.hpp"

namespace mps {

// What is at one hook of one interface.
struct Standing {
    // Our pinned link. An ifindex of 0 inside: detached by somebody else, or the interface is gone.
    std::optional<LinkInfo> link{};
    std::uint32_t filter_prog_id = 0; // of our cls_bpf filter; 0: there is none

    [[nodiscard]] bool linked() const { return link && link->ifindex; }
    [[nodiscard]] bool any() const { return link || filter_prog_id; }
    // 0: no program of ours.
    [[nodiscard]] std::uint32_t prog_id() const { return linked() ? link->prog_id : filter_prog_id; }
};

// At those of the interface itself.
struct Hooks {
    Standing xdp{}, in{}, out{};
    bool clsact_is_ours = false;

    [[nodiscard]] bool any() const { return xdp.any() || in.any() || out.any() || clsact_is_ours; }
    [[nodiscard]] bool has_xdp() const { return xdp.linked(); }
    [[nodiscard]] const Standing &at(HookId id) const {
        return id == HookId::xdp ? xdp : id == HookId::out ? out : in;
    }
};

// The mode that XDP tells of; native may be generic, which is the same to all but XDP itself.
[[nodiscard]] inline Mode mode_seen(const Hooks &hooks) { return hooks.has_xdp() ? Mode::native : Mode::tc; }

// Works for interfaces that are gone, too. A filter counts as ours if its handle is ours and its program is one of `pins` that belongs
// to the hook.
[[nodiscard]] Result<Standing> read_hook(const InstallationPaths &paths, const Pins &pins, HookId id,
                                         std::uint32_t ifindex);
[[nodiscard]] Result<Hooks> read_hooks(const InstallationPaths &paths, const Pins &pins,
                                       std::uint32_t ifindex);

// The path that the pin of a link, or the mark of a qdisc, has.
[[nodiscard]] std::string pin_of(const InstallationPaths &paths, const Hook &hook, std::uint32_t ifindex);
[[nodiscard]] std::string mark_of(const InstallationPaths &paths, const Hook &hook, std::uint32_t ifindex);
// Of other hooks, for the same qdisc.
[[nodiscard]] std::vector<std::string> other_marks(const InstallationPaths &paths, const Hook &hook,
                                                   std::uint32_t ifindex);

// Of a device with an ingress qdisc instead of a clsact one. What is put to egress there would take the place of our program at ingress.
[[nodiscard]] bool lacks_egress(const Hooks &hooks, std::uint32_t ifindex);

// Attaches a program to TC, or puts it in the place of the one we have there, without a gap. `tcx` chooses the kind for a new one.
// `device` is where it stands: the VRF, of HookId::vrf.
[[nodiscard]] Result<void> put_program(const InstallationPaths &paths, const Pins &pins,
                                       const HookProgram &program, const NetDevice &device, bool tcx);
// All of the interface itself: XDP first, then TC, then a qdisc that was ours.
[[nodiscard]] Result<void> remove_programs(const InstallationPaths &paths, const Pins &pins,
                                           std::uint32_t ifindex);
// One that is not of the interface itself.
[[nodiscard]] Result<void> remove_program(const InstallationPaths &paths, const Pins &pins, HookId id,
                                          std::uint32_t ifindex);

// A link's pin: what is there now, if it is a link at all.
[[nodiscard]] Result<std::optional<LinkInfo>> read_link(const std::string &path);
// Detaches it as well, whoever else holds it.
[[nodiscard]] Result<void> remove_link(const std::string &path);
// `flags` are those of the kernel's attach; a dead link of an earlier attachment goes.
[[nodiscard]] Result<void> put_link(const InstallationPaths &paths, const Hook &hook, const NetDevice &device,
                                    int program, std::uint32_t flags = 0);

// For pins that cannot be trusted: removes filters in our places whose programs have names of ours, those of option rules as well. True
// if there was one.
bool remove_filter_by_name(std::uint32_t ifindex);

// An XDP program that is not ours.
struct ForeignXdp {
    std::uint32_t prog_id = 0;
    bool generic = false;
};
// What the kernel has on the interface now. `own` is our link there, if any.
struct XdpState {
    std::optional<ForeignXdp> foreign{};
    std::optional<Mode> own_mode{};
};
[[nodiscard]] Result<XdpState> read_xdp(std::uint32_t ifindex, const Hooks &hooks);
// The program itself is kept in `removed` if it could be put back: programs that hang on somebody's link
// cannot.
[[nodiscard]] Result<void> remove_foreign_xdp(const NetDevice &device, const ForeignXdp &foreign,
                                              Fd &removed);
// As well as it goes.
void put_foreign_xdp_back(const NetDevice &device, const ForeignXdp &foreign, const Fd &removed);

// `mode` is native or generic, and no XDP program may be there.
struct XdpFailure {
    Error error;
    bool driver_refused = false; // native mode, and the reason lies with the driver: another mode may work
    int err = 0;                 // the kernel's errno, 0 if it was not the kernel
};
[[nodiscard]] std::expected<void, XdpFailure> put_xdp(const InstallationPaths &paths, const Pins &pins,
                                                      const NetDevice &device, Mode mode);
[[nodiscard]] Result<void> remove_xdp(const InstallationPaths &paths, std::uint32_t ifindex);

} // namespace mps
