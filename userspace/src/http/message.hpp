// SPDX-License-Identifier: MIT
//
// As much of HTTP/1.1 (RFC 9112) as the service's own servers need: one request for each connection, short, and whole or refused.
// Pure. A request that asks for more (chunks, continued lines, a second length) is refused, so that there is nothing that two
// readers could take in two ways.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mps::http {

// With the line of the request. What sends more is not who we serve.
inline constexpr std::size_t most_head_bytes = 8192;
inline constexpr std::size_t most_body_bytes = 4096;

struct Request {
    std::string method{};
    std::string path{};                           // without the query
    std::string query{};                          // behind '?'
    std::map<std::string, std::string> headers{}; // names in small letters; none twice
    std::string body{};

    // "" if it is not there.
    [[nodiscard]] const std::string &header(const std::string &name) const;
};

struct Response {
    int status = 200;
    std::string type = "text/plain; charset=utf-8";
    std::string body{};
    std::vector<std::pair<std::string, std::string>> headers{};
    // Of one that goes on until the client leaves: asked again and again for what is new, which may be nothing.
    std::function<std::string()> more{};
};

struct Reading {
    enum class State { more, whole, refused };
    State state = State::more;
    int status = 0; // of one that is refused
    Request request{};
};

// What has come so far.
[[nodiscard]] Reading read_request(std::string_view received);
// `head`: only what precedes the body.
[[nodiscard]] std::string write_response(const Response &response, bool head = false);
// A few words for people, as the body.
[[nodiscard]] Response refusal(int status, std::string why = {});

} // namespace mps::http
