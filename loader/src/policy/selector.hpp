// SPDX-License-Identifier: MIT
//
// Selectors tell which connections a rule is for: `mpsched use weighted --for
// remote=203.0.113.0/24:443,mark=1`.
//
//   remote=ADDR[/PREFIX][:PORT]  the peer's address; IPv6 as 2001:db8::/32 or [2001:db8::/32]:443; `*:443` = any address
//   local=ADDR[/PREFIX][:PORT]   this host's address
//   rport=PORT, lport=PORT       ports alone, 1..65535
//   host=NAME                    the peer's address is one of those that this name has (hosts.hpp)
//   mark=VALUE[/MASK]            SO_MARK, decimal or 0x…; mask defaults to all bits
//   user=NAME                    who made the socket; or the user's number
//   unit=NAME                    a unit of systemd, itself and all below it
//   cgroup=PATH                  a cgroup v2 below its mount point, or the full path; itself and all below it
//   dev=IFACE                    the attached interface on which the connection's packet arrived
//
// Parts are separated by commas and must all match. A part may occur once.
#pragma once

#include <string>
#include <string_view>

#include "mpsched/error.hpp"

struct mps_rule;

namespace mps {

// Text to rule; `slot` stays 0. Interfaces, cgroups and users are looked up now: a rule keeps the index and ids found
// here. Hosts are not: see hosts.hpp. Every mistake is a usage error that names the part.
[[nodiscard]] Result<mps_rule> parse_selector(std::string_view text);

// Rule to text that parse_selector() accepts. Interfaces that no longer exist become "dev=#7", cgroups whose
// path cannot be found "cgroup=#4711"; both forms are accepted as well.
[[nodiscard]] std::string format_selector(const mps_rule &rule);

// Do both rules select the same connections, whatever their slot?
[[nodiscard]] bool same_selector(const mps_rule &a, const mps_rule &b);

} // namespace mps
