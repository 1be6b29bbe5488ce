// SPDX-License-Identifier: MIT
//
// One interface gets our programs, or has back what it had.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "attach/hooks.hpp"
#include "instance_impl.hpp"
#include "kernel/device_place.hpp"

namespace mps {

// What an interface was before we touched it, for undoing.
struct Before {
    NetDevice device;
    std::optional<Mode> mode; // nullopt: not attached
    std::optional<mps_path> path;
    // A program of somebody else that we took off with `force`.
    std::optional<ForeignXdp> foreign{};
    Fd foreign_program{};
};

[[nodiscard]] Result<Before> look(const Session &session, const NetDevice &device);

// Where it is among stacked devices. Refuses what would steer nothing, and warns of what is doubtful.
[[nodiscard]] Result<Place> judge(const NetDevice &device, Mode wish, std::vector<std::string> &warnings);

struct AttachWish {
    Mode mode = Mode::automatic;
    bool force = false; // replace somebody else's XDP program
    Role role = Role::host;
};
[[nodiscard]] Result<AttachedInterface> attach_one(Session &session, Before &before, const AttachWish &wish,
                                                   bool tcx, std::vector<std::string> &warnings);

// What it wants besides what it cannot be attached without. Where that does not go, all the rest works, and a warning says what does not.
void put_others(Session &session, const NetDevice &device, Mode mode, Role role, bool tcx,
                std::vector<std::string> &warnings);

// As well as it goes: the error that made us undo is the one to report.
void undo(Session &session, const Before &before, bool tcx);

// As a gateway's. All or nothing, as the rest of attach_one().
[[nodiscard]] Result<AttachedInterface> attach_gateway(Session &session, const Before &before,
                                                       const AttachWish &wish, bool tcx);
// The same as take_back() of peers.hpp for connections that pass: both of their hosts.
[[nodiscard]] Result<std::vector<std::string>>
take_back_forwarded(const Pins &pins, const std::function<bool(std::uint32_t)> &concerned,
                    std::chrono::milliseconds patience);
// The last step of attaching: from now on wakes may be sent here.
[[nodiscard]] Result<void> mark_attached(Session &session, const Before &before, const AttachWish &wish);

// Of enum mps_path_flag.
[[nodiscard]] Role role_of(const mps_path &path);
// Of enum mps_path_mode.
[[nodiscard]] std::uint32_t path_mode(Mode mode);

} // namespace mps
