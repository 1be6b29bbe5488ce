// SPDX-License-Identifier: MIT
#include "watches.hpp"

#include <algorithm>

#include <netinet/tcp.h>

namespace mps::lab::traffic {

/// Empty if some path has several subflows, which share it in a way that no bound knows.
std::vector<PathWindow> path_windows(const Network &network, const ConnectionSample &sample, bool client) {
    std::vector<PathWindow> found;
    for (const auto &subflow : sample.subflows) {
        // The server may have one address for all paths.
        const auto path = network.path_of(client ? subflow.local_address : subflow.remote_address);
        if (subflow.tcp_state != TCP_ESTABLISHED || !path) {
            continue;
        }
        if (std::ranges::find(found, *path, &PathWindow::path) != found.end()) {
            return {};
        }
        found.push_back({*path,
                         {.cwnd_segs = static_cast<double>(subflow.cwnd),
                          .ssthresh_segs = static_cast<double>(subflow.ssthresh),
                          .idle_s = subflow.idle_ms / 1e3,
                          .rto_s = subflow.rto_us / 1e6}});
    }
    return found;
}

void Watched::look() {
    if (fd < 0) {
        return;
    }
    const auto sample = sample_connection(fd);
    if (!sample) {
        return;
    }
    fallback = fallback || sample->fallback;
    if (sample->fallback) {
        return;
    }
    counts_bytes = sample->counts_bytes;
    receive_next = std::max(receive_next, sample->receive_next);
    reinjected = std::max(reinjected, sample->bytes_retransmitted);
    subflows = 0;
    for (const auto &subflow : sample->subflows) {
        auto &bytes = subflow_bytes[subflow.id];
        bytes = std::max(bytes, subflow.bytes_received);
        if (subflow.tcp_state == TCP_ESTABLISHED) {
            ++subflows;
            local[subflow.id] = subflow.local_address;
        }
    }
    if (!first_ahead) {
        first_ahead = ahead();
    }
}

std::int64_t Watched::ahead() const {
    auto sum = std::uint64_t{0} - receive_next;
    for (const auto &[id, bytes] : subflow_bytes) {
        sum += bytes;
    }
    return static_cast<std::int64_t>(sum) - first_ahead.value_or(0);
}

std::int64_t Watches::ahead_bytes() {
    std::lock_guard lock(mutex_);
    std::int64_t sum = 0;
    for (auto &[id, w] : watched_) {
        if (w.receives) {
            w.look();
            sum += w.first_ahead ? w.ahead() : 0;
        }
    }
    return sum;
}

std::optional<std::uint64_t> Watches::reinjected_bytes() {
    std::lock_guard lock(mutex_);
    std::uint64_t sum = 0;
    for (auto &[id, w] : watched_) {
        if (!w.receives) {
            w.look();
            if (!w.counts_bytes) {
                return std::nullopt;
            }
            sum += w.reinjected;
        }
    }
    return sum;
}

std::vector<std::string> Watches::subflows(bool of_receivers) const {
    std::lock_guard lock(mutex_);
    std::vector<std::string> all;
    for (const auto &[id, w] : watched_) {
        if (w.receives == of_receivers) {
            for (const auto &[subflow, address] : w.local) {
                all.push_back(address);
            }
        }
    }
    return all;
}

Watch::Watch(Watches &all, int fd, bool receives) : all_(all) {
    std::lock_guard lock(all_.mutex_);
    id_ = all_.next_++;
    all_.watched_[id_].fd = fd;
    all_.watched_[id_].receives = receives;
}

Watch::~Watch() {
    std::lock_guard lock(all_.mutex_);
    auto &w = all_.watched_[id_];
    w.look();
    w.fd = -1;
}

std::size_t Watch::subflows() {
    std::lock_guard lock(all_.mutex_);
    auto &w = all_.watched_[id_];
    w.look();
    return w.subflows;
}

bool Watch::fallback() {
    std::lock_guard lock(all_.mutex_);
    return all_.watched_[id_].fallback;
}

void ServerEnds::add(std::uint16_t client_port, int fd) {
    std::lock_guard lock(mutex_);
    ends_[client_port] = fd;
}

void ServerEnds::remove(std::uint16_t client_port) {
    std::lock_guard lock(mutex_);
    ends_.erase(client_port);
}

std::optional<ConnectionSample> ServerEnds::sample(std::uint16_t client_port) const {
    std::lock_guard lock(mutex_);
    const auto found = ends_.find(client_port);
    if (found == ends_.end()) {
        return std::nullopt;
    }
    auto sample = sample_connection(found->second);
    return sample ? std::optional(std::move(*sample)) : std::nullopt;
}

} // namespace mps::lab::traffic
