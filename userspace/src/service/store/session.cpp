// SPDX-License-Identifier: MIT

#include "service/store/session.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <random>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/try.hpp"

namespace mps::service::store {

namespace {

using Json = nlohmann::json;

// A watch is begun anew after a while, so that a store which forgot it is noticed.
constexpr long least_age_s = 480, more_age_s = 240;
// One that ends before that was no watch.
constexpr auto least_watch = std::chrono::seconds(5);
constexpr int least_wait_ms = 1000, most_wait_ms = 60'000;

class Session {
  public:
    Session(const WatcherOptions &options, Fd parent)
        : options_(options),
          parent_(std::move(parent)),
          http_(options.tls),
          random_(std::random_device{}()) {}

    void run();

  private:
    std::string url(std::string_view call) const {
        return fmt::format("{}/v3/{}", options_.address.endpoints[endpoint_], call);
    }
    Result<void> log_in();
    Result<void> follow();
    Result<void> put_report();
    // False: the parent is gone.
    bool hear();
    void tell(const Json &line);
    void wait(int ms);
    // Thousands follow one store: not all of them at the same moment.
    long up_to(long most) { return std::uniform_int_distribution<long>(0, most)(random_); }

    const WatcherOptions &options_;
    Fd parent_;
    Http http_;
    std::minstd_rand random_;
    std::size_t endpoint_ = 0;
    std::string heard_{};
    std::string report_{}; // not put yet
    bool alone_ = false;
};

void Session::tell(const Json &line) {
    const std::string text = line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
    for (std::size_t done = 0; done < text.size();) {
        const ssize_t sent = ::send(parent_.get(), text.data() + done, text.size() - done, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            alone_ = true;
            return;
        }
        done += sent > 0 ? static_cast<std::size_t>(sent) : 0;
    }
}

bool Session::hear() {
    std::array<char, 4096> buffer;
    for (;;) {
        const ssize_t got = ::recv(parent_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        alone_ = alone_ || got == 0;
        if (got <= 0)
            break;
        heard_.append(buffer.data(), static_cast<std::size_t>(got));
    }
    for (std::size_t end; (end = heard_.find('\n')) != heard_.npos; heard_.erase(0, end + 1))
        report_ = heard_.substr(0, end);
    return !alone_;
}

void Session::wait(int ms) {
    pollfd waiting{.fd = parent_.get(), .events = POLLIN, .revents = 0};
    const int ready = ::poll(&waiting, 1, ms);
    if (ready > 0)
        hear();
}

Result<void> Session::log_in() {
    const std::size_t colon = options_.login.find(':');
    if (colon == options_.login.npos) {
        http_.authorize(options_.login);
        return {};
    }
    http_.authorize("");
    const auto answer = http_.post(url("auth/authenticate"), login_body(options_.login.substr(0, colon),
                                                                        options_.login.substr(colon + 1)));
    MPS_TRY(answer);
    auto token = read_token(*answer);
    MPS_TRY(token);
    http_.authorize(std::move(*token));
    return {};
}

Result<void> Session::put_report() {
    if (report_.empty())
        return {};
    const auto answer =
        http_.post(url("kv/put"), put_body(report_key(options_.address, options_.node), report_));
    MPS_TRY(answer);
    // A store that only lets itself be read is followed all the same.
    if (const auto put = read_done(*answer); !put)
        tell({{"reached", true},
              {"error", fmt::format("this host's report is not taken: {}", put.error().what)}});
    report_.clear();
    return {};
}

Json line_of(const Value &value) {
    Json line{{"reached", true}, {"cluster", value.cluster}, {"revision", value.revision}};
    if (value.contents)
        line["contents"] = *value.contents;
    return line;
}

Result<void> Session::follow() {
    if (!options_.login.empty())
        MPS_TRY(log_in());
    const auto text = http_.post(url("kv/range"), range_body(options_.address.key));
    MPS_TRY(text);
    const auto now = read_range(*text);
    MPS_TRY(now);
    tell(line_of(now->value));
    MPS_TRY(put_report());
    const auto take = [&](std::string_view line) -> Result<void> {
        const auto value = read_watch(line);
        MPS_TRY(value);
        if (*value)
            tell(line_of(**value));
        return {};
    };
    const auto called = [&]() -> Result<void> {
        if (!hear())
            return fail(ErrorCode::failed, "nobody listens");
        return put_report();
    };
    const auto begun = std::chrono::steady_clock::now();
    MPS_TRY(http_.stream(url("watch"), watch_body(options_.address.key, now->store_revision + 1), take,
                         least_age_s + up_to(more_age_s), parent_.get(), called));
    if (std::chrono::steady_clock::now() - begun < least_watch)
        return fail(ErrorCode::failed, fmt::format("{}: the store ends the watch at once", url("watch")));
    return {};
}

void Session::run() {
    int wait_ms = least_wait_ms;
    while (!alone_) {
        const auto ended = follow();
        if (alone_)
            return;
        if (ended) {
            wait_ms = least_wait_ms;
            continue;
        }
        const int now_ms = wait_ms / 2 + static_cast<int>(up_to(wait_ms / 2));
        tell({{"reached", false}, {"error", ended.error().what}});
        endpoint_ = (endpoint_ + 1) % options_.address.endpoints.size();
        wait(now_ms);
        wait_ms = std::min(2 * wait_ms, most_wait_ms);
    }
}

} // namespace

void run_session(const WatcherOptions &options, Fd parent) { Session(options, std::move(parent)).run(); }

} // namespace mps::service::store
