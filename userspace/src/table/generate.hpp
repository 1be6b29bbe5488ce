// SPDX-License-Identifier: MIT
//
// Manual page, shell completion and docs/commands.md from the command table.
#pragma once

#include <string>
#include <string_view>

namespace mps::table {

[[nodiscard]] std::string generate_man(std::string_view version);
// `frame` is completion.bash.in and so on: the script with @MARKS@ where the table comes in.
[[nodiscard]] std::string generate_bash(std::string_view frame);
[[nodiscard]] std::string generate_zsh(std::string_view frame);
[[nodiscard]] std::string generate_fish(std::string_view frame);
[[nodiscard]] std::string generate_markdown();
// docs/options.md: the formats of MPTCP options, from <mps/mptcp_options.h>.
[[nodiscard]] std::string generate_options();
// mpsched.toml(5) and docs/configuration.md, from the table of keys; mpschedd(8).
[[nodiscard]] std::string generate_settings_man(std::string_view version);
[[nodiscard]] std::string generate_settings_markdown();
// docs/metrics.md, from the catalogue of metrics.
[[nodiscard]] std::string generate_metrics_markdown();
[[nodiscard]] std::string generate_daemon_man(std::string_view version);

} // namespace mps::table
