// SPDX-License-Identifier: MIT
//
// The socket options of applications: what is taken, what is refused and how, who may say what about which socket. What they change
// on the wire is in traffic_app.cpp.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "app_sockets.hpp"
#include "base/child.hpp"
#include "cgroup.hpp"

#include <net/if.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

using mps::Child;
using mps::Ending;
using mps::Fd;
using namespace mps::lab;
using namespace mps::e2e;

namespace {

constexpr unsigned nobody = 65534;
constexpr int set_options[] = {MPSCHED_POLICY, MPSCHED_AVOID,    MPSCHED_COST_LIMIT,
                               MPSCHED_PREFER, MPSCHED_DEADLINE, MPSCHED_SIZE};
constexpr int get_options[] = {MPSCHED_INFO, MPSCHED_STATE, MPSCHED_SUBFLOWS};

std::size_t size_of(int option) {
    switch (option) {
    case MPSCHED_POLICY:
        return sizeof(mpsched_policy);
    case MPSCHED_AVOID:
        return sizeof(mpsched_avoid);
    case MPSCHED_INFO:
        return sizeof(mpsched_info);
    case MPSCHED_STATE:
        return sizeof(mpsched_state);
    case MPSCHED_SUBFLOWS:
        return offsetof(mpsched_subflows, subflow);
    default:
        return sizeof(mpsched_number);
    }
}

int get_option(int fd, int option, void *value, socklen_t &length) {
    return ::getsockopt(fd, MPSCHED_SOL_MPTCP, option, value, &length) ? errno : 0;
}
int get_option(int fd, int option) {
    std::vector<char> room(4096);
    socklen_t length = 4096;
    return get_option(fd, option, room.data(), length);
}

struct Scene {
    Network network = must(Network::create({.paths = {{.name = "dsl"}, {.name = "lte"}}}));
    Attachment attachment{network.a(), network.devices()};
    Cli mpsched{network.a()};
    Cgroup group;

    Scene() {
        REQUIRE(group.enter());
        mpsched("use default");
    }
    void allow(const std::string &what = "--allow-policy weighted --allow-policy smallest-delay") const {
        mpsched(fmt::format("app attach --cgroup {} {}", group.path(), what));
    }
    Fd socket() const { return make_socket(network.a(), IPPROTO_MPTCP); }
    unsigned index(const std::string &device) const {
        return must(network.a().run([&] { return ::if_nametoindex(device.c_str()); }));
    }
};

/// What the kernel answers without us.
void check_refused(int fd) {
    for (const int option : set_options) {
        std::vector<char> value(size_of(option), 0);
        CHECK(set_option(fd, option, value.data(), value.size()) == ENOPROTOOPT);
    }
    for (const int option : get_options)
        CHECK(get_option(fd, option) == EOPNOTSUPP);
}

/// A good value at every length and place that there is.
void check_lengths(int fd, int option) {
    INFO("option " << option);
    const std::size_t size = size_of(option);
    std::vector<char> value(8192, 0);
    value[0] = option == MPSCHED_DEADLINE; // 0 is none
    CHECK(set_option(fd, option, value.data(), size) == 0);
    for (const std::size_t tooShort : {size_t{0}, size_t{1}, size - 1})
        CHECK(set_option(fd, option, value.data(), tooShort) == EINVAL);
    CHECK(set_option(fd, option, value.data(), size + 1) == 0);
    CHECK(set_option(fd, option, value.data(), 4096) == 0);
    CHECK(set_option(fd, option, value.data(), 4097) == E2BIG);
    for (const std::size_t at : {size, size + 7, size_t{4095}}) {
        value[at] = 1;
        CHECK(set_option(fd, option, value.data(), 4096) == E2BIG);
        CHECK(set_option(fd, option, value.data(), at) == 0);
        value[at] = 0;
    }
    std::ranges::copy_n(value.begin(), static_cast<std::ptrdiff_t>(size), value.begin() + 4099);
    CHECK(set_option(fd, option, value.data() + 4099, size) == 0); // misaligned
    CHECK(::setsockopt(fd, MPSCHED_SOL_MPTCP, option, value.data(), static_cast<socklen_t>(-1)) == -1);
    CHECK(::setsockopt(fd, MPSCHED_SOL_MPTCP, option, value.data(), 0x7fffffff) == -1);
    CHECK(set_option(fd, option, nullptr, size) == EFAULT);
    CHECK(set_option(fd, option, reinterpret_cast<void *>(0xffff888000000000ull), size) == EFAULT);
    // The last octets of a page before one that is not there.
    void *pages = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    std::memcpy(static_cast<char *>(pages) + 4096 - size, value.data(), size);
    REQUIRE(::mprotect(static_cast<char *>(pages) + 4096, 4096, PROT_NONE) == 0);
    CHECK(set_option(fd, option, static_cast<char *>(pages) + 4096 - size, size) == 0);
    CHECK(set_option(fd, option, static_cast<char *>(pages) + 4096 - size + 1, size) == EFAULT);
    ::munmap(pages, 8192);
}

} // namespace

