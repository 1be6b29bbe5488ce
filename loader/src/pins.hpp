// SPDX-License-Identifier: MIT
//
// Where pins live, how they are found again, and the lock that keeps two commands apart. See
// docs/architecture.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fd.hpp"
#include "kernel_objects.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// ---- bpf file
// system

// The directory at which a bpf file system is mounted (see OpenOptions::bpffs). nullopt: none is.
[[nodiscard]] std::optional<std::string> find_bpffs(const OpenOptions &options);

// Somebody named a place for the pins, and it is none: that is not the same as nothing being attached.
[[nodiscard]] Result<void> check_bpffs(const OpenOptions &options);

// The same, mounting one at the usual place if there is none.
[[nodiscard]] Result<std::string> require_bpffs(const OpenOptions &options);

// Exclusive for this machine (strictly: for this bpf file system). Freed when the object or the process ends.
class Lock {
  public:
    [[nodiscard]] static Result<Lock> take(const std::string &bpffs, std::uint32_t timeout_ms);

  private:
    explicit Lock(Fd fd) : fd_(std::move(fd)) {}
    Fd fd_;
};

// ---- layout

// bpffs refuses names with a dot (kernel/bpf/inode.c, bpf_lookup), so none of ours has one.
inline constexpr std::string_view building_prefix = "new-";  // an installation under construction
inline constexpr std::string_view removing_prefix = "old-";  // one that is being removed
inline constexpr std::string_view installed_prefix = "net-"; // COOKIE follows

struct PinLayout {
    std::string root; // BPFFS/mpsched/vN, N being MPS_ABI_VERSION

    explicit PinLayout(const std::string &bpffs);
    [[nodiscard]] std::string installation(std::uint64_t cookie) const;
};

// Paths inside one installation.
struct InstallationPaths {
    std::string base;

    [[nodiscard]] std::string map(std::string_view name) const;
    [[nodiscard]] std::string program(std::string_view name) const;
    [[nodiscard]] std::string xdp_link(std::uint32_t ifindex) const;
    [[nodiscard]] std::string tc_link(std::uint32_t ifindex) const;
    // A program pinned only to say: the clsact qdisc of this interface was made by us.
    [[nodiscard]] std::string clsact_mark(std::uint32_t ifindex) const;
    // A policy's XDP program, pinned to say: loaded by `policy load`, keep it although nothing refers to it.
    [[nodiscard]] std::string kept_policy(std::uint32_t slot) const;
    // Which object the slot was filled from, see policy_origin.hpp.
    [[nodiscard]] std::string origin(std::uint32_t slot) const;
    // Of mps_sockops. Not among the links: it is one of no interface, and outlives the network namespace.
    [[nodiscard]] std::string levers_link() const;
    [[nodiscard]] std::string links_dir() const;
    [[nodiscard]] std::string policies_dir() const;
};

// Interfaces that have a pin below links/, sorted.
[[nodiscard]] std::vector<std::uint32_t> pinned_interfaces(const InstallationPaths &paths);
// Slots that have a pin below policies/, sorted.
[[nodiscard]] std::vector<std::uint32_t> pinned_policies(const InstallationPaths &paths);

[[nodiscard]] Result<void> make_directory(const std::string &path);
// Removes pins and directories below and including `path`. Nothing there is fine.
[[nodiscard]] Result<void> remove_tree(const std::string &path);
// First renames `path` out of sight, so that a kill in the middle leaves nothing half under its name.
[[nodiscard]] Result<void> remove_installation(const std::string &path);
// BPFFS/mpsched/vN and BPFFS/mpsched if they are empty.
void remove_empty_root(const std::string &bpffs);

// Everything below BPFFS/mpsched, each judged; `cookie` is that of the current network namespace (0: none).
[[nodiscard]] std::vector<Installation> find_installations(const std::string &bpffs, std::uint64_t cookie);

// Does the process that makes or removes this half-made installation still run? Its id is part of the name.
[[nodiscard]] bool builder_is_alive(const std::string &path);

// Removes what is half-made or stale, and with `force` what is unreachable or of another version. Lock held.
// Tells what was removed.
[[nodiscard]] Result<std::vector<std::string>> sweep(const std::string &bpffs, std::uint64_t cookie,
                                                     bool force);

} // namespace mps
