// SPDX-License-Identifier: MIT
//
// What an application does by itself: MPTCP sockets of a namespace, and the options of mps/socket_options.h on them.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "traffic.hpp"

#include <mps/socket_options.h>

#include "base/fd.hpp"

namespace mps::e2e {

/// A stream socket made in this namespace by a thread of this process.
Fd make_socket(const lab::Namespace &ns, int protocol);

/// 0, or the errno.
int set_option(int fd, int option, const void *value, std::size_t length);
int set_policy(int fd, std::string_view name, unsigned direction = MPSCHED_BOTH);
int set_number(int fd, int option, unsigned long long value);
int avoid(int fd, const std::vector<unsigned> &interfaces);
mpsched_state state_of(int fd);
std::vector<mpsched_subflow> subflows_of(int fd);

class Listener {
  public:
    Listener(const lab::Network &network, lab::Side side = lab::Side::b);
    int fd() const { return fd_.get(); }
    /// What of the network's first path is to be connected to.
    sockaddr_in address() const { return address_; }

  private:
    Fd fd_;
    sockaddr_in address_{};
};

/// A connection between both, with as many subflows as there are paths.
struct Pair {
    Fd client, accepted;

    /// Connects this socket.
    Pair(Fd socket, const Listener &listener, std::size_t subflows = 2);
};

/// Writes to one end all the time and reads at the other, until its end.
class Flow {
  public:
    Flow(int from, int to);
    ~Flow();
    Flow(const Flow &) = delete;
    Flow &operator=(const Flow &) = delete;

  private:
    std::atomic<bool> stop_ = false;
    std::jthread writer_, reader_;
};

} // namespace mps::e2e
