// SPDX-License-Identifier: MIT
#include "service_run.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <sstream>

#include <fmt/format.h>

namespace mps::robust {

Fd connect_inside(const lab::Namespace &ns, std::uint16_t port) {
    return must(ns.run([&] {
        Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const timeval patience{.tv_sec = 20, .tv_usec = 0};
        ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(port);
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return ::connect(socket.get(), reinterpret_cast<const sockaddr *>(&to), sizeof to)
                   ? Fd()
                   : std::move(socket);
    }));
}

HttpAnswer http_exchange(const lab::Namespace &ns, std::uint16_t port, const std::string &text) {
    const Fd socket = connect_inside(ns, port);
    HttpAnswer answer;
    if (socket.get() < 0)
        return answer;
    (void)!::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL);
    std::string all;
    std::array<char, 8192> buffer;
    for (ssize_t got = 0; (got = ::recv(socket.get(), buffer.data(), buffer.size(), 0)) > 0;)
        all.append(buffer.data(), static_cast<std::size_t>(got));
    const std::size_t end = all.find("\r\n\r\n");
    if (end == all.npos || !all.starts_with("HTTP/1."))
        return answer;
    answer.status = std::stoi(all.substr(9, 3));
    answer.head = all.substr(0, end);
    answer.body = all.substr(end + 4);
    return answer;
}

HttpAnswer http_get(const lab::Namespace &ns, std::uint16_t port, const std::string &path,
                    const std::string &headers) {
    return http_exchange(ns, port,
                         fmt::format("GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n", path, port, headers));
}

Series series_of(const std::string &text) {
    Series all;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (!line.starts_with('#'))
            all[line.substr(0, line.rfind(' '))] = std::stod(line.substr(line.rfind(' ') + 1));
    return all;
}

} // namespace mps::robust
