// SPDX-License-Identifier: MIT
//
// Names in selectors: what can be one, and what it stands for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mps {

// As the data path compares names: those of MPS_RULE_NAME_LEN octets, NULs behind them.
[[nodiscard]] std::uint64_t name_digest(const char *name);

// A name as DNS or /etc/hosts has it: letters, digits, '-', '_' and '.', and no address.
[[nodiscard]] bool is_host_name(std::string_view text);

// Can there be a user of this name? Digits alone are a number.
[[nodiscard]] bool is_user_name(std::string_view text);
// Can a command be called so, as the kernel keeps it (comm)?
[[nodiscard]] bool is_command_name(std::string_view text);
// The number of a user, by name or number; nullopt: there is none of that name.
[[nodiscard]] std::optional<std::uint32_t> user_id(std::string_view text);
// The name, else the number.
[[nodiscard]] std::string user_name(std::uint32_t uid);

// A unit of systemd with its ending, ".service" if none was said; nullopt where no unit with processes can be called so.
[[nodiscard]] std::optional<std::string> unit_name(std::string_view text);
// What its cgroup is called.
[[nodiscard]] std::string unit_cgroup(const std::string &unit);

} // namespace mps
