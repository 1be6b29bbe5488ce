// SPDX-License-Identifier: MIT
#include "diary.hpp"

#include "base/try.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <thread>
#include <utility>

#include <mpsched/lab/cleanup.hpp>

#include <fcntl.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

/// The number that is the n-th word of a text; 0 if there is none.
std::uint64_t word(std::string_view text, std::size_t n) {
    std::size_t at = 0;
    for (;; --n) {
        at = text.find_first_not_of(" \t", at);
        if (at == std::string_view::npos) {
            return 0;
        }
        const auto end = std::min(text.find_first_of(" \t\n", at), text.size());
        if (n == 0) {
            std::uint64_t value = 0;
            std::from_chars(text.data() + at, text.data() + end, value);
            return value;
        }
        at = end;
    }
}

PathBytes path_bytes(std::string_view devices, const std::string &name) {
    const auto label = name + ":";
    for (auto at = devices.find(label); at != std::string_view::npos; at = devices.find(label, at + 1)) {
        if (at == 0 || devices[at - 1] == ' ' || devices[at - 1] == '\n') {
            const auto line = devices.substr(at + label.size());
            constexpr std::size_t tx_column = 8;
            return {.tx = word(line, tx_column), .rx = word(line, 0)};
        }
    }
    return {};
}

std::int64_t prio_received(std::string_view netstat) {
    constexpr std::string_view prefix = "MPTcpExt:";
    const auto names_at = netstat.find(prefix);
    const auto values_at = netstat.find(prefix, names_at + prefix.size());
    const auto name_at = netstat.find(" MPPrioRx ", names_at);
    if (names_at == std::string_view::npos || values_at == std::string_view::npos || name_at > values_at) {
        return 0;
    }
    const auto before = netstat.substr(names_at, name_at - names_at);
    const auto column = static_cast<std::size_t>(std::ranges::count(before, ' '));
    return static_cast<std::int64_t>(word(netstat.substr(values_at), column + 1));
}

} // namespace

Result<ProcFile> ProcFile::open(const Namespace &ns, const char *name) {
    auto fd = ns.run([&]() -> Result<Fd> {
        const auto path = fmt::format("/proc/thread-self/net/{}", name);
        Fd opened(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        return opened ? Result<Fd>(std::move(opened)) : os_error("open", path, errno);
    });
    return fd ? Result<ProcFile>(ProcFile(std::move(*fd))) : std::unexpected(fd.error());
}

Result<std::string_view> ProcFile::read() {
    std::size_t size = 0;
    for (;;) {
        text_.resize(std::max<std::size_t>(size * 2, 16384));
        const auto n = ::pread(fd_.get(), text_.data() + size, text_.size() - size, static_cast<off_t>(size));
        if (n < 0) {
            return os_error("read", "a file of /proc/net", errno);
        }
        if (n == 0) {
            return std::string_view(text_).substr(0, size);
        }
        size += static_cast<std::size_t>(n);
    }
}

Result<Watcher> Watcher::create(const Network &network, bool steered) {
    auto devices = ProcFile::open(network.a(), "dev");
    MPS_TRY(devices);
    Watcher watcher(network.devices(), std::move(*devices));
    for (const auto *host : {&network.a(), &network.b()}) {
        auto netstat = ProcFile::open(*host, "netstat");
        MPS_TRY(netstat);
        // Without mpsched nobody writes MP_PRIO.
        if (steered) {
            watcher.netstat_.push_back(std::move(*netstat));
        }
    }
    return watcher;
}

Result<Diary> Watcher::keep_diary(WorkloadRun &workload, WorkloadRun::Clock::time_point began,
                                  double look_ms) {
    Diary diary;
    const auto look = std::chrono::duration_cast<WorkloadRun::Clock::duration>(
        std::chrono::duration<double, std::milli>(look_ms));
    const auto now_s = [&] {
        return std::chrono::duration<double>(WorkloadRun::Clock::now() - began).count();
    };
    bool running = true;
    for (int tick = 0; running; ++tick) {
        if (stop_requested() != 0) {
            return fail("stopped by a signal", "", EINTR);
        }
        std::this_thread::sleep_until(began + tick * look);
        running = workload.running();
        diary.looks.push_back({now_s(), workload.sample()});
        // The last look closes the last stretch.
        if (tick % looks_per_interval == 0 || !running) {
            if (auto looked = look_coarse(now_s(), diary); !looked) {
                return std::unexpected(looked.error());
            }
        }
    }
    return diary;
}

Watcher::Watcher(std::vector<std::string> names, ProcFile devices)
    : names_(std::move(names)), devices_(std::move(devices)) {}

Result<void> Watcher::look_coarse(double at_s, Diary &diary) {
    Coarse coarse{.at_s = at_s, .paths = {}};
    const auto devices = devices_.read();
    MPS_TRY(devices);
    for (const auto &name : names_) {
        coarse.paths.push_back(path_bytes(*devices, name));
    }
    for (auto &file : netstat_) {
        const auto netstat = file.read();
        MPS_TRY(netstat);
        coarse.prio += prio_received(*netstat);
    }
    diary.coarse.push_back(std::move(coarse));
    return {};
}

} // namespace mps::lab
