// SPDX-License-Identifier: MIT
//
// The bpf file system: finding it, mounting it, and whether what stands there can be anybody's but root's.
#pragma once

#include <optional>
#include <string>

#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// The directory at which a bpf file system is mounted (see OpenOptions::bpffs). nullopt: none is.
[[nodiscard]] std::optional<std::string> find_bpffs(const OpenOptions &options);

// An error if a place was asked for and no bpf file system is there.
[[nodiscard]] Result<void> check_bpffs(const OpenOptions &options);

// find_bpffs(), mounting one at the usual place if there is none, and only if it can be trusted.
[[nodiscard]] Result<std::string> require_bpffs(const OpenOptions &options);

// Nobody but root and us can have put, or can replace, what is at `bpffs` and below its directory of ours. A bpf file
// system that is mounted without options has mode 1777: anybody may make our directory there before us, and swap
// what we pin in it. Nothing of ours there is fine.
[[nodiscard]] Result<void> check_trust(const std::string &bpffs);

// nullopt: none is mounted. An error: one is, and it is not to be trusted.
[[nodiscard]] Result<std::optional<std::string>> find_trusted_bpffs(const OpenOptions &options);

} // namespace mps
