// SPDX-License-Identifier: MIT

#include "service/control.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <optional>

#include <fmt/format.h>

#include "base/try.hpp"
#include "service/client.hpp"

namespace mps::service {

namespace {

// Root's, and nobody else can put anything there.
Result<void> make_run_folder() {
    const std::string folder = run_folder();
    if (::mkdir(folder.c_str(), 0755) && errno != EEXIST)
        return std::unexpected(system_error(errno, fmt::format("making {}", folder)));
    struct stat status{};
    if (::lstat(folder.c_str(), &status))
        return std::unexpected(system_error(errno, fmt::format("looking at {}", folder)));
    if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || status.st_mode & (S_IWGRP | S_IWOTH))
        return fail(ErrorCode::not_permitted, fmt::format("{} can be written by others", folder),
                    "it has to belong to who runs mpschedd, with mode 755");
    return {};
}

Result<Fd> take_lock(std::uint64_t cookie) {
    const std::string path = lock_path(cookie);
    Fd lock(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock)
        return std::unexpected(system_error(errno, fmt::format("opening {}", path)));
    if (::flock(lock.get(), LOCK_EX | LOCK_NB)) {
        std::array<char, 16> pid{};
        const bool known = ::pread(lock.get(), pid.data(), pid.size() - 1, 0) > 0;
        return fail(ErrorKind::in_use,
                    fmt::format("another mpschedd is at work in this network namespace{}",
                                known ? fmt::format(" (process {})", std::atoi(pid.data())) : ""),
                    "one is enough: 'mpsched reload' has it read its files again");
    }
    const std::string pid = fmt::format("{}\n", ::getpid());
    if (::ftruncate(lock.get(), 0) || ::pwrite(lock.get(), pid.data(), pid.size(), 0) < 0)
        return std::unexpected(system_error(errno, fmt::format("writing {}", path)));
    return lock;
}

std::optional<std::string> read_line(int socket) {
    constexpr std::size_t longest = 4096;
    std::string line;
    std::array<char, 512> buffer;
    while (line.size() < longest && line.find('\n') == line.npos) {
        const ssize_t got = ::read(socket, buffer.data(), buffer.size());
        if (got <= 0)
            return std::nullopt;
        line.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return line;
}

} // namespace

Result<Control> Control::open(std::uint64_t cookie) {
    MPS_TRY(make_run_folder());
    auto lock = take_lock(cookie);
    MPS_TRY(lock);
    std::string path = socket_path(cookie);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return fail(ErrorCode::usage, fmt::format("{} is too long for a socket", path),
                    "set MPS_RUN_DIR to less");
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    // We have the lock: what is there is what a killed one has left.
    ::unlink(path.c_str());
    Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const mode_t before = ::umask(0177);
    const bool bound = socket &&
                       !::bind(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) &&
                       !::listen(socket.get(), 16);
    const int err = errno;
    ::umask(before);
    if (!bound)
        return std::unexpected(system_error(err, fmt::format("listening at {}", path)));
    return Control(std::move(*lock), std::move(socket), std::move(path));
}

Control::~Control() {
    // The lock goes last, so what is removed here is ours.
    if (listening_)
        ::unlink(path_.c_str());
}

void Control::serve(const std::function<Json(const Json &)> &answer) const {
    for (;;) {
        const Fd client(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client)
            return;
        const timeval second{.tv_sec = 1, .tv_usec = 0};
        ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
        ::setsockopt(client.get(), SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
        const auto line = read_line(client.get());
        if (!line)
            continue;
        const std::string text = json_text(answer(Json::parse(*line, nullptr, false)));
        (void)::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL);
    }
}

} // namespace mps::service
