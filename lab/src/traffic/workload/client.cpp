// SPDX-License-Identifier: MIT
#include "client.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include <mps/socket_options.hpp>

#include "../socket.hpp"
#include "base/try.hpp"
#include "orders_server.hpp"

#include <fmt/format.h>

namespace mps::lab::traffic {
namespace {

using Clock = State::Clock;
using namespace std::chrono_literals;

constexpr auto connect_timeout = 15s;
constexpr auto join_timeout = 10s;

} // namespace

Result<Fd> Client::connect() {
    const auto &ns = state_.network.a();
    const auto server = state_.network.server_address();
    const auto address = make_address(server, workload_port);
    MPS_TRY(address);
    auto fd = ns.run([&] { return open_socket(address->family(), socket_spec(state_.scenario, ns)); });
    if (!fd) {
        return fd;
    }
    if (auto connected = connect_to(*fd, *address, connect_timeout, state_.abort, "to " + server);
        !connected) {
        return std::unexpected(connected.error());
    }
    return fd;
}

Result<void> Client::choose(int fd) const {
    if (state_.chosen.empty()) {
        return {};
    }
    const auto &workload = state_.workload;
    app::Error error = app::choose_policy(fd, state_.chosen);
    if (!error && workload.deadline_ms > 0) {
        error = app::set_deadline(fd, std::chrono::microseconds(std::llround(workload.deadline_ms * 1e3)));
    }
    if (!error && workload.sizes_bytes.size() == 1) {
        error = app::set_size(fd, workload.sizes_bytes.front());
    }
    if (error) {
        return os_error("choose for", "a connection", error.value(),
                        "may the applications of this cgroup choose? mpsched app list");
    }
    return {};
}

Result<void> Client::open() {
    if (connection_) {
        connection_->watch.reset();
    }
    auto fd = connect();
    MPS_TRY(fd);
    if (auto chosen = choose(fd->get()); !chosen) {
        return chosen;
    }
    if (auto set = send_at_once(fd->get(), state_.workload); !set) {
        return set;
    }
    connection_ = std::make_unique<Connection>(state_, std::move(*fd));
    return {};
}

// The kernel joins no further subflow before the peer has acknowledged data.
Result<void> Client::greet() {
    Order greeting;
    greeting.up_bytes = 1;
    greeting.down_bytes = 1;
    greeting.counts = 0;
    GapMeter unused;
    auto &stream = connection_->stream;
    if (auto sent = stream.send_pattern(Stream::bytes_of(greeting), 1); !sent) {
        return sent;
    }
    if (auto answered = stream.receive_pattern(1, unused); !answered) {
        return std::unexpected(answered.error());
    }
    return {};
}

// Joins need a handshake of their own, and more when a packet is lost.
Result<void> Client::wait_for_subflows(Clock::time_point connected) {
    while (connection_->watch->subflows() < state_.expected_subflows) {
        if (connection_->watch->fallback()) {
            return fail("the connection fell back to plain TCP");
        }
        if (Clock::now() - connected > join_timeout) {
            return fail(fmt::format("a connection did not get its {} subflows within {} s",
                                    state_.expected_subflows, join_timeout.count()),
                        "are all paths alive at the start, and is the limit of subflows high enough?");
        }
        if (!connection_->stream.wait_until(Clock::now() + 5ms)) {
            return aborted();
        }
    }
    return {};
}

Result<void> Client::settle() {
    const auto connected = Clock::now();
    if (auto greeted = greet(); !greeted) {
        return greeted;
    }
    if (auto joined = wait_for_subflows(connected); !joined) {
        return joined;
    }
    const auto settling = std::chrono::duration<double, std::milli>(state_.workload.settle_ms);
    return connection_->stream.wait_until(connected + std::chrono::duration_cast<Clock::duration>(settling))
               ? Result<void>{}
               : aborted();
}

std::vector<PathWindow> Client::windows() const {
    const bool upload = state_.upload();
    const int fd = connection_->fd.get();
    if (!upload) {
        const auto sample = state_.server_ends.sample(port_of(fd, ::getsockname));
        return sample ? path_windows(state_.network, *sample, upload) : std::vector<PathWindow>{};
    }
    const auto sample = sample_connection(fd);
    return sample ? path_windows(state_.network, *sample, upload) : std::vector<PathWindow>{};
}

Result<void> Client::ask(std::uint64_t up, std::uint64_t down) {
    Order order;
    order.up_bytes = up;
    order.down_bytes = down;
    order.sent_ns = now_ns();
    return connection_->stream.send_pattern(Stream::bytes_of(order), up);
}

Exchange Client::concluded(std::uint64_t up, std::uint64_t down, Clock::time_point start) const {
    Exchange result;
    result.start_s = state_.since_began(start);
    result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
    result.up_bytes = up;
    result.down_bytes = down;
    return result;
}

Result<Exchange> Client::exchange(std::uint64_t up, std::uint64_t down, Clock::time_point start) {
    if (auto asked = ask(up, down); !asked) {
        return std::unexpected(asked.error());
    }
    // The answer is owed from when the request was on its way: that of an upload may take long to be sent.
    gaps_.owed_since(now_ns());
    GapMeter unused;
    const bool bulk_up = state_.workload.kind == Workload::Kind::bulk && state_.upload();
    auto received = connection_->stream.receive_pattern(down, bulk_up ? unused : gaps_,
                                                        state_.upload() ? nullptr : &state_.delivered);
    MPS_TRY(received);
    return concluded(up, down, start);
}

// So little of it waits at the sender, where nothing moves it away from a path that slows down.
Result<Exchange> Client::fetch_ranges(std::uint64_t up, std::uint64_t down, Clock::time_point start) {
    constexpr std::uint64_t ranges_at_once = 2;
    const auto range = state_.workload.range_bytes;
    std::uint64_t asked = 0;
    gaps_.owed_since(now_ns());
    for (std::uint64_t received = 0; received < down;) {
        while (asked < down && asked < received + ranges_at_once * range) {
            const auto bytes = std::min(range, down - asked);
            if (auto sent = ask(up, bytes); !sent) {
                return std::unexpected(sent.error());
            }
            asked += bytes;
        }
        auto got =
            connection_->stream.receive_pattern(std::min(range, down - received), gaps_, &state_.delivered);
        MPS_TRY(got);
        received += *got;
    }
    return concluded(up, down, start);
}

void Client::run() {
    if (auto done = run_all(); !done) {
        state_.failed(done.error());
    }
    conclude();
}

Result<void> Client::run_all() {
    if (auto opened = open(); !opened) {
        return opened;
    }
    if (auto settled = settle(); !settled) {
        return settled;
    }
    if (!state_.line_up()) {
        return {};
    }
    auto result = run_kind();
    if (!result) {
        state_.failed(result.error());
    }
    conclude();
    state_.wait_to_close();
    return result;
}

void Client::conclude() {
    if (!std::exchange(concluded_, true)) {
        state_.note(gaps_);
        state_.conclude(index_, std::move(done_));
    }
}

} // namespace mps::lab::traffic
