// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string_view>

namespace mps {

// Where diagnostics of one Instance or one probe() go: libbpf's own messages, complete verifier logs, steps that were retried.
// One call for each line, without newline, in the thread that called the library. Without a sink (the default) they are
// dropped, because errors already carry what matters. The command line gives one for `-v`.
using LogSink = std::function<void(std::string_view line)>;

} // namespace mps