TEST_CASE("without a grant, outside its cgroup and its namespace the kernel answers as ever", "[e2e][app]") {
    Scene scene;
    const Fd before = scene.socket();
    check_refused(before.get());
    scene.allow();
    CHECK(set_policy(before.get(), "weighted") == 0); // by the socket's cgroup, not by its age
    const Fd elsewhere = make_socket(scene.network.b(), IPPROTO_MPTCP);
    check_refused(elsewhere.get());
    REQUIRE(scene.group.leave());
    const Fd outside = scene.socket();
    check_refused(outside.get());
    REQUIRE(scene.group.enter());
    // Plain TCP, which has no such level; and numbers beside ours.
    const Fd tcp = make_socket(scene.network.a(), IPPROTO_TCP);
    CHECK(set_policy(tcp.get(), "weighted") == ENOPROTOOPT);
    const Fd ours = scene.socket();
    char value[64] = {};
    for (const int option : {0x4d07, 0x4dff, 0x4e00, 0x4cff, 0x4d10})
        CHECK(set_option(ours.get(), option, value, sizeof value) == ENOPROTOOPT);
    for (const int option : {0x4d01, 0x4dff, 0x4e00})
        CHECK(get_option(ours.get(), option) == EOPNOTSUPP);
    // The kernel's own options of this level, and others, are as they were.
    int one = 1;
    socklen_t length = sizeof one;
    CHECK(::setsockopt(ours.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &one, sizeof one) == 0);
    CHECK(::getsockopt(ours.get(), IPPROTO_TCP, 1, &one, &length) == 0);
    CHECK(one == 1);
    scene.mpsched("app detach --all");
    check_refused(ours.get());
}

TEST_CASE("values of every length and kind are taken or refused by the rules of the header", "[e2e][app]") {
    Scene scene;
    scene.mpsched("path lte cost=3");
    scene.allow("--allow-policy weighted --max-cost 5");
    const Fd fd = scene.socket();
    for (const int option : set_options)
        check_lengths(fd.get(), option);
    // Of the others zero is the way back.
    CHECK(state_of(fd.get()).flags == (MPSCHED_HAS_COST_LIMIT | MPSCHED_HAS_DEADLINE | MPSCHED_HAS_SIZE));
    CHECK(set_number(fd.get(), MPSCHED_DEADLINE, 0) == EINVAL);
    CHECK(set_number(fd.get(), MPSCHED_DEADLINE, MPSCHED_MAX_DEADLINE + 1) == EINVAL);
    CHECK(set_number(fd.get(), MPSCHED_DEADLINE, MPSCHED_MAX_DEADLINE) == 0);
    CHECK(set_number(fd.get(), MPSCHED_SIZE, 1ull << 40) == 0);
    CHECK(state_of(fd.get()).deadline_us == MPSCHED_MAX_DEADLINE);
    CHECK(state_of(fd.get()).size == 1ull << 40);
    CHECK(set_number(fd.get(), MPSCHED_DEADLINE, MPSCHED_NONE) == 0);
    CHECK(set_number(fd.get(), MPSCHED_SIZE, MPSCHED_NONE) == 0);
    CHECK(set_number(fd.get(), MPSCHED_COST_LIMIT, MPSCHED_NONE) == 0);
    CHECK(set_policy(fd.get(), "smallest-delay") == ENOENT);
    CHECK(set_policy(fd.get(), "weighte") == ENOENT);
    CHECK(set_policy(fd.get(), "weightedd") == ENOENT);
    CHECK(set_policy(fd.get(), "weighted", 3) == EINVAL);
    mpsched_policy endless{};
    std::memset(endless.name, 'w', sizeof endless.name);
    CHECK(set_option(fd.get(), MPSCHED_POLICY, &endless, sizeof endless) == ENOENT);
    mpsched_policy reserved{.direction = 0, .reserved = 1, .name = "weighted"};
    CHECK(set_option(fd.get(), MPSCHED_POLICY, &reserved, sizeof reserved) == EINVAL);
    CHECK(set_number(fd.get(), MPSCHED_COST_LIMIT, 5) == 0);
    CHECK(set_number(fd.get(), MPSCHED_COST_LIMIT, 6) == EPERM);
    CHECK(set_number(fd.get(), MPSCHED_COST_LIMIT, 1ull << 32) == EINVAL);
    CHECK(state_of(fd.get()).cost_limit == 5);
    CHECK(set_number(fd.get(), MPSCHED_COST_LIMIT, MPSCHED_NONE) == 0);
    CHECK(set_number(fd.get(), MPSCHED_PREFER, 5) == EINVAL);
    CHECK(set_number(fd.get(), MPSCHED_PREFER, MPSCHED_PREFER_ENERGY) == ENOENT);
    CHECK(avoid(fd.get(), {1}) == ENODEV); // the loopback
    CHECK(avoid(fd.get(), {scene.index("lte"), 4000000}) == ENODEV);
    mpsched_avoid many{.count = 8, .ifindex = {}};
    CHECK(set_option(fd.get(), MPSCHED_AVOID, &many, sizeof many) == EINVAL);
    CHECK(state_of(fd.get()).flags == 0); // what was refused has changed nothing
}

