// SPDX-License-Identifier: MIT

#include "service/client.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include <fmt/format.h>

#include "base/fd.hpp"
#include "base/try.hpp"

namespace mps::service {

namespace {

// A reload may have the kernel verify several policies.
constexpr int patience_ms = 60'000;

Result<std::string> line_from(int socket) {
    std::string line;
    std::array<char, 4096> buffer;
    for (;;) {
        pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
        const int ready = ::poll(&waiting, 1, patience_ms);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return fail(ErrorKind::busy, "mpschedd does not answer",
                        "'mpsched status' shows what is in force without it");
        const ssize_t got = ::read(socket, buffer.data(), buffer.size());
        if (got <= 0)
            return line;
        line.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

} // namespace

std::string run_folder() {
    const char *folder = std::getenv("MPS_RUN_DIR");
    return folder && *folder ? folder : "/run/mpsched";
}

std::string socket_path(std::uint64_t cookie) { return fmt::format("{}/{}.sock", run_folder(), cookie); }
std::string lock_path(std::uint64_t cookie) { return fmt::format("{}/{}.lock", run_folder(), cookie); }

Result<std::optional<Json>> ask(std::uint64_t cookie, const Json &request) {
    const std::string path = socket_path(cookie);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
        return std::nullopt;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    // Nobody listens at what a killed one has left; who may not look learns nothing.
    if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address))
        return std::nullopt;
    const std::string line = request.dump() + "\n";
    if (::send(socket.get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
        return std::nullopt;
    const auto text = line_from(socket.get());
    MPS_TRY(text);
    Json answer = Json::parse(*text, nullptr, false);
    if (!answer.is_object())
        return fail(ErrorCode::failed, "mpschedd ended before it had answered",
                    "'journalctl -u mpschedd' may tell why");
    return answer;
}

Result<Json> demand(std::uint64_t netns_cookie, std::string_view what, std::string_view otherwise) {
    auto answer = ask(netns_cookie, {{"do", what}});
    MPS_TRY(answer);
    if (!*answer)
        return fail(ErrorCode::failed, "no mpschedd runs for this network namespace",
                    fmt::format("'systemctl start mpschedd' starts it{}{}", otherwise.empty() ? "" : "; ",
                                otherwise));
    if (auto error = error_in(**answer))
        return std::unexpected(std::move(*error));
    return std::move(**answer);
}

std::optional<Error> error_in(const Json &answer) {
    const auto it = answer.find("error");
    if (it == answer.end() || !it->is_object())
        return std::nullopt;
    Error error{.code = static_cast<ErrorCode>(it->value("code", 1)),
                .what = it->value("what", ""),
                .hint = it->value("hint", "")};
    for (const Json &line : it->value("detail", Json::array()))
        error.detail += (error.detail.empty() ? "" : "\n") + line.get<std::string>();
    error.kind = plain_kind(error.code);
    return error;
}

} // namespace mps::service
