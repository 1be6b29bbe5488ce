// SPDX-License-Identifier: MIT
// Two hosts, A (client) and B (server), joined by 1 to 9 separate paths, each a veth pair with its own rate,
// addresses and state.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/netns.hpp>

namespace mps::lab {

enum class Family { ipv4, ipv6, dual };

/// Who asks for the additional subflows.
enum class Joins {
    client_subflow, ///< A has `subflow` endpoints: every path's A address joins toward the server address of
                    ///< the first subflow
    server_signal,  ///< B has `signal` endpoints: A joins toward every address that B announces
    none, ///< no endpoints (the kernel has room for 8, so a dual network of more than 5 paths needs this);
          ///< limits are still set
};

enum class Shaping {
    hosts,  ///< TBF on the hosts' own devices: local back-pressure, hence short queues (TCP small queues), as
            ///< on a modem's own host
    middle, ///< TBF in a third namespace (one bridge per path): the queue is in the network, it fills and
            ///< drops, as behind a router
};

enum class Side { a, b };

/// What netem does to packets of one direction. It also serialises them at the path's rate, in place of TBF.
struct Netem {
    double delay_ms = 0;  ///< one way
    double jitter_ms = 0; ///< the delay varies by as much in both directions, evenly
    double loss = 0;      ///< 0..1; 1 is a silent blackhole
    /// Packets that wait or are under way; more are dropped.
    unsigned limit_packets = 1000;
};

struct PathSpec {
    std::string name = {};                     ///< device name on both hosts, at most 15 characters
    double rate_mbit = 0;                      ///< 10^6 bit/s on the wire, A to B; 0 leaves it unshaped
    std::optional<double> down_rate_mbit = {}; ///< B to A; as rate_mbit when absent
    unsigned mtu = 1500;                       ///< bytes, 1280..65535
    bool backup = false;                       ///< the endpoint of this path asks for backup
    /// Longest queueing delay of the shaper, at least 1 ms.
    std::chrono::milliseconds queue = std::chrono::milliseconds(50);
    /// With it the path has delay and loss, needs a rate in both directions, and `queue` means nothing.
    std::optional<Netem> netem = {};
};

/// Absent leaves the kernel's default (all on for veth, except GRO).
struct Offloads {
    std::optional<bool> tx_checksum = {}; ///< off also ends TSO, which needs it
    std::optional<bool> tso = {};
    std::optional<bool> gso = {};
    std::optional<bool> gro = {};
};

/// False if this kernel has no netem: then paths with one cannot be built.
Result<bool> netem_available();

struct NetworkSpec {
    std::vector<PathSpec> paths = {};
    Family family = Family::ipv4;
    std::size_t first_path = 0; ///< index of the path that carries the first subflow of transfers
    Joins joins = Joins::client_subflow;
    Shaping shaping = Shaping::hosts;
    Offloads offloads = {};
    /// Merged packets would pass netem as one: lost together, and late by the time of the whole.
    bool single_packets = false;
    /// Of both hosts. Subflows beyond the first, and addresses taken from the other host.
    unsigned subflow_limit = 8;
    /// Said here since new namespaces inherit whatever the host uses.
    std::string congestion_control = "cubic";
};

/// The emulated network. Addresses come from the documentation ranges: path i has 198.51.100.(16 i)/28 and
/// 2001:db8:0:i::/64, where host A is .1 / ::a and host B .2 / ::b. Each host routes by source address, so
/// every subflow stays on its own path.
class Network {
  public:
    static Result<Network> create(NetworkSpec spec);

    Network(Network &&) noexcept = default;
    Network &operator=(Network &&) noexcept = default;

    const NetworkSpec &spec() const { return spec_; }
    const Namespace &a() const { return a_; }
    const Namespace &b() const { return b_; }
    const Namespace &host(Side side) const { return side == Side::a ? a_ : b_; }
    std::size_t path_count() const { return spec_.paths.size(); }
    /// Device names in path order; the same on both hosts.
    std::vector<std::string> devices() const;

    /// IPv6 if the network is IPv6 only and no family is asked for.
    std::string address(Side side, std::size_t path, std::optional<Family> family = {}) const;
    /// Where clients connect to, so that the first subflow takes first_path.
    std::string server_address(std::optional<Family> family = {}) const;
    /// The path that an address of either host belongs to.
    std::optional<std::size_t> path_of(std::string_view address) const;
    std::optional<std::size_t> path_index(std::string_view name) const;

    /// Administrative state of a path's device on one side (the other side sees its carrier go). Up again
    /// restores addresses and routes, and waits until both ends are running.
    Result<void> set_link(std::size_t path, bool up, Side side = Side::a);
    /// New rates, delay and loss of a running path with netem; what waits in it stays there.
    Result<void> set_netem(std::size_t path, double mbit, double down_mbit, const Netem &netem);
    /// Asks the kernel whether a running path is like that; an error tells the difference.
    Result<void> check_netem(std::size_t path, double mbit, double down_mbit, const Netem &netem) const;
    /// Packets that the emulation of a path dropped so far, both directions. Needs a path with netem.
    Result<std::uint64_t> dropped(std::size_t path) const;
    /// Drops silently everything that enters the path on either side, with all devices up; false ends it.
    Result<void> set_blackhole(std::size_t path, bool on);
    /// New rate on a running path. 0 removes the shaper.
    Result<void> set_rate(std::size_t path, double mbit, Side from = Side::a);
    /// All paths, both hosts.
    Result<void> set_offloads(const Offloads &offloads);

  private:
    Network(NetworkSpec spec, Namespace a, Namespace b, std::optional<Namespace> middle);
    Result<void> build();
    Result<void> shape(std::size_t path, Side from, double mbit);
    Result<void> wait_until_running(std::size_t path) const;
    Result<void> route_by_source(std::size_t path, bool with_rules) const;
    std::string endpoints(Side side) const;

    NetworkSpec spec_;
    Namespace a_;
    Namespace b_;
    std::optional<Namespace> middle_;
};

/// Switches offloads of one device in one namespace, and reads them back.
Result<void> set_device_offloads(const Namespace &ns, const std::string &device, const Offloads &offloads);

} // namespace mps::lab
