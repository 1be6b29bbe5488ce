// SPDX-License-Identifier: MIT
#include <mpsched/lab/bound.hpp>

#include <algorithm>
#include <limits>

namespace mps::lab {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

// Bytes of one path. What was sent in a stage arrives by `until_s` if it was sent before until_s - delay.
double bytes_of(const FluidPath &path, double from_s, double until_s) {
    double bytes = 0;
    for (std::size_t i = 0; i < path.size(); ++i) {
        const auto &stage = path[i];
        const double begins = i == 0 ? from_s : std::max(stage.at_s, from_s);
        const double ends = std::min(i + 1 < path.size() ? path[i + 1].at_s : never, until_s - stage.delay_s);
        if (ends > begins) {
            bytes += (ends - begins) * stage.mbit * 1e6 / 8;
        }
    }
    return bytes;
}

} // namespace

double payload_share(unsigned mtu, bool ipv6) {
    constexpr unsigned ethernet = 14;
    constexpr unsigned tcp = 20;
    constexpr unsigned timestamps = 12;
    constexpr unsigned dss = 20; // with 64-bit sequence number and 32-bit acknowledgement, as Linux sends it
    const unsigned headers = (ipv6 ? 40U : 20U) + tcp + timestamps + dss;
    return static_cast<double>(mtu - headers) / (mtu + ethernet);
}

double fluid_bytes(std::span<const FluidPath> paths, double from_s, double until_s) {
    double bytes = 0;
    for (const auto &path : paths) {
        bytes += bytes_of(path, from_s, until_s);
    }
    return bytes;
}

std::optional<double> fluid_arrival_s(std::span<const FluidPath> paths, double from_s, double bytes) {
    // Until nothing changes any more; from there on it grows evenly, or not at all.
    double settled = from_s;
    double rate = 0;
    double least_delay = never;
    for (const auto &path : paths) {
        for (std::size_t i = 0; i < path.size(); ++i) {
            const bool last = i + 1 == path.size();
            const double ends = last ? std::max(path[i].at_s, from_s) : path[i + 1].at_s;
            settled = std::max(settled, ends + path[i].delay_s);
            least_delay = std::min(least_delay, path[i].delay_s);
            rate += last ? path[i].mbit * 1e6 / 8 : 0;
        }
    }
    double late = settled;
    const double by_then = fluid_bytes(paths, from_s, settled);
    if (by_then < bytes) {
        if (rate <= 0) {
            return std::nullopt;
        }
        late += (bytes - by_then) / rate * (1 + 1e-12) + 1e-9;
    }
    double early = from_s + (least_delay == never ? 0 : least_delay);
    constexpr int halvings = 100; // of any distance; doubles end before that
    for (int i = 0; i < halvings && early < late; ++i) {
        const double middle = early + (late - early) / 2;
        (fluid_bytes(paths, from_s, middle) < bytes ? early : late) = middle;
    }
    return late;
}

std::optional<double> fluid_exchange_s(std::span<const FluidPath> up, std::span<const FluidPath> down,
                                       double from_s, double request_bytes, double answer_bytes) {
    const auto asked = fluid_arrival_s(up, from_s, request_bytes);
    const auto answered = asked ? fluid_arrival_s(down, *asked, answer_bytes) : std::nullopt;
    return answered ? std::optional(*answered - from_s) : std::nullopt;
}

} // namespace mps::lab
