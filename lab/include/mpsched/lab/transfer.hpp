// SPDX-License-Identifier: MIT
// Real MPTCP traffic: a server in one namespace, client transfers in another. Contents are pseudo-random from
// a seed and checked with SHA-256 by whoever receives them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/mptcp.hpp>
#include <mpsched/lab/netns.hpp>
#include <mpsched/lab/network.hpp>

namespace mps::lab {

enum class Protocol { mptcp, tcp };

enum class Direction {
    upload,   ///< A sends
    download, ///< B sends
    requests, ///< small messages in turn on a long-lived connection
};

struct ServerSpec {
    Family family = Family::ipv4; ///< dual listens on both
    std::uint16_t port = 0;       ///< 0 takes a free one
    Protocol protocol = Protocol::mptcp;
    /// A connection without progress for that long fails.
    std::chrono::milliseconds stall_timeout = std::chrono::seconds(30);
};

/// What the server saw of one connection that ended.
struct ServedConnection {
    std::string peer;
    std::uint64_t bytes = 0; ///< contents received (upload, requests) or sent (download)
    bool verified = false;   ///< what it received had the announced SHA-256
    bool fallback = false;   ///< the peer speaks plain TCP
    std::optional<Error> error;
};

/// Accepts connections until destroyed, one thread each.
class Server {
  public:
    static Result<Server> start(const Namespace &ns, ServerSpec spec = {});

    Server(Server &&) noexcept;
    Server &operator=(Server &&) noexcept;
    ~Server();

    std::uint16_t port() const;
    std::size_t active() const;
    /// The connections served to their end. A client is done before its server has noticed, so this waits for `count`
    /// of them, at most 10 s.
    std::vector<ServedConnection> finished(std::size_t count) const;

  private:
    struct Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

struct TransferSpec {
    std::string address = {}; ///< of the server; run_transfer() takes the network's server address when empty
    std::uint16_t port = 0;
    Direction direction = Direction::upload;
    Protocol protocol = Protocol::mptcp;
    unsigned connections = 1; ///< in parallel
    std::uint64_t bytes = 0;  ///< per connection; 0 has no limit
    /// Then it ends as stop() does. With neither limit it goes on until stop().
    std::optional<std::chrono::milliseconds> duration = {};
    std::uint64_t seed = 1; ///< of the contents; connection i uses seed + i
    bool verify = true;     ///< false sends a constant pattern without hashing, for tests of raw speed
    std::string local_address = {};         ///< to bind to; empty lets routing choose
    std::string device = {};                ///< SO_BINDTODEVICE, for example a VRF
    std::optional<int> send_buffer = {};    ///< SO_SNDBUF, bytes
    std::optional<int> receive_buffer = {}; ///< SO_RCVBUF, bytes
    std::chrono::milliseconds connect_timeout = std::chrono::seconds(10);
    /// Silence between the second subflow's join, which the greeting sets off and which is waited for ten times that long at
    /// most, and the first byte of contents. A join under a reader at work may damage what the new subflow carries first,
    /// without any program of ours (docs/architecture.md, "Damaged by the kernel itself"); 0 asks for that.
    std::chrono::milliseconds settle = std::chrono::milliseconds(20);
    /// No progress for that long is an error (ETIMEDOUT).
    std::chrono::milliseconds stall_timeout = std::chrono::seconds(30);
    /// How often the subflows are looked at; 0 looks only at the end.
    std::chrono::milliseconds sample_interval = std::chrono::milliseconds(200);

    // Direction::requests only:
    std::uint32_t request_bytes = 200;
    std::uint32_t response_bytes = 200;
    std::uint64_t requests = 0;                ///< per connection; 0 has no limit
    std::chrono::microseconds think_time = {}; ///< pause after each answer
};

struct ConnectionResult {
    /// Contents delivered, as counted by the receiver (requests: sum of both directions).
    std::uint64_t bytes = 0;
    /// From the established connection to the receiver's last byte (confirmed by its report).
    double seconds = 0;
    bool complete = false; ///< ended in order: both ends agree on the number of bytes
    bool verified = false; ///< complete, and the receiver's SHA-256 equals the sender's
    std::uint64_t wrong_bytes =
        0; ///< of an upload or download whose contents are verified: arrived, but differ
    std::uint64_t first_wrong = 0; ///< offset of the first of them
    bool fallback = false;         ///< plain TCP in the end or at some time
    std::uint32_t token = 0;
    std::size_t max_subflows = 0;        ///< the most seen at one time
    std::vector<SubflowSample> subflows; ///< last state of every subflow that was ever seen, closed ones too
    std::vector<double> request_seconds; ///< time of each request, in order
    std::optional<Error> error;          ///< resets, time-outs, wrong answers; err has the errno
};

struct TransferResult {
    std::vector<ConnectionResult> connections;

    std::uint64_t bytes() const;
    double seconds() const;    ///< of the longest connection
    double mbit_per_s() const; ///< goodput: contents delivered, 10^6 bit/s
    bool verified() const;     ///< every connection, and there is one
    bool any_fallback() const;
    std::size_t errors() const;
    std::size_t min_subflows() const; ///< the least max_subflows of any connection
    /// Payload bytes per path of the network (sent and acknowledged for uploads, received for downloads),
    /// from the subflows' counters.
    std::vector<std::uint64_t> bytes_per_path(const Network &network) const;
};

/// A transfer that runs in threads of its own, inside a namespace.
class Transfer {
  public:
    /// Returns once every connection is established (or failed: that is part of the result). Fails only if it
    /// could not start at all.
    static Result<Transfer> start(const Namespace &ns, TransferSpec spec);

    Transfer(Transfer &&) noexcept;
    Transfer &operator=(Transfer &&) noexcept;
    ~Transfer(); ///< aborts what still runs

    /// Ends in order: senders stop at the next piece, everything sent so far is delivered and verified.
    void stop();
    /// Ends now, without verification; connections report ECANCELED.
    void abort();
    bool running() const;
    /// Looks into every connection that is still open.
    std::vector<ConnectionSample> sample() const;
    /// Contents handed to the kernel (upload) or received (download) so far, all connections.
    std::uint64_t progress_bytes() const;
    /// Waits for the end. With Joins, subflows may take a moment: see wait_for_subflows().
    TransferResult wait();
    /// Waits until each open connection has at least `count` established subflows; false after the time-out
    /// or when it ended before.
    bool wait_for_subflows(std::size_t count,
                           std::chrono::milliseconds timeout = std::chrono::seconds(5)) const;

  private:
    struct Impl;
    explicit Transfer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// start() and wait() in one. The address defaults to the network's server address.
Result<TransferResult> run_transfer(const Network &network, const Server &server, TransferSpec spec);

} // namespace mps::lab
