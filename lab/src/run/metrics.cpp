// SPDX-License-Identifier: MIT
#include "metrics.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include <mpsched/lab/bound.hpp>
#include <mpsched/lab/tcp_bound.hpp>

#include "energy.hpp"
#include "statistics.hpp"

namespace mps::lab {
namespace {

constexpr double recovery_window_s = 0.1;
// Less than a segment is no waiting data: the end of a connection counts in its sequence number only.
constexpr std::int64_t least_waiting = 1000;

std::optional<double> recovery_ms(const std::vector<Look> &looks, const std::vector<Event> &events) {
    const auto fault = std::ranges::find_if(
        events, [](const Event &e) { return e.kind == "blackhole" || e.kind == "link_down"; });
    if (fault == events.end()) {
        return std::nullopt;
    }
    const auto restored = std::find_if(fault, events.end(), [&](const Event &e) {
        return e.path == fault->path && (e.kind == "restored" || e.kind == "link_up");
    });
    if (restored == events.end()) {
        return std::nullopt;
    }
    const auto at = [&](double when) {
        const auto found = std::ranges::lower_bound(looks, when, {}, &Look::at_s);
        return found == looks.end() ? looks.back() : *found;
    };
    constexpr double reference_s = 1;
    const double from = std::max(0.0, fault->at_s - reference_s);
    const auto before = at(fault->at_s);
    const double rate =
        seconds_to_mbit(before.receiver.delivered - at(from).receiver.delivered, before.at_s - at(from).at_s);
    constexpr double enough = 0.9;
    for (const auto &look : looks) {
        if (look.at_s < restored->at_s + recovery_window_s) {
            continue;
        }
        const auto earlier = at(look.at_s - recovery_window_s);
        if (seconds_to_mbit(look.receiver.delivered - earlier.receiver.delivered, look.at_s - earlier.at_s) >=
            enough * rate) {
            return (look.at_s - restored->at_s) * 1e3;
        }
    }
    return std::nullopt;
}

std::optional<double> bound_s(const Harvest &harvest, const Exchange &exchange) {
    const auto &scenario = harvest.scenario;
    const auto up = scenario.fluid(Side::a);
    const auto down = scenario.fluid(Side::b);
    double from = exchange.start_s;
    if (scenario.workload.kind == Workload::Kind::stream) {
        const auto &way = scenario.workload.direction == Direction::upload ? up : down;
        const auto arrival = fluid_arrival_s(way, from, static_cast<double>(scenario.workload.message_bytes));
        return arrival ? std::optional(*arrival - from) : std::nullopt;
    }
    double handshake = 0;
    if (exchange.connects) {
        handshake = 2 * scenario.paths[scenario.first_path].start.delay_ms / 1e3;
    }
    const auto rest = fluid_exchange_s(up, down, from + handshake, static_cast<double>(exchange.up_bytes),
                                       static_cast<double>(exchange.down_bytes));
    return rest ? std::optional(*rest + handshake) : std::nullopt;
}

/// The paths with their subflows' windows; none if rates change or something waits for a handshake: it would be another sum.
std::optional<std::vector<TcpPath>> tcp_paths(const Scenario &scenario, const Exchange &exchange) {
    if (!scenario.changes.empty() || exchange.windows.empty()) {
        return std::nullopt;
    }
    const bool upload = scenario.workload.direction == Direction::upload;
    std::vector<TcpPath> paths;
    for (const auto &[index, window] : exchange.windows) {
        const auto &path = scenario.paths[index];
        const auto &now = path.start;
        paths.push_back({.mbit = upload ? now.rate_mbit : now.down_rate_mbit,
                         .back_mbit = upload ? now.down_rate_mbit : now.rate_mbit,
                         .delay_s = std::max(0.0, now.delay_ms - now.jitter_ms) / 1e3,
                         .mtu = path.mtu,
                         .ipv6 = scenario.family == Family::ipv6,
                         .hystart = scenario.congestion_control == "cubic",
                         .window = window});
    }
    return paths;
}

/// With windows: the message, and the short question or answer the other way, which takes the quickest path.
std::optional<double> tcp_bound_s(const Harvest &harvest, const Exchange &exchange, double burst_bytes) {
    const auto &scenario = harvest.scenario;
    const auto paths = tcp_paths(scenario, exchange);
    const bool upload = scenario.workload.direction == Direction::upload;
    const auto bytes = static_cast<double>(upload ? exchange.up_bytes : exchange.down_bytes);
    const auto other = static_cast<double>(upload ? exchange.down_bytes : exchange.up_bytes);
    if (!paths || other > segment_bytes(paths->front())) {
        return std::nullopt;
    }
    double back_s = std::numeric_limits<double>::infinity();
    for (const auto &path : *paths) {
        const double wire_bytes = path.mtu + 14 - segment_bytes(path) + other;
        back_s = std::min(back_s, path.delay_s + wire_bytes * 8 / 1e6 / path.back_mbit);
    }
    const auto there_s = tcp_transfer_s(*paths, bytes, burst_bytes);
    return there_s ? std::optional(*there_s + back_s) : std::nullopt;
}

/// What a group of requests is compared with, in milliseconds: medians over its requests, none if one of them has none.
struct Bounds {
    std::optional<double> fluid;
    std::optional<double> tcp;
    std::optional<double> bursts;
};

std::optional<double> median_of_all(const std::vector<const Exchange *> &exchanges,
                                    const std::function<std::optional<double>(const Exchange &)> &bound) {
    std::vector<double> all_ms;
    for (const auto *exchange : exchanges) {
        const auto one = bound(*exchange);
        if (!one) {
            return std::nullopt;
        }
        all_ms.push_back(*one * 1e3);
    }
    return median(all_ms);
}

Json times_json(std::uint64_t bytes, std::uint64_t other, const std::vector<double> &times_ms,
                const Bounds &bounds) {
    auto sorted = times_ms;
    std::ranges::sort(sorted);
    Json times = Json::array();
    for (const double time : times_ms) {
        times.push_back(rounded(time));
    }
    const double p50 = percentile(sorted, 50);
    const double bound = bounds.fluid.value_or(0);
    return {{"bytes", bytes},
            {"answer_bytes", other},
            {"count", times_ms.size()},
            {"times_ms", std::move(times)},
            {"min_ms", rounded(sorted.front())},
            {"mean_ms", rounded(mean(sorted))},
            {"p50_ms", rounded(p50)},
            {"p90_ms", rounded(percentile(sorted, 90))},
            {"p99_ms", rounded(percentile(sorted, 99))},
            {"max_ms", rounded(sorted.back())},
            {"bound_ms", number(bounds.fluid)},
            {"tcp_bound_ms", number(bounds.tcp)},
            {"burst_bound_ms", number(bounds.bursts)},
            {"ratio", number(bound > 0 ? std::optional(p50 / bound) : std::nullopt)}};
}

// Requests by size; streams and video are one group.
void take_times(const Harvest &harvest, Numbers &numbers) {
    const auto &workload = harvest.scenario.workload;
    const bool requests = workload.kind == Workload::Kind::requests;
    const auto groups = requests ? workload.sizes_bytes.size() : 1;
    std::vector<double> p50s;
    std::vector<double> bounds;
    for (std::size_t group = 0; group < groups; ++group) {
        std::vector<const Exchange *> mine;
        std::vector<double> times_ms;
        std::vector<double> bounds_ms;
        for (const auto &exchange : harvest.workload.exchanges) {
            if (exchange.group == group) {
                mine.push_back(&exchange);
                times_ms.push_back(exchange.seconds * 1e3);
                if (const auto bound = bound_s(harvest, exchange)) {
                    bounds_ms.push_back(*bound * 1e3);
                }
            }
        }
        if (times_ms.empty()) {
            continue;
        }
        const bool bounded = bounds_ms.size() == times_ms.size() && workload.kind != Workload::Kind::video;
        const auto bound_ms = bounded ? median(bounds_ms) : std::nullopt;
        const auto with_windows = [&](double burst_bytes) {
            return median_of_all(mine,
                                 [&](const Exchange &one) { return tcp_bound_s(harvest, one, burst_bytes); });
        };
        p50s.push_back(*median(times_ms));
        if (bound_ms) {
            bounds.push_back(*bound_ms);
        }
        // Chunks of a video differ in size; message_bytes is 0 then.
        numbers.requests.push_back(times_json(
            requests ? workload.sizes_bytes[group] : workload.message_bytes,
            requests ? workload.other_bytes : 0, times_ms,
            {.fluid = bound_ms, .tcp = with_windows(0), .bursts = with_windows(mptcp_burst_bytes)}));
        if (workload.kind == Workload::Kind::stream) {
            numbers.metrics["message_delay_ms"] = {mean(times_ms),
                                                   bounded ? std::optional(mean(bounds_ms)) : std::nullopt};
        }
    }
    if (requests && p50s.size() == groups) {
        numbers.metrics["completion_ms"] = {geometric_mean(p50s), bounds.size() == groups
                                                                      ? std::optional(geometric_mean(bounds))
                                                                      : std::nullopt};
    }
}

void take_goodput(const Harvest &harvest, Numbers &numbers) {
    const auto &scenario = harvest.scenario;
    const auto &workload = scenario.workload;
    const bool upload = workload.direction == Direction::upload;
    const auto way = scenario.fluid(upload ? Side::a : Side::b);
    const auto back = scenario.fluid(upload ? Side::b : Side::a);
    const double seconds = harvest.workload.seconds;
    const double goodput = seconds_to_mbit(harvest.workload.delivered, seconds);
    if (workload.kind == Workload::Kind::bulk && workload.bytes > 0) {
        const double total = static_cast<double>(workload.bytes) * workload.connections;
        // Upload: the last byte and its confirmation. Download: the order, and then the last byte.
        const auto bound =
            upload ? fluid_exchange_s(way, back, 0, total, 1) : fluid_exchange_s(back, way, 0, 1, total);
        numbers.metrics["goodput_mbit"] = {goodput,
                                           bound ? std::optional(total * 8 / 1e6 / *bound) : std::nullopt};
        numbers.metrics["completion_ms"] = {seconds * 1e3,
                                            bound ? std::optional(*bound * 1e3) : std::nullopt};
    } else if (workload.kind == Workload::Kind::bulk) {
        const auto begins = upload ? std::optional(0.0) : fluid_arrival_s(back, 0, 1);
        numbers.metrics["goodput_mbit"] = {
            goodput,
            begins ? std::optional(fluid_bytes(way, *begins, seconds) * 8 / 1e6 / seconds) : std::nullopt};
    } else if (workload.kind == Workload::Kind::stream) {
        numbers.metrics["goodput_mbit"] = {goodput, std::nullopt};
    } else if (workload.kind == Workload::Kind::video) {
        std::vector<double> rates;
        for (const auto &exchange : harvest.workload.exchanges) {
            rates.push_back(exchange.video_mbit);
        }
        const double capacity = fluid_bytes(way, 0, seconds) * 8 / 1e6 / seconds;
        numbers.metrics["goodput_mbit"] = {goodput, std::nullopt};
        numbers.metrics["video_mbit"] = {mean(rates), std::min(workload.ladder_mbit.back(), capacity)};
        numbers.metrics["video_stall_ms"] = {harvest.workload.video_stall_s * 1e3, std::nullopt};
    }
}

/// What all bytes waited, by all bytes: what waited at each look, for as long as it was so.
std::optional<double> waited_ms(const Harvest &harvest, const std::vector<std::int64_t> &waiting) {
    const auto &looks = harvest.diary.looks;
    double byte_s = 0;
    for (std::size_t i = 1; i < waiting.size() && i < looks.size(); ++i) {
        byte_s += static_cast<double>(waiting[i]) * (looks[i].at_s - looks[i - 1].at_s);
    }
    const auto bytes = static_cast<double>(harvest.workload.delivered);
    return bytes > 0 ? std::optional(byte_s / bytes * 1e3) : std::nullopt;
}

/// Radios, and a watt for the rest of the device as long as the workload takes; none if no path has a radio.
std::optional<double> energy_j(const Harvest &harvest) {
    constexpr double device_w = 1;
    const auto &coarse = harvest.diary.coarse;
    std::optional<double> sum;
    for (std::size_t path = 0; path < harvest.scenario.paths.size(); ++path) {
        const auto &attributes = harvest.scenario.paths[path].attributes;
        const auto energy = attributes.find("energy");
        const auto *radio = energy == attributes.end() ? nullptr : radio_of(energy->second);
        if (radio == nullptr) {
            continue;
        }
        std::vector<RadioSpan> spans;
        for (std::size_t i = 0; i + 1 < coarse.size(); ++i) {
            const auto &before = coarse[i].paths[path];
            const auto &after = coarse[i + 1].paths[path];
            spans.push_back({.from_s = coarse[i].at_s,
                             .to_s = coarse[i + 1].at_s,
                             .tx_bytes = after.tx - before.tx,
                             .rx_bytes = after.rx - before.rx});
        }
        sum = sum.value_or(device_w * harvest.workload.seconds) + radio_joules(*radio, spans);
    }
    return sum;
}

void take_waiting(const std::vector<std::int64_t> &waiting, Numbers &numbers) {
    if (waiting.empty()) {
        return;
    }
    double sum = 0;
    double blocked = 0;
    for (const auto bytes : waiting) {
        sum += static_cast<double>(bytes);
        blocked += bytes >= least_waiting ? 1 : 0;
    }
    const auto samples = static_cast<double>(waiting.size());
    numbers.metrics["out_of_order_bytes_mean"] = {sum / samples, std::nullopt};
    numbers.metrics["out_of_order_bytes_max"] = {static_cast<double>(std::ranges::max(waiting)),
                                                 std::nullopt};
    numbers.metrics["head_of_line_share"] = {blocked / samples, std::nullopt};
}

// What both kernels counted meanwhile.
void take_mib(const Harvest &harvest, Numbers &numbers) {
    const auto set = [&](const char *name, std::optional<double> value) {
        numbers.metrics[name] = {value, std::nullopt};
    };
    const bool upload = harvest.scenario.workload.direction == Direction::upload;
    const auto &receiver = upload ? harvest.server : harvest.client;
    const auto &sender = upload ? harvest.client : harvest.server;
    const auto mib = [](const Counters &counters, const char *name) {
        const auto value = counters.get(name);
        return value ? std::optional(static_cast<double>(*value)) : std::nullopt;
    };
    set("out_of_order_segments", mib(receiver, "MPTcpExtOFOQueue"));
    set("reinjections", mib(sender, "MPTcpExtMPTCPRetrans"));
    set("reinjected_bytes",
        harvest.reinjected ? std::optional(static_cast<double>(*harvest.reinjected)) : std::nullopt);
    set("retransmitted_segments", mib(harvest.client, "TcpRetransSegs").value_or(0) +
                                      mib(harvest.server, "TcpRetransSegs").value_or(0));
}

} // namespace

double rounded(double value) {
    constexpr double precision = 1e4;
    return std::round(value * precision) / precision;
}

Json number(std::optional<double> value) {
    return value && std::isfinite(*value) ? Json(rounded(*value)) : Json(nullptr);
}

Numbers take_numbers(const Harvest &harvest, const std::vector<std::int64_t> &waiting) {
    Numbers numbers;
    auto &metrics = numbers.metrics;
    take_goodput(harvest, numbers);
    if (harvest.scenario.workload.kind != Workload::Kind::bulk) {
        take_times(harvest, numbers);
    }
    const auto &workload = harvest.workload;
    const auto set = [&](const char *name, std::optional<double> value) {
        metrics[name] = {value, std::nullopt};
    };
    set("longest_gap_ms", workload.longest_gap_s * 1e3);
    set("recovery_ms", recovery_ms(harvest.diary.looks, harvest.events));
    take_waiting(waiting, numbers);
    set("out_of_order_wait_ms", waited_ms(harvest, waiting));
    set("energy_j", energy_j(harvest));
    take_mib(harvest, numbers);
    set("flips", static_cast<double>(harvest.flips));
    set("wakes", static_cast<double>(harvest.wakes));
    const double seconds = std::max(workload.seconds, 1e-6);
    set("flips_per_s", static_cast<double>(harvest.flips) / seconds);
    set("wakes_per_s", static_cast<double>(harvest.wakes) / seconds);
    set("contents_bytes", static_cast<double>(workload.delivered));
    set("exchanges", static_cast<double>(workload.exchanges.size()));
    if (const double most_s = harvest.scenario.workload.deadline_ms / 1e3; most_s > 0) {
        set("late", static_cast<double>(std::ranges::count_if(
                        workload.exchanges, [&](const Exchange &one) { return one.seconds > most_s; })));
    }
    return numbers;
}

} // namespace mps::lab
