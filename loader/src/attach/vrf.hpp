// SPDX-License-Identifier: MIT
//
// Which attached interfaces ask a VRF's program for sockets (bpf/src/vrf.bpf.h tells why), and that program itself. It is
// there while one of the VRF's members is attached in mode tc.
#pragma once

#include <cstdint>
#include <string>

#include "kernel/netlink.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"
#include "pins/pins.hpp"

namespace mps {

// `member` is attached in this mode: from now on it asks the VRF that it is in, and no other.
[[nodiscard]] Result<void> follow_vrf(const InstallationPaths &paths, const Pins &pins,
                                      const NetDevice &member, Mode mode, bool tcx);
// It is not attached any more.
[[nodiscard]] Result<void> leave_vrf(const InstallationPaths &paths, const Pins &pins, std::uint32_t member);

// "" if it asks the VRF that it is in.
[[nodiscard]] Result<std::string> vrf_problem(const InstallationPaths &paths, const Pins &pins,
                                              const NetDevice &member, Mode mode);

} // namespace mps
