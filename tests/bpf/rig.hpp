// SPDX-License-Identifier: MIT
//
// A real MPTCP connection in namespaces of its own, and the real data path loaded beside it but attached to
// nothing: packets reach it through BPF_PROG_TEST_RUN only, so a test sees exactly what one packet does.
#pragma once

#include "packet.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <sched.h>

#include "base/fd.hpp"
#include <mps/abi.h>
#include <mpsched/lab/mptcp.hpp>
#include <mpsched/lab/network.hpp>

struct bpf_object;
struct datapath;
struct fixed_policy;
struct empty_programs;

namespace mps::test {

// One subflow as its packets are addressed on their way to us.
struct Flow {
    bool ipv6 = false;
    std::string local;
    std::string remote;
    std::uint16_t local_port = 0;
    std::uint16_t remote_port = 0;
    std::uint32_t ifindex = 0;

    // What the stack expects next, as of the rig's start; a timestamp some minutes ahead, which stays new.
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint32_t tsval = 0;

    // Headers of a packet from the peer, which the stack would take; nothing here reaches it.
    packet::IPv4 ipv4() const { return {.src = remote, .dst = local}; }
    packet::IPv6 ipv6_header() const { return {.src = remote, .dst = local}; }
    packet::TCP tcp() const {
        return {.sport = remote_port, .dport = local_port, .seq = seq, .ack_seq = ack};
    }
    packet::timestamp timestamp() const { return {.value = tsval}; }
    packet::Packet network() const { return ipv6 ? packet::Packet(ipv6_header()) : packet::Packet(ipv4()); }
};

struct Ran {
    int verdict = 0;
    packet::Bytes packet;
    std::uint32_t mark = 0; // TC only
};

struct TcContext {
    std::uint32_t mark = 0;
    std::uint32_t gso_size = 0;
};

// Which of the two ways of reading kernel memory the data path is loaded with.
enum class Reading { cast, probe };

// Those that this kernel has, the better one first; `cast` needs bpf_rdonly_cast().
const std::vector<Reading> &readings();

// To build a rig loads the data path, which takes an emulated CPU seconds. With MPS_TEST_FEW_RIGS in the environment,
// as vmtest sets it for what every run runs, a test that combines things has each of them in some rig, but not all
// combinations.
bool few_rigs();

// The reading of a family's usual rig.
Reading usual_reading(lab::Family family);

// Families with ways of reading.
std::vector<std::pair<lab::Family, Reading>> families_and_readings();

// Runs a program once. `ifindex` 0 leaves the kernel's default (the loopback device). Throws std::system_error.
Ran run_xdp(int program_fd, packet::ByteView packet, std::uint32_t ifindex = 0);
Ran run_tc(int program_fd, packet::ByteView packet, std::uint32_t ifindex = 0, TcContext context = {});

// Unshaped paths; the server announces its addresses, so that it can change its mind by endpoint.
lab::NetworkSpec two_hosts(lab::Family family, std::size_t paths = 2);

// While it lives, the calling thread is in the namespace, and on one CPU: per-CPU maps are read back on the CPU
// that wrote them.
class Inside {
  public:
    explicit Inside(const lab::Namespace &ns);
    ~Inside();
    Inside(const Inside &) = delete;
    Inside &operator=(const Inside &) = delete;

  private:
    Fd before_;
    cpu_set_t cpus_;
};

// What becomes of the packets of a connection with nothing to send.
enum class Idle {
    decided_on, // each of them
    left_alone, // but for one a millisecond, as installed
};

class Rig {
  public:
    // Throws std::runtime_error with the reason.
    Rig(lab::Family family, Reading reading, std::size_t paths = 2, Idle idle = Idle::decided_on);
    // `backup_path`: the server announces that path's address as a backup, so the join says so. `ecn`: both hosts ask for it.
    Rig(const lab::NetworkSpec &spec, Reading reading, std::optional<std::size_t> backup_path = {},
        bool ecn = false, Idle idle = Idle::decided_on);
    ~Rig();

    const lab::Network &network() const { return network_; }
    // In the order of subflow ids: [0] is the first subflow.
    const std::vector<Flow> &flows() const { return flows_; }
    int client_socket() const { return client_.get(); }

    // Program file descriptors by name, for example "mps_xdp_eth".
    int program(const std::string &name) const;
    int map(const std::string &name) const;
    int empty_xdp() const;
    int empty_tc() const;

    // The policy answers `allowed` from now on.
    void decide(std::uint32_t allowed, std::uint32_t flags = 0);
    // From now on the policy counts its decisions in the connection's state (or no longer does).
    void count_decisions(bool on);
    // Slot 0: no policy, pass-through.
    void use_slot(std::uint32_t slot);
    // Puts another policy's object into a slot; `wants` as in mps_config.slot_wants.
    void fill_slot(std::uint32_t slot, const unsigned char *begin, const unsigned char *end,
                   std::uint32_t wants);
    void set_config_flags(std::uint32_t flags);
    void set_dwell(std::uint32_t dwell_us);
    void set_path_flags(std::size_t path, std::uint32_t flags);

    // Forgets wakes that decisions have queued, so that the next packet on TC sends none.
    void clear_wakes();
    void put_wake(std::uint32_t index, const mps_wake &wake);
    mps_wake get_wake(std::uint32_t index) const;
    // From now on for 20 ms: a wake's clone, made of a packet of `from`, is on its way to `to`.
    void wake_on_its_way(std::uint32_t from, std::uint32_t to);
    // Bits of mps_wakes that wait to be sent.
    std::uint64_t wakes_ready() const;
    std::uint32_t wake_magic() const;
    // From now on every segment that leaves here with ECN arrives with a congestion mark.
    void mark_congestion();
    // A TC program of the data path on ingress of every interface, until the rig goes.
    void attach_tc(const std::string &program_name);

    std::uint64_t counter(mps_counter which) const;
    std::vector<std::uint64_t> counters() const;

    // What the policy was shown at the last decision; only while Inside.
    mps_view last_view() const;
    // What the data path remembers of the connection, if anything.
    std::optional<mps_conn> remembered() const;
    lab::ConnectionSample sample() const;
    // Of the first subflow: what its peer's window has to be shifted by.
    std::uint32_t send_window_shift() const;
    // Bit index (in views and verdicts) of a flow; remembered() must know it.
    std::uint32_t index_of(const Flow &flow) const;

    // The peer asks for backup (or not) on a path with a real MP_PRIO; returns once the kernel here has
    // heard it.
    void peer_backup(std::size_t path, bool backup);
    // subflow->backup as the kernel has it now; reads only.
    bool kernel_backup(const Flow &flow) const;
    // Shows the data path one ACK of every subflow, with a verdict that wants nothing changed.
    void show_every_subflow();
    // What the iterator program tells of every MPTCP subflow in the namespace.
    std::vector<mps_subflow_record> dump() const;

  private:
    void build_connection();
    void load(Reading reading, Idle idle);
    void learn_numbers();

    lab::Network network_;
    Fd listener_, client_, server_;
    std::vector<Flow> flows_;
    std::vector<std::uint32_t> ifindex_; // of A's devices, by path
    struct datapath *object_ = nullptr;
    struct fixed_policy *policy_ = nullptr;
    struct empty_programs *empty_ = nullptr;
    std::map<std::uint32_t, struct bpf_object *> filled_;
    std::uint32_t epoch_ = 0;
};

} // namespace mps::test
