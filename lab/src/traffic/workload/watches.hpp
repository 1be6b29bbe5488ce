// SPDX-License-Identifier: MIT
// Open connections that others look at while their own threads use them. Private to lab/src.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <mpsched/lab/mptcp.hpp>
#include <mpsched/lab/network.hpp>

#include "workload.hpp"

namespace mps::lab::traffic {

/// Empty if some path has several subflows, which share it in a way that no bound knows.
std::vector<PathWindow> path_windows(const Network &network, const ConnectionSample &sample, bool client);

/// An open connection that others look at. Its counts stay when it is gone.
struct Watched {
    int fd = -1;
    bool receives = false;
    std::map<std::uint32_t, std::uint64_t> subflow_bytes; // received
    std::uint64_t receive_next = 0;
    std::optional<std::int64_t> first_ahead; // handshakes count differently on both levels
    std::uint64_t reinjected = 0;
    bool counts_bytes = true;
    bool fallback = false;
    std::size_t subflows = 0;
    std::map<std::uint32_t, std::string> local; // address of each subflow that was there, by its id

    void look();
    /// Sequence numbers wrap around, and only differences count.
    std::int64_t ahead() const;
};

/// All connections of a workload, those that are gone included.
class Watches {
  public:
    /// What all receivers know; `delivered` is not known here.
    std::int64_t ahead_bytes();
    /// Data level, by all senders; none before Linux 6.5.
    std::optional<std::uint64_t> reinjected_bytes();
    /// Local addresses of all subflows of those that receive, or of those that send.
    std::vector<std::string> subflows(bool of_receivers) const;

  private:
    friend class Watch;
    mutable std::mutex mutex_;
    std::map<int, Watched> watched_; // by a number of our own
    int next_ = 0;
};

/// For as long as it lives, others may look at the connection.
class Watch {
  public:
    Watch(Watches &all, int fd, bool receives);
    ~Watch();
    Watch(const Watch &) = delete;
    Watch &operator=(const Watch &) = delete;

    /// Looks, and counts those that are established.
    std::size_t subflows();
    bool fallback();

  private:
    Watches &all_;
    int id_ = 0;
};

/// The server's sockets, by the client's port, so that a client may ask for what its peer's kernel knows.
class ServerEnds {
  public:
    void add(std::uint16_t client_port, int fd);
    void remove(std::uint16_t client_port);
    std::optional<ConnectionSample> sample(std::uint16_t client_port) const;

  private:
    mutable std::mutex mutex_;
    std::map<std::uint16_t, int> ends_;
};

} // namespace mps::lab::traffic
