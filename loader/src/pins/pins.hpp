// SPDX-License-Identifier: MIT
//
// Where pins live and how they are found again. See docs/architecture.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.hpp"
#include "kernel/kernel_objects.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/lock.hpp"

namespace mps {

// ---- layout

// bpffs refuses names with a dot (kernel/bpf/inode.c, bpf_lookup), so none of ours has one.
inline constexpr std::string_view building_prefix = "new-";  // an installation under construction
inline constexpr std::string_view removing_prefix = "old-";  // one that is being removed
inline constexpr std::string_view installed_prefix = "net-"; // COOKIE follows

struct PinLayout {
    std::string top;   // BPFFS/mpsched
    std::string root;  // BPFFS/mpsched/vN, N being MPS_ABI_VERSION
    std::string locks; // BPFFS/mpsched/locks, the same for all versions

    explicit PinLayout(const std::string &bpffs);
    [[nodiscard]] std::string installation(std::uint64_t cookie) const;
    [[nodiscard]] std::string building(std::uint64_t cookie) const;
    [[nodiscard]] std::string lock(std::uint64_t cookie) const;
};

// Has this network namespace an installation of any version?
[[nodiscard]] bool is_installed(const std::string &bpffs, std::uint64_t cookie);

// Paths inside one installation.
struct InstallationPaths {
    std::string base;

    [[nodiscard]] std::string map(std::string_view name) const;
    [[nodiscard]] std::string program(std::string_view name) const;
    // Maps and programs of option rules.
    [[nodiscard]] std::string rules_dir() const;
    [[nodiscard]] std::string rules_pin(std::string_view name) const;
    // Of the programs by which applications of a cgroup choose: see apps/grants.hpp.
    [[nodiscard]] std::string apps_dir() const;
    [[nodiscard]] std::string app_link(std::uint32_t grant, std::string_view side) const;
    // A policy's XDP program, pinned to say: loaded by `policy load`, keep it although nothing refers to it.
    [[nodiscard]] std::string kept_policy(std::uint32_t slot) const;
    // Which object the slot was filled from, see policy_origin.hpp.
    [[nodiscard]] std::string origin(std::uint32_t slot) const;
    // Of mps_sockops. Not among the links: it is one of no interface, and outlives the network namespace.
    [[nodiscard]] std::string levers_link() const;
    // Maps and link of `cc use`.
    [[nodiscard]] std::string congestion_dir() const;
    [[nodiscard]] std::string congestion_pin(std::string_view name) const;
    // Endpoints that were taken from the kernel for a while, see attach/removed_endpoints.hpp.
    [[nodiscard]] std::string removed_endpoints() const;
    // What probes of idle subflows have changed, see attach/idle_probes.hpp.
    [[nodiscard]] std::string probes_dir() const;
    [[nodiscard]] std::string probes_pin(std::string_view name) const;
    // Of the program that notes which command makes a socket: see policy/makers.hpp.
    [[nodiscard]] std::string makers_dir() const;
    [[nodiscard]] std::string makers_link() const;
    // Of links at interfaces, and of programs pinned only to say: the clsact qdisc there is ours. See attach/hook_table.hpp.
    [[nodiscard]] std::string links_dir() const;
    [[nodiscard]] std::string policies_dir() const;
};

// Interfaces that have a pin of the data path below links/, sorted: attached, or half so. A VRF is none of them, nothing is attached to it
// but for its members.
[[nodiscard]] std::vector<std::uint32_t> pinned_interfaces(const InstallationPaths &paths);
// Interfaces that have a pin of option rules there, which need no data path.
[[nodiscard]] std::vector<std::uint32_t> ruled_interfaces(const InstallationPaths &paths);
// Slots that have a pin below policies/, sorted.
[[nodiscard]] std::vector<std::uint32_t> pinned_policies(const InstallationPaths &paths);

[[nodiscard]] Result<void> make_directory(const std::string &path);
// Removes pins and directories below and including `path`. Nothing there is fine.
[[nodiscard]] Result<void> remove_tree(const std::string &path);
// First renames `path` out of sight, so that a kill in the middle leaves nothing half under its name.
[[nodiscard]] Result<void> remove_installation(const std::string &path);
// Everything below BPFFS/mpsched, each judged; `cookie` is that of the current network namespace (0: none).
[[nodiscard]] std::vector<Installation> find_installations(const std::string &bpffs, std::uint64_t cookie);

// Removes what killed commands and vanished namespaces have left, before a command changes the installation of `cookie`,
// whose lock it may hold. What somebody else is at work on is left to him.
[[nodiscard]] Result<void> sweep(const std::string &bpffs, std::uint64_t cookie, bool holds_lock);

// The same for all of this machine, each behind its own lock, and with `force` also what may belong to a living
// namespace: what is unreachable or of another version. Tells what was removed.
[[nodiscard]] Result<std::vector<std::string>> sweep_all(const std::string &bpffs, bool force,
                                                         const Patience &patience);

} // namespace mps
