// SPDX-License-Identifier: MIT
//
// Subflows on different ones of several paths of equal cost (ECMP), which routers choose by a hash of what packets have in their header:
// by IPv6 flow labels, or by TCP source ports. docs/spread.md tells what it was measured to do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"

namespace mps {

// ---- the map of a fabric

// What decides about the path of packets between two addresses.
struct SpreadRoute {
    std::string by{};            // "label" or "port"
    std::string local{};         // address or prefix of this host; "any"
    std::string peer{};          // address or prefix of the peer; a prefix only with local "any"
    std::uint16_t peer_port = 0; // of ports
    std::vector<std::vector<std::uint32_t>> paths{}; // labels or ports of each path

    friend bool operator==(const SpreadRoute &, const SpreadRoute &) = default;
};
struct SpreadMap {
    std::vector<SpreadRoute> routes{};

    friend bool operator==(const SpreadMap &, const SpreadMap &) = default;
};

// Of a map's file; `name` is for the error, which tells the line. Routes come out in the order in which they are compared.
[[nodiscard]] MPS_API Result<SpreadMap> parse_spread_map(const std::string &text, const std::string &name);
[[nodiscard]] MPS_API Result<SpreadMap> read_spread_map(const std::string &file);
[[nodiscard]] MPS_API std::string format_spread_map(const SpreadMap &map);

// ---- placing subflows

struct SpreadInterface {
    std::string name{};
    std::optional<std::uint64_t> speed_bit_s{}; // of the link, or of a token bucket (tbf) that is its qdisc
    std::uint64_t rate_bit_s = 0;               // what leaves there
    std::string problem{};                      // "" or why nothing is placed there now
};

struct SpreadSubflow {
    std::string local{}, peer{}; // "192.0.2.1:443"
    std::uint32_t token = 0;     // of its connection
    std::string interface{};
    std::optional<std::uint32_t> label{}; // IPv6 flow label that it was given
    std::optional<std::uint16_t> port{};  // source port that it was given
    std::optional<std::uint32_t> path{};  // of the map, from 1
    std::uint32_t moves = 0;              // other labels that it got because it was slow
    std::uint64_t rate_bit_s = 0;         // acknowledged, in the last stretch of time
};

struct SpreadStatus {
    std::vector<SpreadInterface> interfaces{};
    bool moves = true; // subflows get another label while they live and are slow
    SpreadMap map{};
    std::uint64_t moved = 0;           // labels that were exchanged
    std::uint64_t ports_given = 0;     // subflows whose source port was chosen …
    std::uint64_t ports_exhausted = 0; // … and for which all ports of the map were taken
    std::vector<SpreadSubflow> subflows{};
};

// Subflows are found by looking at every socket of the network namespace.
[[nodiscard]] MPS_API Result<SpreadStatus> spread_status(const Instance &instance, bool with_subflows = true);

struct SpreadRequest {
    std::vector<std::string> interfaces{};
    std::optional<SpreadMap> map{}; // nullopt: that which there is stays
    bool moves = true;
};
struct SpreadOn {
    std::vector<std::string> interfaces{}; // that were not there before
    std::vector<std::string> warnings{};
};
// Beside those that there are. All of them or none.
[[nodiscard]] MPS_API Result<SpreadOn> spread_on(const Instance &instance, const SpreadRequest &request);

// Their names. With the last interface nothing of it stays. Living subflows keep their ports, and have the kernel's labels again.
[[nodiscard]] MPS_API Result<std::vector<std::string>>
spread_off(const Instance &instance, const std::vector<std::string> &interfaces, bool all);

// ---- finding paths

struct SpreadProbeRequest {
    std::vector<std::string> peers{};  // addresses
    std::vector<std::string> locals{}; // addresses; none: all of the interface by which the peer is reached
    bool by_port = false;              // IPv6 as well: by source ports; IPv4 has nothing else
    std::uint16_t peer_port =
        0; // 0: port 443; of labels it does not count, unless the fabric hashes ports as well
    std::uint32_t values = 32; // how many labels or ports are tried
    std::uint32_t hops = 8;    // at most
};
struct SpreadProbePair {
    std::string local{}, peer{};
    std::string by{};
    std::vector<std::string> paths{}; // the routers of each, "2001:db8::1 2001:db8::2"; "*" did not answer
    SpreadRoute route{};              // nothing of paths that did not answer
    std::uint32_t tried = 0, answered = 0;
    std::string
        problem{}; // "" or why the map would not hold: the fabric does not look at labels, or at ports as well
};
[[nodiscard]] MPS_API Result<std::vector<SpreadProbePair>> probe_spread(const Instance &instance,
                                                                        const SpreadProbeRequest &request);

} // namespace mps
