// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "attach/presence.hpp"
#include "base/fd.hpp"
#include "common/log.hpp"
#include "kernel/netns.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"
#include "pins/live_config.hpp"
#include "pins/lock.hpp"
#include "pins/pins.hpp"
#include "policy/slots.hpp"

namespace mps {

// An installation opened for changing: the lock is held, what killed commands left is repaired.
struct Session {
    Lock lock;
    InstallationPaths paths;
    Pins pins;
    LiveConfig config;
    bool sockops = true;                   // may be attached; see MPS_WITHOUT
    std::vector<PresenceChange> changes{}; // of interfaces since the last command

    [[nodiscard]] PathTable path_table() const { return PathTable(pins); }
    [[nodiscard]] Slots slots() const { return Slots(paths, pins); }
    [[nodiscard]] Result<void> bump_path_epoch() {
        return config.update([](mps_config &c) { c.path_epoch++; });
    }
};

// Instance is shown, this is not.
struct [[gnu::visibility("hidden")]] Instance::Impl {
    OpenOptions options;
    Without without;
    Fd netns; // the one that open() was told or was in
    std::uint64_t cookie = 0;
    mutable std::optional<bool> has_tcx_{};

    // What every call begins with: while it lives, the thread is in our network namespace and logs to our sink.
    struct Call {
        LogScope log;
        InNetns netns;
    };
    [[nodiscard]] Result<Call> enter() const;

    // The current place of the pins; nullopt where no bpf file system is mounted, or one that cannot be trusted.
    [[nodiscard]] std::optional<InstallationPaths> paths() const;
    [[nodiscard]] bool installed() const;
    // "made by a newer mpsched", if there are pins of another version for this network namespace.
    [[nodiscard]] Result<void> check_versions(bool older_is_fine) const;
    [[nodiscard]] bool has_tcx() const;

    // For reading. Fails if nothing is installed.
    [[nodiscard]] Result<Pins> open_for_reading() const;
    // For changing what must exist. `sweep_others`: removes what killed commands have left in other places, too.
    [[nodiscard]] Result<Session> open_for_changing(bool sweep_others = true) const;
    // For changing; loads and pins the data path with these programs if there is none. `created` tells.
    [[nodiscard]] Result<Session> open_or_create(bool &created, const std::set<std::string> &programs = {},
                                                 std::uint32_t max_connections = MPS_DEFAULT_CONNS) const;

    // nullopt: nothing is there to be changed, and nobody is just making it.
    [[nodiscard]] Result<std::optional<Lock>> lock_for_changing(const std::string &bpffs) const;
    [[nodiscard]] Result<void> create(const std::string &bpffs, const std::set<std::string> &programs,
                                      std::uint32_t max_connections) const;
    [[nodiscard]] Result<Session> session(Lock lock, const std::string &bpffs) const;
    // Removes the installation's pins.
    [[nodiscard]] Result<void> remove_all(const std::string &bpffs) const;
};

// For functions of other public headers.
struct Inside {
    [[nodiscard]] static const Instance::Impl &of(const Instance &instance) { return *instance.impl_; }
};

// Brings one installation into a state that a completed command could have left: see the rules in repair.cpp.
[[nodiscard]] Result<void> repair_installation(Session &session, bool tcx);

// Loads what is missing of these programs of the data path, and first the policies in the variant that they call.
[[nodiscard]] Result<void> provide(Session &session, const std::set<std::string> &programs,
                                   std::vector<std::string> &warnings);
// Names of the programs that there are, and back to these after a failure.
[[nodiscard]] std::set<std::string> provided(const Session &session);
void withdraw_others(Session &session, const std::set<std::string> &programs);
// Loads policies that are in use in a variant that the data path calls and their slots lack.
[[nodiscard]] Result<void> complete_slots(Session &session, std::vector<std::string> &warnings);

// Attaches an interface that is to be attached, in the mode that was asked for then; all or nothing.
[[nodiscard]] Result<AttachedInterface> attach_again(Session &session, const NetDevice &device, bool tcx);

// Of enum mps_path_mode.
[[nodiscard]] Mode mode_of(std::uint32_t path_mode);

[[nodiscard]] Result<void> check_interface_name(const std::string &name);

// Is to be attached, is there, and has not got all of its programs.
[[nodiscard]] Result<bool> lacks_programs(const InstallationPaths &paths, const Pins &pins,
                                          const PathEntry &entry);

// Attaches all interfaces of which that is true, and tells of them and of what has changed since the last command.
[[nodiscard]] Result<std::vector<PathEvent>> attach_what_lacks(Session &session, bool tcx);

// What Instance::use does, on an installation that is open already.
[[nodiscard]] Result<UseResult> use_policy(Session &session, const UseRequest &request);

// Gives the subflows of interfaces that were attached for a moment what their peers asked for, as well as it goes.
void restore_undone(const Pins &pins, const std::set<std::uint32_t> &interfaces);

[[nodiscard]] Result<std::vector<ConnectionStatus>> connections_now(const Instance::Impl &impl);
// Without the addresses of the host that it may name.
[[nodiscard]] RuleStatus rule_status(const mps_rule &rule, const std::vector<Slot> &slots);

// What the slots hold, in their order.
[[nodiscard]] Result<std::vector<PolicyInfo>> loaded_policies(const Slots &table);
// The name of the one in this slot; "default" for an empty one.
[[nodiscard]] std::string policy_in_slot(const std::vector<Slot> &slots, std::uint32_t number);

[[nodiscard]] Error not_installed();
[[nodiscard]] std::string energy_name(std::uint32_t energy_class);
[[nodiscard]] PathAttributes attributes_of(const mps_path &path);

} // namespace mps
