// SPDX-License-Identifier: MIT

#include "http/message.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace mps::http {

namespace {

std::string_view phrase(int status) {
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 413:
        return "Content Too Large";
    case 421:
        return "Misdirected Request";
    case 431:
        return "Request Header Fields Too Large";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

// RFC 9110, section 5.6.2.
bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               std::string_view("!#$%&'*+-.^_`|~").find(static_cast<char>(c)) != std::string_view::npos;
    });
}

bool is_printable(std::string_view text) {
    return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x20 && c != 0x7f; });
}

std::string lower(std::string_view text) {
    std::string all(text);
    std::ranges::transform(
        all, all.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return all;
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
        text.remove_suffix(1);
    return text;
}

// "GET /metrics?x HTTP/1.1"
bool read_first_line(std::string_view line, Request &request) {
    const std::size_t first = line.find(' ');
    const std::size_t second = line.rfind(' ');
    if (first == line.npos || second == first)
        return false;
    const std::string_view target = line.substr(first + 1, second - first - 1);
    const std::string_view version = line.substr(second + 1);
    if (!is_token(line.substr(0, first)) || !target.starts_with('/') ||
        target.find(' ') != std::string_view::npos || !is_printable(target) ||
        (version != "HTTP/1.1" && version != "HTTP/1.0"))
        return false;
    request.method = line.substr(0, first);
    const std::size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    request.query = mark == target.npos ? "" : target.substr(mark + 1);
    return true;
}

bool read_header(std::string_view line, Request &request) {
    const std::size_t colon = line.find(':');
    if (colon == line.npos || !is_token(line.substr(0, colon)))
        return false;
    const std::string_view value = trimmed(line.substr(colon + 1));
    std::string printable(value);
    std::ranges::replace(printable, '\t', ' ');
    return is_printable(printable) && request.headers.emplace(lower(line.substr(0, colon)), printable).second;
}

std::optional<std::size_t> body_length(const Request &request) {
    const std::string &text = request.header("content-length");
    if (text.empty())
        return 0;
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error == std::errc::result_out_of_range)
        return most_body_bytes + 1;
    if (error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return length;
}

} // namespace

const std::string &Request::header(const std::string &name) const {
    static const std::string none;
    const auto found = headers.find(name);
    return found == headers.end() ? none : found->second;
}

Reading read_request(std::string_view received) {
    const auto refuse = [](int status) {
        return Reading{.state = Reading::State::refused, .status = status};
    };
    const std::size_t end = received.find("\r\n\r\n");
    if (end == received.npos)
        return received.size() > most_head_bytes ? refuse(431) : Reading{};
    if (end > most_head_bytes)
        return refuse(431);
    Reading reading;
    std::string_view head = received.substr(0, end);
    for (bool first = true; !head.empty(); first = false) {
        const std::size_t stop = std::min(head.find("\r\n"), head.size());
        const std::string_view line = head.substr(0, stop);
        if (!(first ? read_first_line(line, reading.request) : read_header(line, reading.request)))
            return refuse(400);
        head.remove_prefix(std::min(stop + 2, head.size()));
    }
    if (reading.request.method.empty())
        return refuse(400);
    if (!reading.request.header("transfer-encoding").empty())
        return refuse(501);
    const auto length = body_length(reading.request);
    if (!length)
        return refuse(400);
    if (*length > most_body_bytes)
        return refuse(413);
    const std::string_view body = received.substr(end + 4);
    if (body.size() < *length)
        return reading;
    reading.request.body = body.substr(0, *length);
    reading.state = Reading::State::whole;
    return reading;
}

std::string write_response(const Response &response, bool head) {
    std::string text = fmt::format("HTTP/1.1 {} {}\r\nContent-Type: {}\r\n", response.status,
                                   phrase(response.status), response.type);
    if (!response.more)
        text += fmt::format("Content-Length: {}\r\n", response.body.size());
    for (const auto &[name, value] : response.headers)
        text += fmt::format("{}: {}\r\n", name, value);
    text += "Connection: close\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\r\n";
    return head ? text : text + response.body;
}

Response refusal(int status, std::string why) {
    return {.status = status, .body = (why.empty() ? std::string(phrase(status)) : std::move(why)) + "\n"};
}

} // namespace mps::http