TEST_CASE("answers have as much as there is room for, and nothing behind it", "[e2e][app]") {
    Scene scene;
    scene.allow();
    const Fd fd = scene.socket();
    for (const int option : get_options) {
        INFO("option " << option);
        const std::size_t size = size_of(option);
        std::vector<char> room(8192, '#');
        for (const std::size_t tooShort : {size_t{0}, size_t{1}, size - 1}) {
            auto length = static_cast<socklen_t>(tooShort);
            CHECK(get_option(fd.get(), option, room.data(), length) == EINVAL);
        }
        for (const std::size_t enough : {size, size + 1, size_t{4096}, size_t{8192}}) {
            auto length = static_cast<socklen_t>(enough);
            CHECK(get_option(fd.get(), option, room.data() + 1, length) == 0);
            // 6.1 has the first subflow before connect().
            const std::size_t with_first =
                option == MPSCHED_SUBFLOWS && enough >= size + sizeof(mpsched_subflow)
                    ? sizeof(mpsched_subflow)
                    : 0;
            CHECK((length == size || length == size + with_first));
            CHECK(room[length + 1] == '#');
        }
        socklen_t length = 4096;
        // Newer kernels take this for a question about the length.
        const int nowhere = get_option(fd.get(), option, nullptr, length);
        CHECK((nowhere == EFAULT || nowhere == 0));
        CHECK(get_option(fd.get(), option, reinterpret_cast<void *>(0xffff888000000000ull), length) ==
              EFAULT);
        CHECK(::getsockopt(fd.get(), MPSCHED_SOL_MPTCP, option, room.data(), nullptr) == -1);
    }
    mpsched_info info{};
    socklen_t length = sizeof info;
    REQUIRE(get_option(fd.get(), MPSCHED_INFO, &info, length) == 0);
    CHECK(info.version == MPSCHED_API_VERSION);
    CHECK(info.nr_policies == 2);
    CHECK(info.max_cost == 0xffffffff);
    CHECK(std::string(info.policy[0]) == "weighted");
    CHECK(std::string(info.policy[1]) == "smallest-delay");
}

TEST_CASE("any user may choose for his own sockets, and what one chooses is of no other socket",
          "[e2e][app]") {
    Scene scene;
    scene.allow();
    const Fd mine = scene.socket();
    CHECK(set_policy(mine.get(), "weighted") == 0);
    auto child = Child::fork([&] {
        // Without any right left.
        if (::setgid(nobody) || ::setuid(nobody))
            return 2;
        return set_policy(mine.get(), "smallest-delay") == 0 && set_policy(mine.get(), "ecf") == ENOENT ? 0
                                                                                                        : 1;
    });
    REQUIRE(child);
    CHECK(child->wait().exit_code == 0);
    CHECK(std::string(state_of(mine.get()).policy) == "smallest-delay");
    // Sockets that come after it, also in its very memory, have chosen nothing.
    for (int i = 0; i < 50; i++) {
        {
            const Fd gone = scene.socket();
            REQUIRE(set_policy(gone.get(), "weighted") == 0);
        }
        const Fd next = scene.socket();
        REQUIRE(state_of(next.get()).flags == 0);
    }
}

