// SPDX-License-Identifier: MIT
//
// From a look at paths and connections to the text that Prometheus reads (text format 0.0.4). Pure. Its length depends on the number
// of interfaces, policies, reasons and programs, never on that of connections.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "mpsched/links.hpp"
#include "mpsched/sampler.hpp"
#include "watch/path_totals.hpp"

namespace mps::metrics {

// Bytes per second between the last two looks.
struct Rate {
    std::uint64_t sent = 0, received = 0;
};

// What the service's other threads read.
struct Look {
    Sample sample{};
    std::vector<Rate> rates{}; // of all subflows, connection by connection
    std::map<std::string, watch::PathTotal> paths{};
    std::vector<Link> links{};
    std::uint64_t good = 0, failed = 0; // looks
    double took_s = 0;
    double ended_s = 0; // since 1970
};

// What the service knows of itself.
struct Facts {
    std::string version{};
    std::string revision{};
    bool refused = false;
    std::size_t failed_objects = 0;
    bool ledger_problem = false;
    std::map<std::string, bool> metered{}; // by interface; where nobody says anything there is none
};

inline constexpr const char *content_type = "text/plain; version=0.0.4; charset=utf-8";

[[nodiscard]] std::string exposition(const Look &look, const Facts &facts);

} // namespace mps::metrics
