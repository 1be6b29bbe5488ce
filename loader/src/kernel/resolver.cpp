// SPDX-License-Identifier: MIT
#include "kernel/resolver.hpp"

#include <netdb.h>
#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <system_error>
#include <thread>

#include <fmt/format.h>

#include "base/addresses.hpp"

namespace mps {

namespace {

using Answer = Result<std::vector<HostAddress>>;

Answer ask(const std::string &name) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    addrinfo *list = nullptr;
    if (const int error = ::getaddrinfo(name.c_str(), nullptr, &hints, &list))
        return fail(ErrorCode::failed,
                    fmt::format("the name '{}' has no address: {}", name, ::gai_strerror(error)),
                    fmt::format("'getent ahosts {}' asks the same", name));
    std::vector<HostAddress> all;
    for (const addrinfo *one = list; one; one = one->ai_next) {
        HostAddress address{};
        if (one->ai_family == AF_INET) {
            std::ranges::copy(ipv4_mapped_prefix, address.begin());
            std::memcpy(address.data() + 12, &reinterpret_cast<const sockaddr_in *>(one->ai_addr)->sin_addr,
                        4);
        } else if (one->ai_family == AF_INET6) {
            std::memcpy(address.data(), &reinterpret_cast<const sockaddr_in6 *>(one->ai_addr)->sin6_addr, 16);
        } else {
            continue;
        }
        if (std::ranges::find(all, address) == all.end())
            all.push_back(address);
    }
    ::freeaddrinfo(list);
    return all;
}

} // namespace

Lookup::Lookup(std::string name) : name_(std::move(name)) {
    std::packaged_task<Answer()> task([copy = name_] { return ask(copy); });
    answer_ = task.get_future();
    // Signals are for the thread that waits for them.
    sigset_t all;
    sigset_t before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
        std::thread(std::move(task)).detach();
    } catch (const std::system_error &) {
        answer_ = {};
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

bool Lookup::ready() const {
    return !answer_.valid() || answer_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

Result<std::vector<HostAddress>> Lookup::wait(std::chrono::milliseconds limit) {
    if (!answer_.valid())
        return fail(ErrorCode::failed, fmt::format("cannot look up '{}': no thread is to be had", name_),
                    "try again");
    if (answer_.wait_for(limit) != std::future_status::ready)
        return fail(ErrorCode::failed,
                    fmt::format("nobody answered within {} ms which address '{}' has", limit.count(), name_),
                    fmt::format("'getent ahosts {}' asks the same", name_));
    return answer_.get();
}

} // namespace mps