/// In a process of its own, as a container has it: its cgroup is the root of what it sees. 0, or where it failed.
static int in_container(const Scene &scene, const std::function<int()> &what) {
    const std::string root = scene.group.path().substr(0, scene.group.path().rfind('/'));
    auto child = Child::fork([&] {
        const bool fails =
            ::setns(scene.network.a().fd(), CLONE_NEWNET) || ::unshare(CLONE_NEWCGROUP | CLONE_NEWNS) ||
            ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) ||
            ::umount2(root.c_str(), MNT_DETACH) || ::mount("none", root.c_str(), "cgroup2", 0, nullptr);
        return fails ? 100 : what();
    });
    REQUIRE(child);
    const Ending ending = child->wait();
    return ending.signal ? 101 : ending.exit_code;
}

TEST_CASE("a container with a cgroup namespace and a mount of its own chooses as its cgroup may",
          "[e2e][app]") {
    const Scene scene;
    scene.allow();
    const auto chosen = [](const char *policy) {
        const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
        return set_policy(fd.get(), policy);
    };
    const auto cgroup_is = [](std::string_view wanted) {
        std::ifstream file("/proc/self/cgroup");
        const std::string text((std::istreambuf_iterator<char>(file)), {});
        return text.contains(fmt::format("0::{}\n", wanted));
    };
    const std::string inner = scene.group.path() + "/inner";
    const std::string root = scene.group.path().substr(0, scene.group.path().rfind('/'));
    CHECK(in_container(scene, [&] {
              if (!cgroup_is("/"))
                  return 1;
              if (chosen("weighted") != 0 || chosen("ecf") != ENOENT)
                  return 2;
              // Also where the container has cgroups below.
              if (::mkdir((root + "/inner").c_str(), 0755))
                  return 3;
              std::ofstream(root + "/inner/cgroup.procs") << "0" << std::flush;
              if (!cgroup_is("/inner"))
                  return 4;
              return chosen("smallest-delay") == 0 ? 0 : 5;
          }) == 0);
    CHECK(::rmdir(inner.c_str()) == 0);
    // One that was granted nothing has nothing, whatever its cgroup is called inside.
    scene.mpsched("app detach --all");
    CHECK(in_container(scene, [&] { return cgroup_is("/") && chosen("weighted") == ENOPROTOOPT ? 0 : 1; }) ==
          0);

    // What the container calls "/" is its own cgroup, for commands as well: nobody else gets anything by it.
    CHECK(in_container(scene, [&] {
              const auto done = scene.mpsched.try_run("app attach --cgroup / --allow-policy ecf");
              return done.exit_code == 0 && chosen("ecf") == 0 ? 0 : 1;
          }) == 0);
    const Json list = scene.mpsched.json("app list");
    REQUIRE(list.size() == 1);
    // It is listed by the name that it has inside, and as none that is called so here.
    CHECK(list[0]["cgroup"] == "/");
    CHECK(list[0].contains("problem"));
    REQUIRE(scene.group.leave());
    CHECK(set_policy(scene.socket().get(), "ecf") == ENOPROTOOPT);
    REQUIRE(scene.group.enter());
}

TEST_CASE("a policy that may be chosen stays loaded, and one that no longer may counts no more",
          "[e2e][app]") {
    Scene scene;
    scene.mpsched("policy load weighted");
    scene.allow();
    const Fd fd = scene.socket();
    CHECK(set_policy(fd.get(), "weighted") == 0);
    const auto refused = scene.mpsched.try_run("policy unload weighted");
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("may choose it") != std::string::npos);
    // Taken off, the others keep their places.
    scene.allow("--allow-policy smallest-delay --allow-policy ecf");
    scene.mpsched("policy unload weighted");
    CHECK(std::string(state_of(fd.get()).policy).empty());
    CHECK(set_policy(fd.get(), "weighted") == ENOENT);
    CHECK(set_policy(fd.get(), "ecf") == 0);
    scene.allow("--allow-policy ecf");
    CHECK(std::string(state_of(fd.get()).policy) == "ecf");
    // Another grant: what was chosen under the first is not meant.
    scene.mpsched("app detach --all");
    scene.allow("--allow-policy smallest-delay");
    CHECK(state_of(fd.get()).flags == 0);
    const Json list = scene.mpsched.json("app list");
    REQUIRE(list.size() == 1);
    CHECK(list[0]["policies"] == Json{"smallest-delay"});
    CHECK(list[0]["cgroup"] == "/" + scene.group.name());
}

