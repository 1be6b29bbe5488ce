// SPDX-License-Identifier: MIT
//
// Devices are stacked: what a port of a bond receives, sockets know as packets of the bond. Our program has to be where
// they are known by the device that sockets use, so this tells for each kind of device whether that is here, in which mode, and
// which device to name instead. It goes by what rtnetlink says (kind, master, link), not by names.
// docs/devices.md has the same as a table, with what was measured.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <string>

#include "kernel/netlink.hpp"
#include "mpsched/instance.hpp"

namespace mps {

struct Place {
    enum class Verdict {
        good,
        doubtful, // works, but probably another device is meant
        useless,  // no packet of a socket of this host would ever be steered here
    };
    Verdict verdict = Verdict::good;
    std::string what{}; // unless good: "eth0 is a port of the bridge br0: sockets use br0"
    std::string next{}; // and what to do: "attach br0 instead"

    Mode mode = Mode::
        native; // what mode `auto` tries first: native or tc. Native may still be refused by the driver.
    std::string why{}; // and why

    // What is wrong with that mode here, "" if nothing is. `native_works`: it only has a price.
    std::string native{};
    std::string generic{};
    bool native_works = true;
};

// `all`: every device of the network namespace.
[[nodiscard]] Place place_of(const NetDevice &device, std::span<const NetDevice> all);

// What sockets use on top of a device (VLANs, macvlans, bridges of these, …), by index: packets for it pass on that device,
// but sockets that are bound to what is above are not found there.
[[nodiscard]] std::map<std::uint32_t, std::string> devices_above(const NetDevice &device,
                                                                 std::span<const NetDevice> all);

// Which devices above an attached one should be attached as well, "" if none: a socket that is bound to a device (a `dev`
// endpoint binds its subflows) is not found from the one below.
[[nodiscard]] std::string unseen_above(const NetDevice &device, const std::set<std::uint32_t> &attached,
                                       std::span<const NetDevice> all);

// What is wrong with an interface attached in this mode as devices are stacked now, "" if nothing is: a bond, VRF … may have
// taken it in since, or let it go.
[[nodiscard]] std::string place_problem(const NetDevice &device, Mode mode, std::span<const NetDevice> all);

} // namespace mps
