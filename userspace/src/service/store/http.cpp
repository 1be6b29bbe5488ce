// SPDX-License-Identifier: MIT

#include "service/store/http.hpp"

#include "base/try.hpp"

#include <curl/curl.h>

#include <array>
#include <memory>
#include <optional>

#include <fmt/format.h>

namespace mps::service::store {

namespace {

constexpr long connect_limit_s = 10, answer_limit_s = 30;
// A connection on which nothing passes for long is asked whether it still leads anywhere.
constexpr long keepalive_idle_s = 30, keepalive_interval_s = 10;
constexpr int poll_ms = 1000;

struct Easy {
    CURL *handle = curl_easy_init();
    Easy() = default;
    Easy(const Easy &) = delete;
    Easy &operator=(const Easy &) = delete;
    ~Easy() { curl_easy_cleanup(handle); }
};

struct Headers {
    curl_slist *list = nullptr;
    Headers() = default;
    Headers(const Headers &) = delete;
    Headers &operator=(const Headers &) = delete;
    ~Headers() { curl_slist_free_all(list); }
    void add(const std::string &line) { list = curl_slist_append(list, line.c_str()); }
};

// Where an answer goes: as a whole, or line by line.
struct Sink {
    std::string text{};
    const Http::Take *take = nullptr;
    std::optional<Error> error{};
    bool any = false;

    bool add(std::string_view part) {
        any = true;
        text += part;
        for (std::size_t end; take && (end = text.find('\n')) != text.npos; text.erase(0, end + 1))
            if (auto taken = (*take)(std::string_view(text).substr(0, end)); end > 0 && !taken) {
                error = taken.error();
                return false;
            }
        if (text.size() > most_answer_bytes)
            error = Error{.what = "the store's answer is larger than any file of settings"};
        return !error;
    }
};

std::size_t write_to(char *data, std::size_t size, std::size_t count, void *sink) {
    return static_cast<Sink *>(sink)->add({data, size * count}) ? size * count : 0;
}

} // namespace

struct Http::Impl {
    Tls tls;
    std::string token{};
    // Used again, so that connections are. What is posted while a stream lasts has one of its own.
    Easy posting{}, streaming{};

    void prepare(CURL *curl, const std::string &url, const std::string &body, Headers &headers, Sink &sink,
                 char *why) const;
};

void Http::Impl::prepare(CURL *curl, const std::string &url, const std::string &body, Headers &headers,
                         Sink &sink, char *why) const {
    headers.add("Content-Type: application/json");
    if (!token.empty())
        headers.add("Authorization: " + token);
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
    // Nothing but what was written; no other place either.
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.list);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, connect_limit_s);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPIDLE, keepalive_idle_s);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPINTVL, keepalive_interval_s);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write_to);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &sink);
    if (!tls.authority.empty())
        curl_easy_setopt(curl, CURLOPT_CAINFO, tls.authority.c_str());
    if (!tls.certificate.empty())
        curl_easy_setopt(curl, CURLOPT_SSLCERT, tls.certificate.c_str());
    if (!tls.key.empty())
        curl_easy_setopt(curl, CURLOPT_SSLKEY, tls.key.c_str());
}

namespace {

Result<void> verdict(CURL *curl, CURLcode code, const std::string &url, const Sink &sink, const char *why) {
    if (sink.error)
        return std::unexpected(*sink.error);
    if (code != CURLE_OK)
        return fail(ErrorCode::failed, fmt::format("{}: {}", url, *why ? why : curl_easy_strerror(code)));
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    // The reason stands in the answer.
    if (status == 401)
        return fail(ErrorCode::not_permitted,
                    fmt::format("{}: the store wants to know who asks: {}", url, sink.text.substr(0, 200)),
                    "--watch-login names a file with name:password, or a token");
    return {};
}

} // namespace

Http::Http(Tls tls) : impl_(std::make_unique<Impl>(std::move(tls))) {}
Http::~Http() = default;

void Http::authorize(std::string token) { impl_->token = std::move(token); }

Result<std::string> Http::post(const std::string &url, const std::string &body) {
    std::array<char, CURL_ERROR_SIZE> why{};
    Sink sink;
    Headers headers;
    CURL *curl = impl_->posting.handle;
    impl_->prepare(curl, url, body, headers, sink, why.data());
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, answer_limit_s);
    const auto done = verdict(curl, curl_easy_perform(curl), url, sink, why.data());
    MPS_TRY(done);
    return std::move(sink.text);
}

Result<void> Http::stream(const std::string &url, const std::string &body, const Take &take, long age_s,
                          int other, const std::function<Result<void>()> &call) {
    std::array<char, CURL_ERROR_SIZE> why{};
    Sink sink{.take = &take};
    Headers headers;
    CURL *curl = impl_->streaming.handle;
    impl_->prepare(curl, url, body, headers, sink, why.data());
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, age_s);
    const std::unique_ptr<CURLM, CURLMcode (*)(CURLM *)> multi(curl_multi_init(), curl_multi_cleanup);
    curl_multi_add_handle(multi.get(), curl);
    Result<void> done{};
    CURLcode code = CURLE_OK;
    for (int running = 1; running && done;) {
        curl_waitfd extra{.fd = other, .events = CURL_WAIT_POLLIN, .revents = 0};
        if (const CURLMcode polled = curl_multi_poll(multi.get(), &extra, 1, poll_ms, nullptr);
            polled != CURLM_OK)
            done = fail(ErrorCode::failed, fmt::format("{}: {}", url, curl_multi_strerror(polled)));
        if (done && extra.revents)
            done = call();
        curl_multi_perform(multi.get(), &running);
    }
    int left = 0;
    while (const CURLMsg *message = curl_multi_info_read(multi.get(), &left))
        if (message->msg == CURLMSG_DONE)
            code = message->data.result;
    // A stream whose time is over is no fault.
    if (done && !(code == CURLE_OPERATION_TIMEDOUT && sink.any && !sink.error))
        done = verdict(curl, code, url, sink, why.data());
    curl_multi_remove_handle(multi.get(), curl);
    return done;
}

} // namespace mps::service::store
