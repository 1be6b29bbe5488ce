// SPDX-License-Identifier: MIT
#include "base/try.hpp"

#include <mpsched/lab/counters.hpp>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include <fmt/format.h>

namespace mps::lab {
namespace {

// Per thread: the process's /proc/net would show the namespace of the main thread.
constexpr auto proc_net = "/proc/thread-self/net/";

Result<std::map<std::string, DeviceCounters, std::less<>>> read_devices() {
    const auto path = std::string(proc_net) + "dev";
    std::ifstream file(path);
    std::string line;
    if (!file) {
        return os_error("read", path, EIO);
    }
    std::map<std::string, DeviceCounters, std::less<>> devices;
    while (std::getline(file, line)) {
        const auto colon = line.find(':');
        if (colon == std::string::npos) {
            continue;
        }
        const auto begin = line.find_first_not_of(' ');
        std::istringstream numbers(line.substr(colon + 1));
        DeviceCounters c;
        std::uint64_t skip = 0;
        // rx: bytes packets errs drop fifo frame compressed multicast; tx: bytes packets errs drop …
        numbers >> c.rx_bytes >> c.rx_packets >> skip >> c.rx_dropped >> skip >> skip >> skip >> skip >>
            c.tx_bytes >> c.tx_packets >> skip >> c.tx_dropped;
        if (!numbers) {
            return fail(fmt::format("cannot understand a line of {}: {}", path, line));
        }
        devices.emplace(line.substr(begin, colon - begin), c);
    }
    return devices;
}

// Files of line pairs "Prefix: name name …" and "Prefix: value value …".
Result<void> read_mib(const std::string &path, std::map<std::string, std::int64_t, std::less<>> &into) {
    std::ifstream file(path);
    std::string names_line;
    std::string values_line;
    bool any = false;
    while (std::getline(file, names_line) && std::getline(file, values_line)) {
        std::istringstream names(names_line);
        std::istringstream values(values_line);
        std::string prefix;
        std::string values_prefix;
        names >> prefix;
        values >> values_prefix;
        if (prefix != values_prefix || prefix.empty()) {
            return fail(fmt::format("cannot understand {}: names of {} before values of {}", path, prefix,
                                    values_prefix));
        }
        prefix.pop_back();
        std::string name;
        std::int64_t value = 0;
        while (names >> name && values >> value) {
            into[prefix + name] = value;
            any = true;
        }
    }
    return any ? Result<void>{} : os_error("read", path, EIO);
}

} // namespace

Result<std::int64_t> Counters::get(std::string_view name) const {
    const auto found = mib.find(name);
    if (found == mib.end()) {
        return fail(fmt::format("this kernel has no counter {}", name), "`nstat -az` lists the names");
    }
    return found->second;
}

std::int64_t Counters::get_or(std::string_view name, std::int64_t otherwise) const {
    const auto found = mib.find(name);
    return found == mib.end() ? otherwise : found->second;
}

Result<Counters> read_counters(const Namespace &ns) {
    return ns.run([]() -> Result<Counters> {
        Counters counters;
        auto devices = read_devices();
        MPS_TRY(devices);
        counters.devices = std::move(*devices);
        for (const auto *file : {"snmp", "netstat"}) {
            if (auto read = read_mib(std::string(proc_net) + file, counters.mib); !read) {
                return std::unexpected(read.error());
            }
        }
        return counters;
    });
}

Counters operator-(const Counters &later, const Counters &earlier) {
    Counters diff;
    for (const auto &[name, c] : later.devices) {
        if (const auto before = earlier.devices.find(name); before != earlier.devices.end()) {
            const auto &b = before->second;
            diff.devices[name] = {c.rx_bytes - b.rx_bytes,     c.rx_packets - b.rx_packets,
                                  c.rx_dropped - b.rx_dropped, c.tx_bytes - b.tx_bytes,
                                  c.tx_packets - b.tx_packets, c.tx_dropped - b.tx_dropped};
        }
    }
    for (const auto &[name, value] : later.mib) {
        if (const auto before = earlier.mib.find(name); before != earlier.mib.end()) {
            diff.mib[name] = value - before->second;
        }
    }
    return diff;
}

struct ThroughputSampler::Impl {
    std::vector<std::string> devices;
    std::chrono::steady_clock::time_point began;
    mutable std::mutex mutex;
    std::condition_variable wake;
    bool stopping = false;
    std::vector<ThroughputPoint> points;
    std::thread thread;

    ~Impl() { stop(); }

    void stop() {
        {
            std::lock_guard lock(mutex);
            stopping = true;
        }
        wake.notify_all();
        if (thread.joinable()) {
            thread.join();
        }
    }

