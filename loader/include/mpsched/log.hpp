// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string_view>

namespace mps {

// Where diagnostics go: libbpf's own messages, complete verifier logs, steps that were retried. One call for
// each line, without newline. Without a sink (the default) they are dropped, because errors already carry
// what matters. The command line sets a sink for `-v`. Process-wide; set it before anything else.
using LogSink = std::function<void(std::string_view line)>;
void set_log_sink(LogSink sink);

} // namespace mps
