// SPDX-License-Identifier: MIT
#include <mpsched/lab/tcp_bound.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

namespace mps::lab {
namespace {

constexpr double initial_window = 10; // TCP_INIT_CWND
constexpr double ethernet_bytes = 14;
constexpr double tcp_bytes = 20 + 12; // with timestamps
constexpr double dss_bytes = 20;      // RFC 8684 section 3.3.1, 32-bit numbers, as Linux sends it

double header_bytes(const TcpPath &path) {
    return ethernet_bytes + (path.ipv6 ? 40 : 20) + tcp_bytes + dss_bytes;
}

double per_second(double mbit) { return mbit * 1e6 / 8; }

/// HYSTART_DELAY of cubic: the least round trip of the first eight samples of a round against the least ever.
class HyStart {
  public:
    explicit HyStart(double cwnd) : round_end_(static_cast<std::size_t>(cwnd)) {}

    /// True once slow start is to end.
    bool sample(double rtt_s, double cwnd, std::size_t acked, std::size_t sent) {
        least_s_ = std::min(least_s_, rtt_s);
        constexpr double low_window = 16;
        if (cwnd < low_window) {
            return false;
        }
        if (acked > round_end_) {
            round_end_ = sent;
            round_s_ = std::numeric_limits<double>::infinity();
            samples_ = 0;
        }
        constexpr int enough = 8;
        if (samples_ < enough) {
            round_s_ = std::min(round_s_, rtt_s);
            ++samples_;
            return false;
        }
        return round_s_ > least_s_ + std::clamp(least_s_ / 8, 0.004, 0.016);
    }

  private:
    double least_s_ = std::numeric_limits<double>::infinity();
    double round_s_ = std::numeric_limits<double>::infinity();
    std::size_t round_end_;
    int samples_ = 0;
};

/// How many bytes have arrived on a path by then.
double arrived(const std::vector<double> &arrivals, double by_s, double each) {
    const auto count = std::ranges::upper_bound(arrivals, by_s) - arrivals.begin();
    return static_cast<double>(count) * each;
}

struct Lane {
    const TcpPath *path;
    std::vector<double> arrivals;
};

/// Whether everything can be there by then: whole bursts on each path, and the rest behind those of path `last`.
bool bursts_fit(std::span<const Lane> lanes, std::size_t last, double by_s, double bytes, double burst) {
    const double whole = std::floor(bytes / burst);
    const double rest = bytes - whole * burst;
    double bursts = 0;
    for (std::size_t i = 0; i < lanes.size(); ++i) {
        const double left =
            arrived(lanes[i].arrivals, by_s, segment_bytes(*lanes[i].path)) - (i == last ? rest : 0);
        if (left < 0) {
            return false;
        }
        bursts += std::floor(left / burst);
    }
    return bursts >= whole;
}

bool all_fits(std::span<const Lane> lanes, double by_s, double bytes, double burst) {
    if (burst > 0) {
        for (std::size_t last = 0; last < lanes.size(); ++last) {
            if (bursts_fit(lanes, last, by_s, bytes, burst)) {
                return true;
            }
        }
        return false;
    }
    double sum = 0;
    for (const auto &lane : lanes) {
        sum += arrived(lane.arrivals, by_s, segment_bytes(*lane.path));
    }
    return sum >= bytes;
}

/// The last segment is not full, so it takes less time on the wire than was counted: at most so much less, on the slowest of the wires
/// that anything came over by then.
double short_end_s(std::span<const Lane> lanes, double bytes, double by_s) {
    double most_s = 0;
    for (const auto &lane : lanes) {
        if (lane.arrivals.front() > by_s) {
            continue;
        }
        const double segment = segment_bytes(*lane.path);
        const double last = bytes - std::floor((bytes - 1) / segment) * segment;
        most_s = std::max(most_s, (segment - last) / per_second(lane.path->mbit));
    }
    return most_s;
}

} // namespace

TcpWindow after_idle(TcpWindow window) {
    if (window.idle_s <= window.rto_s) {
        return window;
    }
    window.ssthresh_segs = std::max(window.ssthresh_segs, std::floor(window.cwnd_segs * 3 / 4));
    const double least = std::min(initial_window, window.cwnd_segs);
    for (double left_s = window.idle_s - window.rto_s; left_s > 0 && window.cwnd_segs > least;
         left_s -= window.rto_s) {
        window.cwnd_segs = std::floor(window.cwnd_segs / 2);
    }
    window.cwnd_segs = std::max(window.cwnd_segs, least);
    window.idle_s = 0;
    return window;
}

double segment_bytes(const TcpPath &path) { return path.mtu + ethernet_bytes - header_bytes(path); }

std::vector<double> tcp_arrivals_s(const TcpPath &path, std::size_t segments) {
    const auto window = after_idle(path.window);
    const double wire_s = (path.mtu + ethernet_bytes) / per_second(path.mbit);
    const double back_s = path.delay_s + header_bytes(path) / per_second(path.back_mbit);
    double cwnd = window.cwnd_segs;
    double threshold = window.ssthresh_segs;
    HyStart hystart(cwnd);
    std::vector<double> sent_s;
    std::vector<double> arrive_s;
    double now_s = 0;
    double wire_free_s = 0;
    for (std::size_t acked = 0; arrive_s.size() < segments;) {
        while (static_cast<double>(arrive_s.size() - acked) < std::floor(cwnd) &&
               arrive_s.size() < segments) {
            sent_s.push_back(now_s);
            wire_free_s = std::max(now_s, wire_free_s) + wire_s;
            arrive_s.push_back(wire_free_s + path.delay_s);
        }
        if (arrive_s.size() >= segments) {
            break;
        }
        now_s = arrive_s[acked] + back_s;
        const double rtt_s = now_s - sent_s[acked];
        ++acked;
        if (path.hystart && cwnd < threshold && hystart.sample(rtt_s, cwnd, acked, arrive_s.size())) {
            threshold = cwnd;
        }
        cwnd += cwnd < threshold ? 1 : 1 / cwnd;
    }
    return arrive_s;
}

std::optional<double> tcp_transfer_s(std::span<const TcpPath> paths, double bytes, double burst_bytes) {
    if (paths.empty() || bytes <= 0) {
        return std::nullopt;
    }
    std::vector<Lane> lanes;
    std::vector<double> times;
    for (const auto &path : paths) {
        const auto segments = static_cast<std::size_t>(std::ceil(bytes / segment_bytes(path)));
        lanes.push_back({&path, tcp_arrivals_s(path, segments)});
        times.insert(times.end(), lanes.back().arrivals.begin(), lanes.back().arrivals.end());
    }
    std::ranges::sort(times);
    // What fits by a time fits by any later one; by the last one it all fits on one path.
    const auto first = std::ranges::partition_point(
        times, [&](double by_s) { return !all_fits(lanes, by_s, bytes, burst_bytes); });
    return first == times.end() ? std::nullopt : std::optional(*first - short_end_s(lanes, bytes, *first));
}

} // namespace mps::lab