TEST_CASE("an application sees its subflows with the attributes of their interfaces, what is left and why",
          "[e2e][app]") {
    Scene scene;
    scene.mpsched("path lte cost=3 energy=lte quota=10M priority=2 weight=4");
    scene.mpsched("path dsl energy=wifi");
    scene.allow("--allow-policy active-standby");
    const Listener listener(scene.network);
    const Pair pair(scene.socket(), listener);
    CHECK(set_policy(pair.client.get(), "active-standby") == 0);
    {
        const Flow flow(pair.client.get(), pair.accepted.get());
        CHECK(wait_until([&] { return (state_of(pair.client.get()).flags & MPSCHED_IN_FORCE) != 0; }, 5s) >=
              0);
    }
    const auto all = subflows_of(pair.client.get());
    REQUIRE(all.size() == 2);
    const auto &dsl = std::string(all[0].ifname) == "dsl" ? all[0] : all[1];
    const auto &lte = &dsl == &all[0] ? all[1] : all[0];
    CHECK(std::string(lte.ifname) == "lte");
    CHECK(lte.ifindex == scene.index("lte"));
    CHECK(lte.energy == MPSCHED_ENERGY_LTE);
    CHECK(lte.cost == 3);
    CHECK(lte.priority == 2);
    CHECK(lte.weight == 4);
    CHECK(lte.flags & MPSCHED_SF_QUOTA);
    CHECK((lte.quota_left_bytes > 0 && lte.quota_left_bytes <= 10'000'000));
    CHECK_FALSE(lte.flags & MPSCHED_SF_ALLOWED);
    CHECK(lte.flags & MPSCHED_SF_REASON);
    CHECK(lte.reason == 8); // MPS_REASON_PRIORITY
    CHECK(dsl.energy == MPSCHED_ENERGY_WIFI);
    CHECK(dsl.flags & MPSCHED_SF_ALLOWED);
    CHECK(dsl.flags & MPSCHED_SF_STEERED);
    CHECK(dsl.bytes_acked > 20000);
    CHECK(dsl.srtt_us > 0);
    // The kernel's own counters say the same.
    const auto sample = must(sample_connection(pair.client.get()));
    CHECK(sample.token == state_of(pair.client.get()).token);
    for (const auto &subflow : sample.subflows)
        if (subflow.id == dsl.id)
            CHECK(subflow.bytes_acked >= dsl.bytes_acked);
    // One entry's room for two.
    mpsched_subflows some{};
    socklen_t length = offsetof(mpsched_subflows, subflow) + sizeof(mpsched_subflow);
    REQUIRE(get_option(pair.client.get(), MPSCHED_SUBFLOWS, &some, length) == 0);
    CHECK(some.count == 2);
    CHECK(some.filled == 1);
}

/// Nanoseconds of one call, the least of several rounds.
static double cost_of(const std::function<void()> &call) {
    double least = 1e9;
    for (int round = 0; round < 30; round++) {
        constexpr int calls = 5000;
        const auto begin = std::chrono::steady_clock::now();
        for (int i = 0; i < calls; i++)
            call();
        const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - begin;
        least = std::min(least, took.count() / calls);
    }
    return least;
}

TEST_CASE("what socket options cost in a cgroup whose applications may choose", "[.][cost]") {
    Scene scene;
    const Fd fd = make_socket(scene.network.a(), IPPROTO_TCP);
    const auto measure = [&](const std::string &when) {
        int value = 1;
        socklen_t length = sizeof value;
        const double set =
            cost_of([&] { ::setsockopt(fd.get(), IPPROTO_TCP, 1 /* TCP_NODELAY */, &value, sizeof value); });
        const double get = cost_of([&] { ::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &value, &length); });
        report(fmt::format("{}: TCP_NODELAY {:.0f} ns, SO_ERROR {:.0f} ns", when, set, get));
    };
    measure("without");
    scene.allow();
    measure("attached");
    scene.mpsched("app detach --all");
    measure("without again");
}
