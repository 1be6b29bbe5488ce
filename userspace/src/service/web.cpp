// SPDX-License-Identifier: MIT

#include "service/web.hpp"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include "base/try.hpp"
#include "mps_web_page.embed.h"
#include "web/view.hpp"
#include "json/documents.hpp"

namespace mps::service {

namespace {

constexpr const char *json_type = "application/json";
// A page waits for the answer; a command may wait longer.
constexpr std::uint32_t lock_timeout_ms = 1000;

// 32 random octets in hex; "" where the kernel has none, which fits nothing.
std::string random_text() {
    std::array<unsigned char, 32> octets{};
    if (::getrandom(octets.data(), octets.size(), 0) != static_cast<ssize_t>(octets.size()))
        return "";
    std::string text;
    for (const unsigned char octet : octets)
        text += fmt::format("{:02x}", octet);
    return text;
}

// In a time that does not tell how much of it fits.
bool same_secret(std::string_view given, std::string_view secret) {
    if (secret.empty() || given.size() != secret.size())
        return false;
    unsigned difference = 0;
    for (std::size_t i = 0; i < secret.size(); i++)
        difference |= static_cast<unsigned>(given[i] ^ secret[i]);
    return difference == 0;
}

// That the browser sends on behalf of another page.
bool is_cross_site(const http::Request &request) {
    const std::string &origin = request.header("origin");
    const std::string &site = request.header("sec-fetch-site");
    return (!origin.empty() && origin != "http://" + request.header("host")) ||
           (!site.empty() && site != "same-origin" && site != "none");
}

http::Response json_response(const Json &body, int status = 200) {
    return {.status = status, .type = json_type, .body = json_text(body)};
}

http::Response refused(const Error &error) {
    return json_response({{"error", error_json(error)}}, error.code == ErrorCode::usage ? 400 : 503);
}

http::Response wrong_body() {
    return refused(
        {.code = ErrorCode::usage, .what = "this is not what the page sends", .hint = "load the page again"});
}

void replace_all(std::string &text, std::string_view what, std::string_view by) {
    for (std::size_t at = text.find(what); at != text.npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
}

} // namespace

Web::Web(std::string netns, const Observer &observer)
    : netns_(std::move(netns)), observer_(observer), token_(random_text()) {}

Result<Instance *> Web::instance() {
    if (!instance_) {
        auto opened = Instance::open({.netns = netns_, .lock_timeout_ms = lock_timeout_ms});
        MPS_TRY(opened);
        instance_ = std::make_unique<Instance>(std::move(*opened));
    }
    return instance_.get();
}

// Only what came with the page runs in it, whatever a name of an interface looks like.
http::Response Web::page() const {
    const std::string nonce = random_text();
    std::string text(reinterpret_cast<const char *>(mps_web_page_begin),
                     static_cast<std::size_t>(mps_web_page_end - mps_web_page_begin));
    replace_all(text, "@NONCE@", nonce);
    return {
        .type = "text/html; charset=utf-8",
        .body = std::move(text),
        .headers = {{"Content-Security-Policy",
                     fmt::format("default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; "
                                 "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                                 "frame-ancestors 'none'",
                                 nonce)},
                    {"Referrer-Policy", "no-referrer"},
                    {"Cross-Origin-Opener-Policy", "same-origin"},
                    {"Cross-Origin-Resource-Policy", "same-origin"}}};
}

http::Response Web::events() const {
    return {.type = "text/event-stream", .more = [this, told = std::uint64_t{0}]() mutable -> std::string {
                const auto [look, facts] = observer_.last();
                const std::uint64_t present = look->good + look->failed;
                if (present == told)
                    return "";
                told = present;
                // An event's data is one line.
                const std::string line =
                    web::view(*look, facts).dump(-1, ' ', false, Json::error_handler_t::replace);
                return fmt::format("data: {}\n\n", line);
            }};
}

http::Response Web::policies() {
    const auto instance = this->instance();
    if (!instance)
        return refused(instance.error());
    const auto known = (*instance)->policies();
    if (!known)
        return refused(known.error());
    Json all = Json::array();
    for (const PolicyInfo &one : *known)
        if (one.unsupported.empty() &&
            std::ranges::none_of(all, [&](const Json &j) { return j["name"] == one.name; }))
            all.push_back({{"name", one.name}, {"doc", one.doc}});
    return json_response(all);
}

// A policy that is known already: a page has no business with files.
http::Response Web::use(const std::string &body) {
    const Json asked = Json::parse(body, nullptr, false);
    if (!asked.is_object() || !asked.contains("policy") || !asked["policy"].is_string())
        return wrong_body();
    const std::string policy = asked["policy"];
    if (policy.contains('/') || policy.ends_with(".o"))
        return wrong_body();
    const auto instance = this->instance();
    if (!instance)
        return refused(instance.error());
    const auto done = (*instance)->use({.policy = policy});
    if (!done)
        return refused(done.error());
    return json_response(use_json(*done, std::nullopt, false));
}

http::Response Web::set_path(const std::string &body) {
    const Json asked = Json::parse(body, nullptr, false);
    if (!asked.is_object() || !asked.contains("interface") || !asked["interface"].is_string() ||
        !asked.contains("weight") || !asked["weight"].is_number_unsigned())
        return wrong_body();
    const std::string name = asked["interface"];
    const auto [look, facts] = observer_.last();
    if (std::ranges::find(look->sample.paths, name, &PathStatus::name) == look->sample.paths.end())
        return refused({.code = ErrorCode::usage,
                        .what = fmt::format("nothing is known of an interface {}", name),
                        .hint = "attach it with 'mpsched attach'"});
    const auto instance = this->instance();
    if (!instance)
        return refused(instance.error());
    const auto done = (*instance)->path(name, {{"weight", asked["weight"].dump()}});
    if (!done)
        return refused(done.error());
    return json_response(path_json(*done));
}

http::Response Web::serve(const http::Request &request) {
    const bool reads = request.method == "GET";
    if (reads && request.path == "/")
        return page();
    if (!request.path.starts_with("/api/"))
        return http::refusal(404);
    if (is_cross_site(request))
        return http::refusal(403, "this is for the page itself");
    if (!same_secret(request.header("x-mpsched-token"), token_))
        return http::refusal(403, "the token is missing or an old one: 'mpsched web' tells it");
    if (reads && request.path == "/api/events")
        return events();
    if (reads && request.path == "/api/policies")
        return policies();
    const bool writes = request.method == "POST";
    if (!reads && !writes)
        return http::refusal(405);
    if (writes && request.header("content-type") != json_type)
        return http::refusal(400, "a change is asked for in JSON");
    if (writes && request.path == "/api/use")
        return use(request.body);
    if (writes && request.path == "/api/path")
        return set_path(request.body);
    return http::refusal(404);
}

} // namespace mps::service
