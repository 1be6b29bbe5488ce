// SPDX-License-Identifier: MIT
//
// A transfer that calls damaged contents right would hide what this project must never do.
#include <array>
#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "base/fd.hpp"

#include "must.hpp"
#include "traffic/frames.hpp"

#include <sys/socket.h>

using mps::Fd;
using namespace mps::lab;
using mps::lab::test::must;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t seed = 7;
constexpr std::uint64_t size = 200'000;

// Sends `size` bytes through one socket pair, and on through another with `damage` applied to the whole stream.
Result<traffic::Received> through(const std::function<void(std::vector<std::uint8_t> &)> &damage) {
    const std::atomic<bool> never{false};
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, in.data()) == 0);
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, out.data()) == 0);
    const Fd source(in[0]);
    const Fd tapped(in[1]);
    Fd damaged(out[0]);
    const Fd sink(out[1]);
    std::thread sender([&] {
        traffic::Stream stream(source.get(), 5s, never);
        std::atomic<std::uint64_t> progress{0};
        (void)traffic::send_contents(stream, seed, true, size, [] { return false; }, progress);
        ::shutdown(source.get(), SHUT_WR);
    });
    std::vector<std::uint8_t> all;
    std::array<std::uint8_t, 4096> some{};
    for (ssize_t n = 0; (n = ::recv(tapped.get(), some.data(), some.size(), 0)) > 0;) {
        all.insert(all.end(), some.begin(), some.begin() + n);
    }
    sender.join();
    damage(all);
    std::thread forwarder([&] {
        traffic::Stream stream(damaged.get(), 5s, never);
        (void)stream.send(all);
        damaged.reset();
    });
    traffic::Stream stream(sink.get(), 5s, never);
    std::atomic<std::uint64_t> progress{0};
    auto received = traffic::receive_contents(stream, seed, true, progress);
    forwarder.join();
    return received;
}

} // namespace

TEST_CASE("contents that arrive as they were sent are verified", "[lab][wire]") {
    const auto received = must(through([](auto &) {}));
    CHECK(received.bytes == size);
    CHECK(received.complete);
    CHECK(received.verified);
    CHECK(received.wrong_bytes == 0);
}

TEST_CASE("one wrong byte is found and its place is told", "[lab][wire]") {
    // The second frame's contents begin 2 * 4 bytes of frame headers further on.
    const auto received = must(through([](auto &all) { all.at(100'000 + 8) ^= 1; }));
    CHECK(received.complete);
    CHECK_FALSE(received.verified);
    CHECK(received.wrong_bytes == 1);
    CHECK(received.first_wrong == 100'000);
}

TEST_CASE("a wrong digest is not a wrong byte", "[lab][wire]") {
    const auto received = must(through([](auto &all) { all.back() ^= 1; }));
    CHECK(received.complete);
    CHECK_FALSE(received.verified);
    CHECK(received.wrong_bytes == 0);
}

TEST_CASE("a stream that lost a byte does not verify", "[lab][wire]") {
    const auto received = through([](auto &all) { all.erase(all.begin() + 70'000); });
    if (received) {
        CHECK_FALSE(received->verified);
    } else {
        CHECK_FALSE(received.error().what.empty());
    }
}