    double now_s() const {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    }

    // A device that has gone keeps its last value: the series stays cumulative.
    Result<ThroughputPoint> read_point(const ThroughputPoint *last) const {
        auto counters = read_devices();
        MPS_TRY(counters);
        ThroughputPoint point;
        point.at_s = now_s();
        for (std::size_t i = 0; i < devices.size(); ++i) {
            const auto found = counters->find(devices[i]);
            if (found != counters->end()) {
                point.tx_bytes.push_back(found->second.tx_bytes);
                point.rx_bytes.push_back(found->second.rx_bytes);
            } else if (last != nullptr) {
                point.tx_bytes.push_back(last->tx_bytes[i]);
                point.rx_bytes.push_back(last->rx_bytes[i]);
            } else {
                return fail(fmt::format("no device {} in this namespace", devices[i]));
            }
        }
        return point;
    }

    void run(std::chrono::milliseconds interval) {
        auto next = std::chrono::steady_clock::now();
        std::unique_lock lock(mutex);
        while (!stopping) {
            next += interval;
            wake.wait_until(lock, next, [&] { return stopping; });
            const auto last = points.back();
            lock.unlock();
            auto point = read_point(&last);
            lock.lock();
            if (point) {
                points.push_back(std::move(*point));
            }
        }
    }
};

ThroughputSampler::ThroughputSampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ThroughputSampler::ThroughputSampler(ThroughputSampler &&) noexcept = default;
ThroughputSampler &ThroughputSampler::operator=(ThroughputSampler &&) noexcept = default;
ThroughputSampler::~ThroughputSampler() = default;

Result<ThroughputSampler> ThroughputSampler::start(const Namespace &ns, std::vector<std::string> devices,
                                                   std::chrono::milliseconds interval) {
    if (interval.count() < 1) {
        return fail("a sampling interval below 1 ms is not possible");
    }
    auto impl = std::make_unique<Impl>();
    impl->devices = std::move(devices);
    impl->began = std::chrono::steady_clock::now();
    auto first = ns.run([&] { return impl->read_point(nullptr); });
    MPS_TRY(first);
    impl->points.push_back(std::move(*first));
    auto thread = ns.start_thread([raw = impl.get(), interval] { raw->run(interval); });
    MPS_TRY(thread);
    impl->thread = std::move(*thread);
    return ThroughputSampler(std::move(impl));
}

const std::vector<std::string> &ThroughputSampler::devices() const { return impl_->devices; }

double ThroughputSampler::now_s() const { return impl_->now_s(); }

std::vector<ThroughputPoint> ThroughputSampler::series() const {
    std::lock_guard lock(impl_->mutex);
    return impl_->points;
}

ThroughputWindow ThroughputSampler::window(double from_s, double to_s) const {
    std::lock_guard lock(impl_->mutex);
    const auto &points = impl_->points;
    const auto nearest = [&](double at) {
        auto above = std::ranges::lower_bound(points, at, {}, &ThroughputPoint::at_s);
        if (above == points.end() ||
            (above != points.begin() && at - std::prev(above)->at_s < above->at_s - at)) {
            --above;
        }
        return above;
    };
    const auto from = nearest(from_s);
    const auto to = nearest(to_s);
    const auto count = impl_->devices.size();
    ThroughputWindow window;
    window.tx_mbit.assign(count, 0);
    window.rx_mbit.assign(count, 0);
    window.tx_share.assign(count, 0);
    window.rx_share.assign(count, 0);
    window.seconds = to->at_s - from->at_s;
    if (window.seconds <= 0) {
        window.seconds = 0;
        return window;
    }
    for (std::size_t i = 0; i < count; ++i) {
        window.tx_mbit[i] =
            static_cast<double>(to->tx_bytes[i] - from->tx_bytes[i]) * 8 / 1e6 / window.seconds;
        window.rx_mbit[i] =
            static_cast<double>(to->rx_bytes[i] - from->rx_bytes[i]) * 8 / 1e6 / window.seconds;
        window.tx_total_mbit += window.tx_mbit[i];
        window.rx_total_mbit += window.rx_mbit[i];
    }
    for (std::size_t i = 0; i < count; ++i) {
        window.tx_share[i] = window.tx_total_mbit > 0 ? window.tx_mbit[i] / window.tx_total_mbit : 0;
        window.rx_share[i] = window.rx_total_mbit > 0 ? window.rx_mbit[i] / window.rx_total_mbit : 0;
    }
    return window;
}

void ThroughputSampler::stop() { impl_->stop(); }

} // namespace mps::lab
