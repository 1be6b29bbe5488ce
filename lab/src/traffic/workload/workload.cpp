// SPDX-License-Identifier: MIT
#include "workload.hpp"

#include <thread>
#include <utility>

#include "client.hpp"
#include "orders_server.hpp"
#include "state.hpp"

namespace mps::lab {

using traffic::Client;
using traffic::OrdersServer;
using traffic::State;

struct WorkloadRun::Impl {
    State state;
    OrdersServer server{state};
    std::vector<std::thread> clients{};
    std::thread timekeeper{};

    Impl(const Network &network, const Scenario &scenario, std::size_t subflows, std::uint64_t seed,
         const std::string &chosen)
        : state(network, scenario, subflows, seed, chosen) {}

    ~Impl() {
        state.abort = true;
        {
            std::lock_guard lock(state.mutex);
            state.go = true;
        }
        state.changed.notify_all();
        join();
    }

    void join() {
        state.let_close();
        for (auto &client : clients) {
            if (client.joinable()) {
                client.join();
            }
        }
        if (timekeeper.joinable()) {
            timekeeper.join();
        }
        server.stop();
    }

    void start_threads() {
        timekeeper = std::thread([this] { state.keep_time(); });
        for (std::size_t i = 0; i < state.workload.connections; ++i) {
            clients.emplace_back([this, i] { Client(state, i).run(); });
        }
    }
};

WorkloadRun::WorkloadRun(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WorkloadRun::WorkloadRun(WorkloadRun &&) noexcept = default;
WorkloadRun &WorkloadRun::operator=(WorkloadRun &&) noexcept = default;
WorkloadRun::~WorkloadRun() = default;

Result<WorkloadRun> WorkloadRun::prepare(const Network &network, const Scenario &scenario,
                                         std::size_t subflows, std::uint64_t seed,
                                         const std::string &chosen) {
    auto impl = std::make_unique<Impl>(network, scenario, subflows, seed, chosen);
    if (auto listening = impl->server.start(); !listening) {
        return std::unexpected(listening.error());
    }
    impl->start_threads();
    {
        auto &state = impl->state;
        std::unique_lock lock(state.mutex);
        state.changed.wait(lock, [&] { return state.ready == state.workload.connections || state.abort; });
        if (state.error) {
            return std::unexpected(*state.error);
        }
    }
    return WorkloadRun(std::move(impl));
}

State::Clock::time_point WorkloadRun::begin() {
    auto &state = impl_->state;
    std::lock_guard lock(state.mutex);
    state.began = Clock::now();
    state.go = true;
    state.changed.notify_all();
    return state.began;
}

bool WorkloadRun::running() const { return impl_->state.running > 0; }

ReceiverSample WorkloadRun::sample() {
    const std::uint64_t delivered = impl_->state.delivered;
    return {.delivered = delivered, .ahead_bytes = impl_->state.watches.ahead_bytes()};
}

std::optional<std::uint64_t> WorkloadRun::reinjected_bytes() const {
    return impl_->state.watches.reinjected_bytes();
}

std::vector<std::string> WorkloadRun::subflows() const {
    // The client's: it receives a download.
    return impl_->state.watches.subflows(!impl_->state.upload());
}

Result<WorkloadResult> WorkloadRun::wait() {
    impl_->join();
    auto &state = impl_->state;
    std::lock_guard lock(state.mutex);
    if (state.error) {
        return std::unexpected(*state.error);
    }
    WorkloadResult result;
    for (auto &of_connection : state.exchanges) {
        result.exchanges.insert(result.exchanges.end(), of_connection.begin(), of_connection.end());
    }
    result.exchanges.insert(result.exchanges.end(), state.messages.begin(), state.messages.end());
    result.seconds = state.over ? state.workload.duration_s : state.last_end_s;
    result.delivered = state.delivered_in_time;
    result.longest_gap_s = static_cast<double>(state.longest_gap_ns) / 1e9;
    result.video_stall_s = state.stall_s;
    return result;
}

} // namespace mps::lab
