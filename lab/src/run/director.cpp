// SPDX-License-Identifier: MIT
#include "director.hpp"

#include "base/try.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

namespace mps::lab {

using namespace std::chrono_literals;

Director::Director(Network &network, const Scenario &scenario, std::vector<bool> used)
    : network_(network), scenario_(scenario), used_(std::move(used)) {
    for (const auto &path : scenario.paths) {
        states_.push_back(path.start);
        holes_.emplace_back();
    }
}

void Director::start(WorkloadRun::Clock::time_point began) {
    began_ = began;
    thread_ = std::thread([this] { work(); });
}

Result<void> Director::stop_with_proof() {
    stop();
    if (error_) {
        return std::unexpected(*error_);
    }
    for (std::size_t path = 0; path < holes_.size(); ++path) {
        if (auto closed = close_hole(path, now_s()); !closed) {
            return closed;
        }
    }
    return {};
}

Result<std::vector<Event>> Director::finish(double ended_s) {
    for (std::size_t i = next_; i < scenario_.changes.size(); ++i) {
        const auto &change = scenario_.changes[i];
        // A repeated fault may well go on beyond the end, but the first one has to have been there.
        if (change.fault && used_[change.path] && faults_ == 0) {
            return fail(fmt::format("the workload ended after {:.2f} s, before the fault \"{}\" at {} s",
                                    ended_s, change.text, change.at_s),
                        "give the scenario more to do, or an earlier fault");
        }
    }
    for (std::size_t path = 0; path < states_.size(); ++path) {
        const auto &state = states_[path];
        if (!used_[path] || state.dead()) {
            continue;
        }
        // Once, and after the end: asking takes a process, and that is time in a VM.
        if (auto same = network_.check_netem(path, state.rate_mbit, state.down_rate_mbit,
                                             scenario_.paths[path].netem(state));
            !same) {
            return std::unexpected(same.error());
        }
    }
    return std::move(events_);
}

void Director::stop() {
    stopping_ = true;
    if (thread_.joinable()) {
        thread_.join();
    }
}

double Director::now_s() const {
    return std::chrono::duration<double>(WorkloadRun::Clock::now() - began_).count();
}

/// False if the run ended before.
bool Director::wait_until(double at_s) const {
    constexpr double nap_s = 0.05; // also until a stop is noticed
    while (!stopping_ && now_s() < at_s) {
        std::this_thread::sleep_for(
            std::chrono::duration<double>(std::min(nap_s, std::max(0.0, at_s - now_s()))));
    }
    return !stopping_;
}

void Director::work() {
    for (; next_ < scenario_.changes.size(); ++next_) {
        const auto &change = scenario_.changes[next_];
        if (!wait_until(change.at_s)) {
            return;
        }
        if (!used_[change.path]) {
            continue;
        }
        if (auto done = apply(change); !done) {
            error_ = done.error();
            return;
        }
    }
}

Result<void> Director::apply(const Change &change) {
    auto &now = states_[change.path];
    const auto &to = change.to;
    Event event{.at_s = now_s(), .kind = change.kind, .path = change.path, .text = change.text};
    if (now.blackhole && !to.blackhole) {
        if (auto closed = close_hole(change.path, event.at_s); !closed) {
            return closed;
        }
    }
    if (auto shaped = shape(change); !shaped) {
        return shaped;
    }
    if (to.blackhole && !now.blackhole) {
        if (auto opened = open_hole(change.path); !opened) {
            return opened;
        }
    }
    if (to.blackhole != now.blackhole) {
        if (auto done = network_.set_blackhole(change.path, to.blackhole); !done) {
            return done;
        }
    }
    if (to.link_down != now.link_down) {
        auto proof = set_link(change);
        MPS_TRY(proof);
        event.proof = std::move(*proof);
    }
    now = to;
    faults_ += change.fault ? 1 : 0;
    if (!event.kind.empty()) {
        events_.push_back(std::move(event));
    }
    return {};
}

Result<void> Director::shape(const Change &change) {
    const auto &now = states_[change.path];
    const auto &to = change.to;
    if (to.rate_mbit == now.rate_mbit && to.down_rate_mbit == now.down_rate_mbit &&
        to.delay_ms == now.delay_ms && to.jitter_ms == now.jitter_ms && to.loss == now.loss) {
        return {};
    }
    return network_.set_netem(change.path, to.rate_mbit, to.down_rate_mbit,
                              scenario_.paths[change.path].netem(to));
}

/// For the event that is recorded next.
Result<void> Director::open_hole(std::size_t path) {
    const auto dropped = network_.dropped(path);
    MPS_TRY(dropped);
    holes_[path] = {.event = events_.size(), .dropped_before = *dropped, .open = true};
    return {};
}

/// Returns the proof.
Result<std::string> Director::set_link(const Change &change) {
    const bool down = change.to.link_down;
    if (auto done = network_.set_link(change.path, !down); !done) {
        return std::unexpected(done.error());
    }
    auto carrier = has_carrier(change.path);
    MPS_TRY(carrier);
    if (*carrier == down) {
        return fail(fmt::format("the change \"{}\" had no effect: the server {} a carrier", change.text,
                                *carrier ? "still has" : "does not have"));
    }
    return down ? "the server lost the carrier" : "the server has a carrier again";
}

Result<bool> Director::has_carrier(std::size_t path) const {
    // The other end learns of it a moment later.
    std::this_thread::sleep_for(2ms);
    auto shown = network_.b().spawn_checked({"ip", "-o", "link", "show", "dev", scenario_.paths[path].name});
    MPS_TRY(shown);
    return shown->out.find("LOWER_UP") != std::string::npos;
}

Result<void> Director::close_hole(std::size_t path, double at_s) {
    auto &hole = holes_[path];
    if (!hole.open) {
        return {};
    }
    hole.open = false;
    const auto dropped = network_.dropped(path);
    MPS_TRY(dropped);
    auto &event = events_[hole.event];
    if (*dropped <= hole.dropped_before) {
        return fail(
            fmt::format("the fault \"{}\" had no effect: it swallowed nothing from {:.2f} to {:.2f} s",
                        event.text, event.at_s, at_s),
            "nothing was sent on that path meanwhile; give it traffic or another time");
    }
    event.proof =
        fmt::format("{} packets dropped in {:.2f} s", *dropped - hole.dropped_before, at_s - event.at_s);
    return {};
}

} // namespace mps::lab
