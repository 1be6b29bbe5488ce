// SPDX-License-Identifier: MIT
//
// Our programs on one interface: what is there, putting it there, taking it away. Everything is read from the
// kernel.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"
#include "pins/pins.hpp"

namespace mps {

struct Hooks {
    // Our pinned links. An ifindex of 0 inside: detached by somebody else, or the interface is gone.
    std::optional<LinkInfo> xdp{};
    std::optional<LinkInfo> tcx{};
    std::optional<std::uint32_t> filter_prog_id{}; // of our cls_bpf filter
    std::optional<LinkInfo> out{};                 // at TC egress
    std::optional<std::uint32_t> out_filter_prog_id{};
    bool clsact_is_ours = false;

    [[nodiscard]] bool any() const {
        return xdp || tcx || filter_prog_id || out || out_filter_prog_id || clsact_is_ours;
    }
    [[nodiscard]] bool has_xdp() const { return xdp && xdp->ifindex; }
    // 0: no TC program of ours.
    [[nodiscard]] std::uint32_t tc_prog_id() const {
        return tcx && tcx->ifindex ? tcx->prog_id : filter_prog_id.value_or(0);
    }
    // 0: none of ours at egress.
    [[nodiscard]] std::uint32_t out_prog_id() const {
        return out && out->ifindex ? out->prog_id : out_filter_prog_id.value_or(0);
    }
};

// Works for interfaces that are gone, too. A filter counts as ours if its handle is ours and its program is
// one of `pins`.
[[nodiscard]] Result<Hooks> read_hooks(const InstallationPaths &paths, const Pins &pins,
                                       std::uint32_t ifindex);

enum class TcRole {
    whole, // mode tc: everything
    wakes, // beside XDP: only wakes
    gateway,
};
[[nodiscard]] std::string xdp_program_name(bool layer3);
[[nodiscard]] std::string tc_program_name(bool layer3, TcRole role);
// All that an interface needs in this mode, which is not `automatic`.
[[nodiscard]] std::set<std::string> programs_of(const NetDevice &device, Mode mode);

// Attaches our TC program, or replaces the one we have there without a gap. `tcx` chooses the hook for a new
// one.
[[nodiscard]] Result<void> put_tc(const InstallationPaths &paths, const Pins &pins, const NetDevice &device,
                                  TcRole role, bool tcx);
// The program at TC egress by which peers are told what to send (bpf/src/departure.bpf.h), and what it takes.
[[nodiscard]] std::string out_program_name(bool layer3, Role role = Role::host);
[[nodiscard]] std::set<std::string> out_programs_of(const NetDevice &device, Role role = Role::host);
// A VRF's egress has another one of ours; what leaves by its members passes theirs.
[[nodiscard]] bool has_egress(const NetDevice &device);
// Without tcx: the device has an ingress qdisc, which has no egress. What is put there would take the place of our program at ingress.
[[nodiscard]] bool lacks_egress(const Hooks &hooks, std::uint32_t ifindex);
[[nodiscard]] Result<void> put_out(const InstallationPaths &paths, const Pins &pins, const NetDevice &device,
                                   bool tcx, Role role = Role::host);
// At ingress and at egress.
[[nodiscard]] Result<void> remove_tc(const InstallationPaths &paths, const Pins &pins, std::uint32_t ifindex);

// The program at a VRF that finds the sockets bound to it, for its members (bpf/src/vrf.bpf.h).
[[nodiscard]] Result<bool> has_vrf_program(const InstallationPaths &paths, const Pins &pins,
                                           std::uint32_t vrf);
[[nodiscard]] Result<void> put_vrf_program(const InstallationPaths &paths, const Pins &pins,
                                           const NetDevice &vrf, bool tcx);
[[nodiscard]] Result<void> remove_vrf_program(const InstallationPaths &paths, const Pins &pins,
                                              std::uint32_t vrf);

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
