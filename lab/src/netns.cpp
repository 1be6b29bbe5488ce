// SPDX-License-Identifier: MIT
#include "base/try.hpp"

#include <mpsched/lab/netns.hpp>

#include <cerrno>
#include <charconv>
#include <exception>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <fmt/format.h>

namespace mps::lab {
namespace {

constexpr std::string_view netns_dir = "/run/netns/";
constexpr std::string_view name_prefix = "mps";

// Undoes `ip netns add` without a child process, so that the emergency path can use it too.
void unmount_netns(const std::string &name) {
    const auto path = std::string(netns_dir) + name;
    ::umount2(path.c_str(), MNT_DETACH);
    ::unlink(path.c_str());
}

// The process id inside mps<pid>-<suffix>; 0 for names that are not ours.
pid_t owner_of(std::string_view name) {
    if (!name.starts_with(name_prefix)) {
        return 0;
    }
    name.remove_prefix(name_prefix.size());
    pid_t pid = 0;
    const auto [end, err] = std::from_chars(name.data(), name.data() + name.size(), pid);
    return err == std::errc() && end != name.data() + name.size() && *end == '-' ? pid : 0;
}

} // namespace

Result<void> enter_netns(int netns_fd) {
    if (::setns(netns_fd, CLONE_NEWNET) != 0) {
        return os_error("enter", "a network namespace", errno);
    }
    return {};
}

Namespace::Namespace(std::string name, Fd fd, CleanupGuard guard)
    : name_(std::move(name)), fd_(std::move(fd)), guard_(std::move(guard)) {}

Namespace &Namespace::operator=(Namespace &&other) noexcept {
    if (this != &other) {
        remove();
        name_ = std::move(other.name_);
        congestion_control_ = std::move(other.congestion_control_);
        fd_ = std::move(other.fd_);
        guard_ = std::move(other.guard_);
    }
    return *this;
}

Namespace::~Namespace() { remove(); }

void Namespace::remove() {
    if (!fd_) {
        return;
    }
    fd_.reset();
    unmount_netns(name_);
    guard_.dismiss();
}

Result<Namespace> Namespace::create(std::string_view suffix) {
    const auto base = fmt::format("{}{}-{}", name_prefix, ::getpid(), suffix);
    auto name = base;
    for (int n = 2; std::filesystem::exists(std::string(netns_dir) + name); ++n) {
        name = fmt::format("{}{}", base, n);
    }
    CleanupGuard guard([name] { unmount_netns(name); });
    if (auto added = run_checked({"ip", "netns", "add", name}); !added) {
        unmount_netns(name);
        if (::geteuid() != 0 && added.error().hint.empty()) {
            added.error().hint = "run as root";
        }
        return std::unexpected(added.error());
    }
    Fd fd(::open((std::string(netns_dir) + name).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
        const int err = errno;
        unmount_netns(name);
        return os_error("open", std::string(netns_dir) + name, err);
    }
    Namespace ns(std::move(name), std::move(fd), std::move(guard));
    if (auto up = ns.ip("link set lo up"); !up) {
        return std::unexpected(up.error());
    }
    return ns;
}

std::vector<std::string> Namespace::sweep_stale() {
    std::vector<std::string> removed;
    std::error_code ignored;
    for (const auto &entry : std::filesystem::directory_iterator(netns_dir, ignored)) {
        const auto name = entry.path().filename().string();
        const auto pid = owner_of(name);
        if (pid != 0 && !std::filesystem::exists(fmt::format("/proc/{}", pid))) {
            unmount_netns(name);
            removed.push_back(name);
        }
    }
    return removed;
}

Result<void> Namespace::run_thread(const std::function<void()> &f) const {
    Result<void> entered;
    std::exception_ptr thrown;
    std::thread([&] {
        entered = enter_netns(fd());
        if (!entered) {
            return;
        }
        try {
            f();
        } catch (...) {
            thrown = std::current_exception();
        }
    }).join();
    if (thrown) {
        std::rethrow_exception(thrown);
    }
    return entered;
}

Result<std::thread> Namespace::start_thread(std::function<void()> f) const {
    std::promise<Result<void>> entered;
    auto answer = entered.get_future();
    std::thread thread([fd = fd(), f = std::move(f), entered = std::move(entered)]() mutable {
        auto result = enter_netns(fd);
        const bool inside = result.has_value();
        entered.set_value(std::move(result));
        if (inside) {
            f();
        }
    });
    if (auto result = answer.get(); !result) {
        thread.join();
        return std::unexpected(result.error());
    }
    return thread;
}

Result<ProcessResult> Namespace::spawn(std::vector<std::string> argv, ProcessOptions options) const {
    options.netns_fd = fd();
    return run_process(std::move(argv), std::move(options));
}

Result<ProcessResult> Namespace::spawn_checked(std::vector<std::string> argv, ProcessOptions options) const {
    options.netns_fd = fd();
    return run_checked(std::move(argv), std::move(options));
}

Result<Process> Namespace::start(std::vector<std::string> argv, ProcessOptions options) const {
    options.netns_fd = fd();
    return Process::start(std::move(argv), std::move(options));
}

Result<void> Namespace::batch(std::vector<std::string> tool, std::string_view lines) const {
    const auto typed = shell_words(tool);
    ProcessOptions options;
    options.input = std::string(lines) + "\n";
    options.netns_fd = fd();
    tool.insert(tool.end(), {"-batch", "-"});
    auto result = run_process(std::move(tool), std::move(options));
    MPS_TRY(result);
    if (result->ok()) {
        return {};
    }
    // The tool ends with "Command failed -:N", N counting lines from 1.
    std::string culprit;
    const std::string_view marker = "Command failed -:";
    if (const auto at = result->err.find(marker); at != std::string::npos) {
        std::size_t number = 0;
        const char *digits = result->err.data() + at + marker.size();
        std::from_chars(digits, result->err.data() + result->err.size(), number);
        std::size_t begin = 0;
        for (std::size_t line = 1; line < number && begin != std::string_view::npos; ++line) {
            begin = lines.find('\n', begin);
            begin = begin == std::string_view::npos ? begin : begin + 1;
        }
        if (begin != std::string_view::npos) {
            culprit = lines.substr(begin, lines.find('\n', begin) - begin);
        }
    }
    return fail(fmt::format("`{} {}` failed in namespace {}: {}", typed, culprit, name_,
                            result->err.substr(0, result->err.find('\n'))));
}

Result<void> Namespace::ip(std::string_view lines) const { return batch({"ip"}, lines); }

Result<void> Namespace::ip6(std::string_view lines) const { return batch({"ip", "-6"}, lines); }

Result<void> Namespace::tc(std::string_view lines) const { return batch({"tc"}, lines); }

Result<void> Namespace::set_sysctl(std::string_view key, std::string_view value) const {
    const auto path = fmt::format("/proc/sys/net/{}", key);
    return run([&]() -> Result<void> {
        const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        if (!file || ::write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
            return os_error(fmt::format("write {} to", value), path, errno);
        }
        return {};
    });
}

Result<std::string> Namespace::get_sysctl(std::string_view key) const {
    const auto path = fmt::format("/proc/sys/net/{}", key);
    return run([&]() -> Result<std::string> {
        std::ifstream file(path);
        std::string value;
        if (!std::getline(file, value)) {
            return os_error("read", path, ENOENT);
        }
        return value;
    });
}

Result<void> Namespace::set_congestion_control(std::string name) {
    auto done = set_sysctl("ipv4/tcp_congestion_control", name);
    if (done) {
        congestion_control_.clear();
        return done;
    }
    if (done.error().err == EPERM) {
        congestion_control_ = std::move(name);
        return {};
    }
    done.error().hint = "net.ipv4.tcp_available_congestion_control lists what there is";
    return done;
}

} // namespace mps::lab
