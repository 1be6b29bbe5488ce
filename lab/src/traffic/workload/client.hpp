// SPDX-License-Identifier: MIT
// A client's connection, or one after the other, and what it does on it. Private to lab/src.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "base/fd.hpp"

#include "state.hpp"

namespace mps::lab::traffic {

class Client {
  public:
    Client(State &state, std::size_t index)
        : state_(state), index_(index), random_(state.seed * 1000 + index) {}

    /// From connecting to closing. Errors go into the state.
    void run();

  private:
    struct Connection {
        Connection(State &state, Fd socket)
            : fd(std::move(socket)),
              stream(fd.get(), state.abort),
              watch(std::in_place, state.watches, fd.get(), !state.upload()) {}

        Fd fd;
        PatternStream stream;
        std::optional<Watch> watch;
    };

    Result<void> run_all();
    Result<void> run_kind();
    Result<void> run_bulk();
    Result<void> run_requests();
    Result<void> run_requests_of(std::size_t group);
    Result<void> run_request(std::size_t group, bool first_of_group);
    Result<void> run_stream();
    Result<void> run_video();

    Result<Fd> connect();
    /// What an application tells of its connection: policy, deadline, how large its messages are.
    Result<void> choose(int fd) const;
    /// In place of the connection there is, if there is one.
    Result<void> open();
    /// Waits for the subflows, and for the time of settling.
    Result<void> settle();
    Result<void> greet();
    Result<void> wait_for_subflows(State::Clock::time_point connected);
    /// One request and its answer.
    Result<Exchange> exchange(std::uint64_t up, std::uint64_t down, State::Clock::time_point start);
    /// An answer in ranges, each with a request of its own.
    Result<Exchange> fetch_ranges(std::uint64_t up, std::uint64_t down, State::Clock::time_point start);
    Result<void> ask(std::uint64_t up, std::uint64_t down);
    Exchange concluded(std::uint64_t up, std::uint64_t down, State::Clock::time_point start) const;
    /// The windows of the connection's sender, before it is told to send.
    std::vector<PathWindow> windows() const;
    void conclude();

    State &state_;
    std::size_t index_;
    std::mt19937_64 random_;
    std::unique_ptr<Connection> connection_;
    std::vector<Exchange> done_;
    GapMeter gaps_;
    bool concluded_ = false;
};

} // namespace mps::lab::traffic
