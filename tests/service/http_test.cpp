// SPDX-License-Identifier: MIT

#include <string>

#include "catch.hpp"
#include "http/address.hpp"
#include "http/message.hpp"

using namespace mps::http;

namespace {

using State = Reading::State;

Reading read(const std::string &text) { return read_request(text); }

int refused(const std::string &text) {
    const Reading reading = read(text);
    return reading.state == State::refused ? reading.status : 0;
}

} // namespace

TEST_CASE("a request is read when all of it is there, however it comes", "[http]") {
    const std::string whole = "POST /api/use?x=1&y HTTP/1.1\r\nHost: localhost:80\r\nX-Empty:\r\n"
                              "Content-Length: 5\r\n\r\nhello";
    for (std::size_t i = 0; i < whole.size(); i++)
        CHECK(read(whole.substr(0, i)).state == State::more);
    const Reading reading = read(whole);
    REQUIRE(reading.state == State::whole);
    CHECK(reading.request.method == "POST");
    CHECK(reading.request.path == "/api/use");
    CHECK(reading.request.query == "x=1&y");
    CHECK(reading.request.header("host") == "localhost:80");
    CHECK(reading.request.header("x-empty").empty());
    CHECK(reading.request.body == "hello");
    CHECK(read("GET / HTTP/1.0\r\n\r\n").state == State::whole);
}

TEST_CASE("a request that two readers could take in two ways is refused", "[http]") {
    CHECK(refused("\r\n\r\n") == 400);
    CHECK(refused("GET\r\n\r\n") == 400);
    CHECK(refused("GET /\r\n\r\n") == 400);
    CHECK(refused("GET / HTTP/2\r\n\r\n") == 400);
    CHECK(refused("GET http://localhost/ HTTP/1.1\r\n\r\n") == 400);
    CHECK(refused("GET /a b HTTP/1.1\r\n\r\n") == 400);
    CHECK(refused("GET /\x01 HTTP/1.1\r\n\r\n") == 400);
    CHECK(refused("G(T / HTTP/1.1\r\n\r\n") == 400);
    CHECK(refused("GET / HTTP/1.1\r\nHost : localhost\r\n\r\n") == 400);
    CHECK(refused("GET / HTTP/1.1\r\nA: b\r\n continued\r\n\r\n") == 400);
    CHECK(refused("GET / HTTP/1.1\r\nHost: localhost\r\nhost: evil.example\r\n\r\n") == 400);
    CHECK(refused("GET / HTTP/1.1\r\nA: b\rHost: localhost\r\n\r\n") == 400);
    CHECK(refused("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx") == 400);
    CHECK(refused("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n") == 400);
    CHECK(refused("POST / HTTP/1.1\r\nContent-Length: 1x\r\n\r\nx") == 400);
    CHECK(refused("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == 501);
}

TEST_CASE("a request that is too large is refused before all of it has come", "[http]") {
    CHECK(refused("GET / HTTP/1.1\r\n" + std::string(most_head_bytes, 'a')) == 431);
    CHECK(refused("GET / HTTP/1.1\r\nA: " + std::string(most_head_bytes, 'a') + "\r\n\r\n") == 431);
    CHECK(refused("POST / HTTP/1.1\r\nContent-Length: 4097\r\n\r\n") == 413);
    CHECK(refused("POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n") == 413);
}

TEST_CASE("an answer says its length, and HEAD has no body", "[http]") {
    const std::string text = write_response({.body = "abc"});
    CHECK(text.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(text.contains("\r\nContent-Length: 3\r\n"));
    CHECK(text.ends_with("\r\n\r\nabc"));
    const std::string head = write_response({.body = "abc"}, true);
    CHECK(head.contains("\r\nContent-Length: 3\r\n"));
    CHECK(head.ends_with("\r\n\r\n"));
    CHECK(write_response(refusal(421)).starts_with("HTTP/1.1 421 Misdirected Request\r\n"));
}

TEST_CASE("an address to listen at is numeric and has a port, and loopback is told from the rest", "[http]") {
    for (const char *good :
         {"127.0.0.1:9464", "127.1.2.3:1", "[::1]:65535", "0.0.0.0:80", "[2001:db8::1]:80"}) {
        INFO(good);
        const auto address = parse_address(good);
        REQUIRE(address);
        CHECK(address->text() == good);
        CHECK(address->loopback == (address->host.starts_with("127.") || address->host == "::1"));
    }
    CHECK(parse_address("[0:0::1]:5")->text() == "[::1]:5");
    for (const char *bad : {"", ":", "9464", ":9464", "localhost:9464", "127.0.0.1", "127.0.0.1:",
                            "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:80 ", "127.1:80", "::1:80", "[::1]",
                            "[127.0.0.1]:80", "[::1:80", "[fe80::1%eth0]:80", "127.0.0.1:+80"}) {
        INFO(bad);
        const auto address = parse_address(bad);
        REQUIRE_FALSE(address);
        CHECK(address.error().kind == mps::ErrorKind::usage);
    }
}

TEST_CASE("only loopback's own names are taken for the host of a request", "[http]") {
    for (const char *good :
         {"localhost", "LocalHost:9464", "127.0.0.1", "127.0.0.1:80", "127.9.9.9:1", "[::1]", "[::1]:80"}) {
        INFO(good);
        CHECK(names_loopback(good));
    }
    for (const char *bad :
         {"", "evil.example", "localhost.evil.example", "localhost.", "127.0.0.1.evil.example",
          "127.0.0.1:80:80", "localhost:", "localhost:0", "localhost:x", "192.0.2.1", "[::1", "[::1]x",
          "[::2]:80", "::1", "127.1", "0.0.0.0", " localhost"}) {
        INFO(bad);
        CHECK_FALSE(names_loopback(bad));
    }
}
