// SPDX-License-Identifier: MIT
//
// What the process does that talks to a store: reads the key, watches it, puts reports, and begins again after each fault.
#pragma once

#include "base/fd.hpp"
#include "service/store/watcher.hpp"

namespace mps::service::store {

// Until the other end of `parent` is closed. Lines of JSON pass there: values and faults in one direction, reports in the other.
void run_session(const WatcherOptions &options, Fd parent);

} // namespace mps::service::store
