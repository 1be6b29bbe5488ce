// SPDX-License-Identifier: MIT

#include "service/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>

#include <fmt/format.h>

#include "base/clock.hpp"
#include "base/fd.hpp"

namespace mps::service {

Notify::Notify() {
    if (const char *address = std::getenv("NOTIFY_SOCKET"))
        address_ = address;
    const char *pid = std::getenv("WATCHDOG_PID");
    const char *interval = std::getenv("WATCHDOG_USEC");
    if (interval && (!pid || std::strtol(pid, nullptr, 10) == ::getpid()))
        watchdog_ = std::chrono::milliseconds(std::strtoll(interval, nullptr, 10) / 1000);
}

void Notify::send(const std::string &text) const {
    sockaddr_un address{};
    if (address_.empty() || address_.size() >= sizeof address.sun_path)
        return;
    address.sun_family = AF_UNIX;
    address_.copy(address.sun_path, sizeof address.sun_path - 1);
    // The abstract namespace.
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
    const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    // systemd may be gone or restart; that is no reason to stop.
    if (socket)
        (void)::sendto(socket.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                       reinterpret_cast<const sockaddr *>(&address), length);
}

void Notify::ready(const std::string &status) const { send(fmt::format("READY=1\nSTATUS={}\n", status)); }

void Notify::reloading() const {
    send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}\n", monotonic_ns() / 1000));
}

void Notify::stopping() const { send("STOPPING=1\n"); }

void Notify::alive() const { send("WATCHDOG=1\n"); }

} // namespace mps::service
