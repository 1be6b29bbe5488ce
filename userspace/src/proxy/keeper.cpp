// SPDX-License-Identifier: MIT
#include "proxy/keeper.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/descriptor.hpp"
#include "base/try.hpp"
#include "output/text.hpp"

namespace mps::proxy {

namespace {

using namespace std::chrono_literals;

constexpr auto ask_every = 1s, silent_after = 5s, first_start_takes = 15s, steady_after = 10s;
constexpr auto first_pause = 100ms, longest_pause = 10'000ms;
// A relay that ends so often in a row gets no connections any more until it answers again.
constexpr unsigned failures_before_passing = 3;

Result<Fd> listen_at(const http::Address &address, int family, int protocol) {
    Fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol));
    if (!socket && protocol == IPPROTO_MPTCP)
        return fail(ErrorCode::unsupported,
                    fmt::format("the kernel makes no MPTCP sockets: {}", errno_text(errno)),
                    "sysctl -w net.mptcp.enabled=1; see 'mpsched doctor'");
    const int on = 1;
    sockaddr_in v4{};
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    ::inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr);
    sockaddr_in6 v6{};
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(address.port);
    ::inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr);
    const bool is_v4 = family == AF_INET;
    ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!is_v4)
        ::setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (!socket ||
        (is_v4 ? ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&v4), sizeof v4)
               : ::bind(socket.get(), reinterpret_cast<const sockaddr *>(&v6), sizeof v6)) != 0 ||
        ::listen(socket.get(), SOMAXCONN) != 0)
        return std::unexpected(system_error(
            errno, fmt::format("listening at {}",
                               address.host.empty() ? fmt::to_string(address.port) : address.text())));
    return socket;
}

std::string state_text(bool is_ready, bool is_silent, bool is_starting) {
    return is_ready ? "ready" : is_silent ? "silent" : is_starting ? "starting" : "ended";
}

} // namespace

// ---- from nothing to a relay that answers

