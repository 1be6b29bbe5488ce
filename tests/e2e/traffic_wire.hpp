// SPDX-License-Identifier: MIT
//
// Paths that the laboratory's networks do not have: devices without a link layer (tun), and delay. A wire
// in user space joins a tun or tap device of one host with one of the other.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.hpp"
#include <mpsched/lab/netns.hpp>
#include <mpsched/lab/network.hpp>

#include "traffic.hpp"

namespace mps::e2e {

enum class Kind {
    veth,
    tun, ///< packets start at IP
    tap, ///< Ethernet
    // Stacked on A's end of a veth, whose name is the path's with an "l" behind it:
    bond,   ///< of one member
    team,   ///< of one member; needs teamnl
    bridge, ///< with one port
    macvlan,
    ipvlan, ///< in mode l2
    ovs,    ///< an internal port of Open vSwitch, forwarded to the veth; needs ovs-dpctl
    vlan,   ///< on both hosts, like all that follow
    macsec,
    vxlan,
    gre,
    ipip,
    wireguard, ///< needs wg
    // The veth itself, in A's VRF "vrf0", to which transfers are bound:
    vrf,
    /// Network cards of a VM that are joined by a cable, of which there are $MPS_CABLES (vmtest --cables).
    virtio,
};

/// A packet, and how much later than the others it is to arrive.
struct Passed {
    std::vector<std::uint8_t> packet;
    std::chrono::microseconds later{0};
};

/// What becomes of a packet that the host `from` sends: nothing, itself, others. Called by the wire's thread.
using Meddler = std::function<std::vector<Passed>(lab::Side from, std::vector<std::uint8_t> packet)>;

struct WiredPath {
    std::string name = {};
    Kind kind = Kind::tun;
    double rate_mbit = 0;               ///< 0: unshaped
    std::chrono::microseconds delay{0}; ///< one way; tun and tap only
    bool bound = true;                  ///< the endpoint names the device, which binds its subflows
    Meddler meddler = {};               ///< tun and tap only
};

std::string_view name_of(Kind kind);

/// "this kernel has no bond" if such a device cannot be made here.
std::optional<std::string> missing(Kind kind);

/// Copies packets between two tun or tap devices, each after `delay`, or what the meddler makes of them.
class Wire {
  public:
    Wire(Fd a, Fd b, std::chrono::microseconds delay, Meddler meddler = {});
    Wire(const Wire &) = delete;
    Wire &operator=(const Wire &) = delete;
    ~Wire();

  private:
    void run() const;

    Fd a_;
    Fd b_;
    std::chrono::microseconds delay_;
    Meddler meddler_;
    std::atomic<bool> stopping_{false};
    std::thread thread_;
};

/// Two tun or tap devices of this name, one in each namespace; they live as long as the wire.
std::unique_ptr<Wire> join_by_wire(const lab::Namespace &a, const lab::Namespace &b, const std::string &name,
                                   Kind kind, std::chrono::microseconds delay = {}, Meddler meddler = {});

/// Two devices of this name that reach each other: a veth, a bridge with one port of A, or one of those that stand on both ends of a veth,
/// whose addresses are then these.
void make_pair(Kind kind, const lab::Namespace &a, const lab::Namespace &b, const std::string &name,
               std::size_t number, const std::string &outer_a, const std::string &outer_b);

/// Two hosts like those of lab::Network: A joins from every path, and routes by source. The first subflow takes path 0.
class WiredNetwork {
  public:
    explicit WiredNetwork(std::vector<WiredPath> paths, lab::Family family = lab::Family::ipv4);

    const lab::Namespace &a() const { return a_; }
    const lab::Namespace &b() const { return b_; }
    /// A's neighbour, behind one more port ("NAME" + "o") of each device that can have another.
    const lab::Namespace &c() const { return c_; }
    std::vector<std::string> devices() const;
    std::string address(lab::Side side, std::size_t path) const;
    std::optional<std::size_t> path_of(const lab::SubflowSample &subflow) const;

    lab::Server serve() const;
    /// To B's address on a path; waits for all subflows.
    lab::Transfer start(const lab::Server &server, lab::TransferSpec spec = {},
                        std::size_t first_path = 0) const;
    Delivered delivered(const lab::Transfer &transfer) const;

  private:
    std::vector<WiredPath> paths_;
    void make_device(std::size_t path);
    void make_link(const WiredPath &path);
    void make_tunnel(std::size_t path);
    void join_switch(const WiredPath &path);
    void add_neighbour(const WiredPath &path);

    lab::Family family_;
    lab::Namespace a_;
    lab::Namespace b_;
    lab::Namespace c_;
    std::vector<std::unique_ptr<Wire>> wires_; // before the namespaces go
};

/// What a host sees of packets that claim to come from it: forged ones that have got out. Counted by the kernel, on all of
/// the namespace's devices, from the object's birth on.
class Outside {
  public:
    /// `sources`: IPv4 addresses. What the host itself sends is not counted.
    Outside(const lab::Namespace &ns, const std::vector<std::string> &sources);
    std::uint32_t seen(); ///< since the last call

  private:
    Fd socket_;
};

} // namespace mps::e2e
