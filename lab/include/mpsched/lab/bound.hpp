// SPDX-License-Identifier: MIT
// What no scheduler can beat: data as a fluid that uses every path at its full rate from the first moment, as soon as
// the path's delay allows. Pure functions of rates and delays; windows, slow start, buffers and the size of packets
// only ever make things slower, so they are left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace mps::lab {

/// From `at_s` until the next stage begins, a path takes `mbit` of contents and hands them out `delay_s` later.
struct FluidStage {
    double at_s = 0;
    double mbit = 0; ///< 10^6 bit/s of contents; 0 while the path is dead
    double delay_s = 0;
};

/// One direction of a path: stages by time. The first one also holds before it, the last one for ever.
using FluidPath = std::vector<FluidStage>;

/// Contents per bit on the wire, for full packets of MPTCP data with TCP timestamps and Ethernet.
double payload_share(unsigned mtu, bool ipv6);

/// The most bytes that can have arrived by `until_s` of what was sent from `from_s` on.
double fluid_bytes(std::span<const FluidPath> paths, double from_s, double until_s);

/// The earliest time at which `bytes`, handed over at `from_s`, can have arrived; none if they never can.
std::optional<double> fluid_arrival_s(std::span<const FluidPath> paths, double from_s, double bytes);

/// A request and its answer: from handing over the request to the last byte of the answer.
std::optional<double> fluid_exchange_s(std::span<const FluidPath> up, std::span<const FluidPath> down,
                                       double from_s, double request_bytes, double answer_bytes);

} // namespace mps::lab
