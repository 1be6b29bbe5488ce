// SPDX-License-Identifier: MIT
//
// What a caller of the library relies on, whatever it calls: turns, recovery, namespaces, kinds of errors, the log.
#include "catch.hpp"

#include <filesystem>
#include <thread>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "scratch.hpp"

using namespace mps;
using mps::test::Scratch;

TEST_CASE("two commands at once: the second waits for its turn, then says who is in the way") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    const std::string locks = scratch.bpffs() + "/mpsched/locks";
    const std::string lock = fmt::format("{}/{}", locks, mps::test::netns_cookie());
    std::filesystem::create_directories(lock);
    // Such as we make them: nobody else may open them.
    for (const std::string &path : {scratch.bpffs() + "/mpsched", locks, lock})
        REQUIRE(::chmod(path.c_str(), 0700) == 0);
    const int holder = ::open(lock.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(::flock(holder, LOCK_EX) == 0);
    const auto attached = instance.attach({.interfaces = {"v0"}});
    REQUIRE_FALSE(attached);
    CHECK(attached.error().code == ErrorCode::failed);
    CHECK(attached.error().what.find(std::to_string(::getpid())) != std::string::npos);
    // Reading needs no turn.
    CHECK(instance.status());
    ::close(holder);
    CHECK(instance.attach({.interfaces = {"v0"}}));
}

TEST_CASE("a call works in its own network namespace and leaves its thread where it was", "[loader]") {
    const Scratch scratch;
    scratch.add_veth();
    const auto inside = mps::test::netns_cookie();
    const int here = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    std::vector<std::string> lines;
    auto options = scratch.options();
    options.log = [&](std::string_view line) { lines.emplace_back(line); };
    auto instance = Instance::open(options);
    REQUIRE(instance);

    // Another thread, in another network namespace.
    std::thread([&] {
        CHECK(::unshare(CLONE_NEWNET) == 0);
        const auto outside = mps::test::netns_cookie();
        CHECK(outside != inside);
        CHECK(instance->attach({.interfaces = {"v0"}}));
        CHECK(mps::test::netns_cookie() == outside);
        const auto status = instance->status();
        CHECK((status && status->netns_cookie == inside && status->interfaces.size() == 1));
        const auto named =
            Instance::open({.netns = fmt::format("/proc/self/fd/{}", here), .bpffs = scratch.bpffs()});
        CHECK((named && named->installed()));
        const auto probed = probe({.netns = fmt::format("/proc/self/fd/{}", here)});
        CHECK((probed && probed->interfaces.size() == 3));
        CHECK_FALSE(instance->attach({.interfaces = {"nosuch0"}}));
        CHECK(mps::test::netns_cookie() == outside);
    }).join();
    ::close(here);
    CHECK(instance->detach({.all = true}));
    CHECK(mps::test::netns_cookie() == inside);
}

TEST_CASE("the log belongs to who asked for it", "[loader]") {
    const Scratch scratch;
    std::vector<std::string> one, other;
    const auto logging = [&](std::vector<std::string> &lines) {
        auto options = scratch.options();
        options.log = [&lines](std::string_view line) { lines.emplace_back(line); };
        return std::move(*Instance::open(options));
    };
    auto first = logging(one);
    auto second = logging(other);
    scratch.add_veth();
    REQUIRE(first.attach({.interfaces = {"v0"}}));
    CHECK_FALSE(one.empty());
    CHECK(other.empty());
}