Result<void> Keeper::open_sockets() {
    auto alive = listen_at({.host = "127.0.0.1"}, AF_INET, IPPROTO_TCP);
    MPS_TRY(alive);
    alive_ = std::move(*alive);
    if (spec_.near()) {
        const Fd probe(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
        if (!probe)
            return fail(ErrorCode::unsupported,
                        fmt::format("the kernel makes no MPTCP sockets: {}", errno_text(errno)),
                        "sysctl -w net.mptcp.enabled=1; see 'mpsched doctor'");
        auto interception =
            Interception::start({.lan = spec_.lan, .back = spec_.keep_address, .ports = spec_.ports});
        MPS_TRY(interception);
        interception_.emplace(std::move(*interception));
        return {};
    }
    const bool any = spec_.listen->host.empty();
    for (const int family : {AF_INET, AF_INET6}) {
        if (!any && (family == AF_INET6) != spec_.listen->ipv6)
            continue;
        auto listener = listen_at(*spec_.listen, family, IPPROTO_MPTCP);
        if (!listener && any && family == AF_INET6)
            continue; // a kernel without IPv6
        MPS_TRY(listener);
        listeners_.push_back(std::move(*listener));
    }
    return {};
}

Result<void> Keeper::begin_relay() {
    Sockets sockets{.listeners = {}, .alive = alive_.get()};
    for (const Fd &one : listeners_)
        sockets.listeners.push_back(one.get());
    if (interception_)
        for (const int fd : interception_->listeners())
            if (fd >= 0)
                sockets.listeners.push_back(fd);
    auto relay = start_relay(spec_, sockets);
    MPS_TRY(relay);
    relay_ = std::move(*relay);
    state_ = State::starting;
    begun_ = Clock::now();
    starts_++;
    question_.reset();
    ask_if_alive();
    return {};
}

Result<void> Keeper::wait_until_ready() {
    MPS_TRY(begin_relay());
    const auto end = Clock::now() + first_start_takes;
    while (state_ == State::starting && Clock::now() < end)
        wait_for(-1, 200ms);
    if (state_ == State::ready)
        return {};
    return fail(ErrorCode::failed,
                fmt::format("the relay {} {}", spec_.relay,
                            state_ == State::starting ? "does not answer" : "ended at once"),
                "start it by hand to see what it needs", last_words_);
}

Result<std::unique_ptr<Keeper>> Keeper::start(const Spec &spec, bool speaks) {
    std::unique_ptr<Keeper> keeper(new Keeper(spec, speaks));
    auto commands = listen_for_commands(spec.name());
    MPS_TRY(commands);
    keeper->commands_ = std::move(*commands);
    MPS_TRY(keeper->open_sockets());
    MPS_TRY(keeper->wait_until_ready());
    return keeper;
}

Keeper::~Keeper() {
    if (interception_ && offered_)
        offer(false);
    // First nothing is handed over any more, then what was is closed.
    if (relay_.process) {
        ::kill(relay_.pid, SIGTERM);
        pollfd end{.fd = relay_.process.get(), .events = POLLIN, .revents = 0};
        if (::poll(&end, 1, 5000) != 1)
            ::kill(relay_.pid, SIGKILL);
        ::waitpid(relay_.pid, nullptr, 0);
    }
    interception_.reset();
    commands_.reset();
    if (stopper_.caller)
        reply(stopper_, {{"stopped", spec_.name()}});
}

// ---- what happens to it

void Keeper::offer(bool to_relay) {
    if (interception_ && offered_ != to_relay && interception_->offer(to_relay))
        offered_ = to_relay;
}

// A connection that the relay takes, and closes at once.
void Keeper::ask_if_alive() {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    question_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
    asked_ = Clock::now();
    ::getsockname(alive_.get(), reinterpret_cast<sockaddr *>(&address), &size);
    if (::connect(question_.get(), reinterpret_cast<const sockaddr *>(&address), size) != 0 &&
        errno != EINPROGRESS)
        question_.reset();
}

void Keeper::on_answer() {
    question_.reset();
    if (state_ == State::ended)
        return;
    state_ = State::ready;
    offer(true);
}

void Keeper::on_end() {
    ::waitpid(relay_.pid, nullptr, 0);
    on_words();
    relay_ = {};
    question_.reset();
    const bool had_answered = state_ != State::starting;
    const bool was_steady = had_answered && Clock::now() - begun_ > steady_after;
    state_ = State::ended;
    failures_ = was_steady ? 1 : failures_ + 1;
    if (failures_ >= failures_before_passing)
        offer(false);
    // At once, but not again and again.
    const auto pause = std::min<std::chrono::milliseconds>(first_pause * (1U << std::min(failures_ - 1, 10U)),
                                                           longest_pause);
    next_start_ = Clock::now() + (had_answered && failures_ == 1 ? 0ms : pause);
}

void Keeper::on_words() {
    std::array<char, 4096> buffer;
    for (;;) {
        const ssize_t length = ::read(relay_.words.get(), buffer.data(), buffer.size());
        if (length <= 0) {
            if (length == 0)
                relay_.words.reset();
            return;
        }
        const std::string_view words(buffer.data(), static_cast<std::size_t>(length));
        if (speaks_)
            fmt::print(stderr, "{}", text::printable(words, true));
        constexpr std::size_t kept = 600;
        last_words_.append(words);
        if (last_words_.size() > kept)
            last_words_.erase(0, last_words_.size() - kept);
    }
}

void Keeper::on_time() {
    const auto now = Clock::now();
    if (state_ == State::ended) {
        // What hinders a start may pass.
        if (now >= next_start_ && !begin_relay()) {
            failures_++;
            next_start_ = now + longest_pause;
        }
        return;
    }
    if (question_ && now - asked_ > silent_after && state_ == State::ready) {
        state_ = State::silent;
        offer(false);
    }
    if (!question_ && now - asked_ > ask_every)
        ask_if_alive();
}

// A socket at which it takes a command, as far as it answers.
void Keeper::lend_relay(const Call &call) const {
    const Fd door = state_ == State::ready ? relay_.open_door() : Fd();
    reply(call, {{"pid", relay_.pid}, {"answers", static_cast<bool>(door)}});
    if (door)
        (void)send_descriptor(call.caller.get(), door.get());
}

bool Keeper::answer_calls() {
    for (;;) {
        Call call = take_call(commands_.get());
        if (!call.caller)
            return true;
        if (call.word == "stop") {
            stopper_ = std::move(call);
            return false;
        }
        if (call.word == "relay")
            lend_relay(call);
        else
            reply(call, status());
    }
}

void Keeper::wait_for(int stop, std::chrono::milliseconds longest) {
    std::array<pollfd, 5> watched{{{stop, POLLIN, 0},
                                   {commands_.get(), POLLIN, 0},
                                   {relay_.process.get(), POLLIN, 0},
                                   {relay_.words.get(), POLLIN, 0},
                                   {question_.get(), POLLIN, 0}}};
    ::poll(watched.data(), watched.size(), static_cast<int>(longest.count()));
    if (watched[3].revents)
        on_words();
    if (watched[4].revents)
        on_answer();
    if (watched[2].revents)
        on_end();
    on_time();
}

void Keeper::run(int stop) {
    for (;;) {
        const auto pause = std::chrono::duration_cast<std::chrono::milliseconds>(next_start_ - Clock::now());
        wait_for(stop,
                 state_ == State::ended ? std::clamp<std::chrono::milliseconds>(pause, 1ms, 500ms) : 500ms);
        pollfd asked{.fd = stop, .events = POLLIN, .revents = 0};
        if (::poll(&asked, 1, 0) == 1 || !answer_calls())
            return;
    }
}

Json Keeper::status() const {
    const auto text_of = [](const std::optional<http::Address> &address) {
        return !address                ? Json()
               : address->host.empty() ? Json(fmt::to_string(address->port))
                                       : Json(address->text());
    };
    Json all{
        {"name", spec_.name()},
        {"role", spec_.near() ? "near" : "far"},
        {"pid", ::getpid()},
        {"relay",
         {{"program", spec_.relay},
          {"pid", relay_.process ? Json(relay_.pid) : Json()},
          {"state", state_text(state_ == State::ready, state_ == State::silent, state_ == State::starting)},
          {"starts", starts_}}}};
    if (!spec_.near()) {
        all.update({{"listen", text_of(spec_.listen)},
                    {"to", text_of(spec_.to)},
                    {"from", spec_.from},
                    {"send_proxy", spec_.send_proxy}});
        return all;
    }
    all.update({{"lan", spec_.lan},
                {"ports", spec_.ports},
                {"via", text_of(spec_.via)},
                {"keep_address", spec_.keep_address},
                {"intercepting", offered_}});
    if (const auto counts = interception_->counts())
        all["connections"] = {{"taken", counts->taken},
                              {"mptcp", counts->mptcp},
                              {"no_relay", counts->no_relay},
                              {"failed", counts->failed}};
    return all;
}

} // namespace mps::proxy
