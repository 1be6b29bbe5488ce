// SPDX-License-Identifier: MIT
#include <cerrno>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "base/child.hpp"
#include "base/errno.hpp"
#include "base/fd.hpp"
#include "base/files.hpp"
#include "base/numbers.hpp"
#include "catch.hpp"

using namespace mps;
using namespace std::chrono_literals;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

std::string all_of(const Fd &from) {
    std::string text;
    char piece[256];
    for (ssize_t got = 0; (got = ::read(from.get(), piece, sizeof piece)) > 0;)
        text.append(piece, static_cast<std::size_t>(got));
    return text;
}

} // namespace

TEST_CASE("a descriptor is closed once, by its last owner", "[base]") {
    auto pipe = make_pipe();
    REQUIRE(pipe);
    const int number = pipe->read.get();
    {
        Fd other(std::move(pipe->read));
        CHECK_FALSE(pipe->read);
        CHECK(other.get() == number);
        other = Fd::duplicate(number);
        CHECK(other.get() != number);
        CHECK_FALSE(is_open(number));
    }
    Fd write(std::move(pipe->write));
    const int kept = write.release();
    CHECK_FALSE(write);
    CHECK(is_open(kept));
    ::close(kept);
}

TEST_CASE("a program gets its words, its environment and its descriptors, and its end is told", "[base]") {
    auto pipe = make_pipe();
    REQUIRE(pipe);
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    auto child = Child::start({.words = {"sh", "-c", "echo \"$BASE_TEST $1\"; exit 7", "sh", "a b"},
                               .in = null.get(),
                               .out = pipe->write.get(),
                               .environment = {"BASE_TEST=x"}});
    REQUIRE(child);
    pipe->write.reset();
    CHECK(all_of(pipe->read) == "x a b\n");
    CHECK(child->wait().exit_code == 7);
    CHECK(child->wait().exit_code == 7);
    CHECK_FALSE(child->signal(SIGTERM));
}

TEST_CASE("descriptors that are each other's numbers arrive where they are meant to", "[base]") {
    auto out = make_pipe(), err = make_pipe();
    REQUIRE((out && err));
    auto child = Child::fork([&] {
        // Standard output and error change places.
        ::dup2(out->write.get(), STDERR_FILENO);
        ::dup2(err->write.get(), STDOUT_FILENO);
        auto swapped = Child::start(
            {.words = {"sh", "-c", "echo out; echo err >&2"}, .out = STDERR_FILENO, .err = STDOUT_FILENO});
        return swapped ? swapped->wait().exit_code : 99;
    });
    REQUIRE(child);
    CHECK(child->wait().exit_code == 0);
    out->write.reset();
    err->write.reset();
    CHECK(all_of(out->read) == "out\n");
    CHECK(all_of(err->read) == "err\n");
}

TEST_CASE("a program may have closed descriptors", "[base]") {
    auto child =
        Child::start({.words = {"sh", "-c", "test ! -e /proc/self/fd/1 && test ! -e /proc/self/fd/0"},
                      .in = -1,
                      .out = -1});
    REQUIRE(child);
    // test(1) is built in, and /proc/self is the shell.
    CHECK(child->wait().exit_code == 0);
}

TEST_CASE("a program that cannot be started is told with the step and its error", "[base]") {
    const auto absent = Child::start({.words = {"no-such-program-anywhere"}});
    REQUIRE_FALSE(absent);
    CHECK(absent.error().step == NotStarted::Step::program);
    CHECK(absent.error().err == ENOENT);
    const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    const auto outside = Child::start({.words = {"true"}, .netns_fd = null.get()});
    REQUIRE_FALSE(outside);
    CHECK(outside.error().step == NotStarted::Step::netns);
    CHECK_FALSE(Child::start({}));
}

TEST_CASE("a child that lives on is waited for no longer than was asked, and goes with its owner", "[base]") {
    auto pipe = make_pipe();
    REQUIRE(pipe);
    {
        auto child = Child::start(
            {.words = {"sh", "-c", "sleep 600 & wait"}, .out = pipe->write.get(), .own_group = true});
        REQUIRE(child);
        pipe->write.reset();
        CHECK_FALSE(child->wait(20ms));
        Child moved = std::move(*child);
        CHECK(child->pid() == -1);
        CHECK_FALSE(moved.wait(0ms));
    }
    // Also what it had started holds its output no longer.
    CHECK(all_of(pipe->read).empty());
    auto ended = Child::start({.words = {"sh", "-c", "kill -TERM $$"}});
    REQUIRE(ended);
    CHECK(ended->wait().signal == SIGTERM);
}

TEST_CASE("a file is read whole, and what cannot be read is told", "[base]") {
    auto folder = TemporaryFolder::make("base-test");
    REQUIRE(folder);
    const std::string path = folder->path("file");
    const std::string contents(100'000, '\0');
    std::ofstream(path, std::ios::binary) << contents;
    CHECK(read_file(path) == contents);
    CHECK_FALSE(read_file("/proc/self/status")->empty());
    CHECK(read_file(folder->path("absent")).error() == ENOENT);
    CHECK(read_file(folder->path()).error() == EISDIR);
    const std::filesystem::path where = folder->path();
    {
        const TemporaryFolder gone = std::move(*folder);
    }
    CHECK_FALSE(std::filesystem::exists(where));
}

TEST_CASE("a number is a whole text in the range of its type", "[base]") {
    CHECK(parse_number<std::uint16_t>("65535") == 65535);
    for (const char *wrong : {"", " 1", "1 ", "-1", "65536", "0x10", "1.5"})
        CHECK_FALSE(parse_number<std::uint16_t>(wrong));
    CHECK(parse_number<int>("-5") == -5);
    CHECK(parse_unsigned("0xff") == 255);
    CHECK_FALSE(parse_unsigned("0x"));
}

TEST_CASE("errors have the kernel's names", "[base]") {
    CHECK(errno_name(-EPIPE) == "EPIPE");
    CHECK(errno_name(524) == "ENOTSUPP");
    CHECK(errno_name(4001) == "errno 4001");
    CHECK(errno_words(4001).empty());
}
