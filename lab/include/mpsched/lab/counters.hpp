// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <mpsched/lab/error.hpp>
#include <mpsched/lab/netns.hpp>

namespace mps::lab {

/// As in /proc/net/dev, link layer headers included.
struct DeviceCounters {
    std::uint64_t rx_bytes = 0;
    std::uint64_t rx_packets = 0;
    std::uint64_t rx_dropped = 0;
    std::uint64_t tx_bytes = 0;
    std::uint64_t tx_packets = 0;
    std::uint64_t tx_dropped = 0;
};

/// One reading of a namespace's kernel counters.
struct Counters {
    std::map<std::string, DeviceCounters, std::less<>> devices; ///< by device name
    /// MIB counters named as nstat(8) prints them: "TcpInCsumErrors", "TcpExtTCPRetransFail",
    /// "MPTcpExtMPPrioRx".
    std::map<std::string, std::int64_t, std::less<>> mib;

    /// The counter's value; an error if this kernel has no counter of that name (so a typing mistake is not a
    /// silent zero).
    Result<std::int64_t> get(std::string_view name) const;
    /// For counters that older kernels lack.
    std::int64_t get_or(std::string_view name, std::int64_t otherwise) const;
};

/// Reads devices, /proc/net/snmp and /proc/net/netstat inside the namespace.
Result<Counters> read_counters(const Namespace &ns);

/// What happened between two readings of one namespace: later - earlier, for names that both have.
Counters operator-(const Counters &later, const Counters &earlier);

/// Cumulative bytes of some devices at one moment.
struct ThroughputPoint {
    double at_s = 0;                     ///< since the sampler started
    std::vector<std::uint64_t> tx_bytes; ///< by device, in the order given
    std::vector<std::uint64_t> rx_bytes;
};

/// Rates of the devices over a stretch of time.
struct ThroughputWindow {
    double seconds = 0;
    std::vector<double> tx_mbit; ///< by device, 10^6 bit/s, link layer
    std::vector<double> rx_mbit;
    std::vector<double> tx_share; ///< of the sum, 0..1; all 0 when nothing was sent
    std::vector<double> rx_share;
    double tx_total_mbit = 0;
    double rx_total_mbit = 0;
};

/// Reads the byte counters of some devices of one namespace at a fixed interval into a time series, in a
/// thread of its own.
class ThroughputSampler {
  public:
    /// Starts at once. Fails if a device does not exist. An interval below 1 ms is refused.
    static Result<ThroughputSampler>
    start(const Namespace &ns, std::vector<std::string> devices,
          std::chrono::milliseconds interval = std::chrono::milliseconds(20));

    ThroughputSampler(ThroughputSampler &&) noexcept;
    ThroughputSampler &operator=(ThroughputSampler &&) noexcept;
    ~ThroughputSampler();

    const std::vector<std::string> &devices() const;
    /// The sampler's clock, to mark when a command was given.
    double now_s() const;
    /// All points so far.
    std::vector<ThroughputPoint> series() const;
    /// Between the points nearest to two times; `to_s` in the future is cut to the last point. Zeros when
    /// there are not two points.
    ThroughputWindow window(double from_s, double to_s) const;
    void stop();

  private:
    struct Impl;
    explicit ThroughputSampler(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace mps::lab
