// SPDX-License-Identifier: MIT
#include "catch.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <mps/abi.h>

#include "scratch.hpp"

using namespace mps;
using mps::test::run;
using mps::test::Scratch;

namespace fs = std::filesystem;

namespace {

// Puts a map of this shape where one of ours was.
void replace_map(const std::string &path, bpf_map_type type, const char *name, unsigned key, unsigned value,
                 unsigned entries) {
    fs::remove(path);
    const int fd = bpf_map_create(type, name, key, value, entries, nullptr);
    REQUIRE(fd >= 0);
    REQUIRE(bpf_obj_pin(fd, path.c_str()) == 0);
    ::close(fd);
}

void replace_program(const std::string &path, const char *name) {
    fs::remove(path);
    const bpf_insn pass[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 2},
        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    const int fd = bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, name, "GPL", pass, 2, nullptr);
    REQUIRE(fd >= 0);
    REQUIRE(bpf_obj_pin(fd, path.c_str()) == 0);
    ::close(fd);
}

} // namespace

TEST_CASE("pins that are not ours are refused precisely, never read, and detach --all removes them") {
    Scratch scratch;
    scratch.add_veth();
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"v0"}}));
    const std::string maps = scratch.installation() + "/maps/";
    const std::string programs = scratch.installation() + "/progs/";

    std::string expected;
    SECTION("another type") {
        replace_map(maps + "mps_rules", BPF_MAP_TYPE_HASH, "mps_rules", 4, sizeof(mps_rule), 32);
        expected = "map type 1 instead of 2";
    }
    SECTION("a larger value, which would overrun a reader") {
        replace_map(maps + "mps_counters", BPF_MAP_TYPE_PERCPU_ARRAY, "mps_counters", 4, 4096, 1);
        expected = "values of 4096 bytes instead of";
    }
    SECTION("a smaller value") {
        replace_map(maps + "mps_config", BPF_MAP_TYPE_ARRAY, "mps_config", 4, 8, 1);
        expected = "values of 8 bytes instead of";
    }
    SECTION("another key") {
        replace_map(maps + "mps_path_index", BPF_MAP_TYPE_HASH, "mps_path_index", 8, 4, 64);
        expected = "keys of 8 bytes instead of 4";
    }
    SECTION("fewer entries") {
        replace_map(maps + "mps_xdp_slots", BPF_MAP_TYPE_PROG_ARRAY, "mps_xdp_slots", 4, 4, 2);
        expected = "2 entries instead of 16";
    }
    SECTION("another name") {
        replace_map(maps + "mps_xdp_slots", BPF_MAP_TYPE_PROG_ARRAY, "impostor", 4, 4, 16);
        expected = "the map's name is 'impostor'";
    }
    SECTION("missing") {
        fs::remove(maps + "mps_conns");
        expected = "it is missing";
    }
    SECTION("a program instead of a map") {
        replace_program(maps + "mps_conns", "mps_conns");
        expected = "it is no BPF map";
    }
    SECTION("a map instead of a program") {
        replace_map(programs + "mps_dump", BPF_MAP_TYPE_ARRAY, "mps_dump", 4, 4, 1);
        expected = "it is no BPF program";
    }
    SECTION("a program of another type") {
        replace_program(programs + "mps_inject", "mps_inject");
        expected = "program type 1 instead of 6";
    }

    CHECK(instance.stats().error().what.find(expected) != std::string::npos);
    CHECK(instance.connections().error().code == ErrorCode::failed);
    CHECK(instance.use({.policy = "default"}).error().what.find(expected) != std::string::npos);
    CHECK(instance.attach({.interfaces = {"v1"}}).error().hint.find("detach --all") != std::string::npos);
    const auto status = instance.status();
    REQUIRE(status);
    CHECK_FALSE(status->installed);
    REQUIRE(status->problems.size() == 1);
    CHECK(status->problems[0].find(expected) != std::string::npos);
    const auto all = Instance::list_all(scratch.options());
    REQUIRE(all);
    CHECK(all->at(0).state == Installation::State::foreign);

    const auto detached = instance.detach({.all = true});
    REQUIRE(detached);
    CHECK(detached->removed_everything);
    CHECK(detached->warnings.size() == 1);
    CHECK(scratch.pins() == 0);
    CHECK(instance.attach({.interfaces = {"v0"}}));
}

TEST_CASE("a file system that is not BPF is not taken for one, nor for one in which nothing is attached") {
    Scratch scratch;
    OpenOptions options = scratch.options();
    options.bpffs = "/tmp";
    for (const auto &error : {Instance::open(options).error(), Instance::list_all(options).error(),
                              Instance::repair(options).error()}) {
        CHECK(error.code == ErrorCode::usage);
        CHECK(error.what == "/tmp is no bpf file system");
    }
    options.bpffs = "/no/such/place";
    CHECK(Instance::open(options).error().what.find("ENOENT") != std::string::npos);
}

TEST_CASE("pins of a newer mpsched are refused, those of an older one can be removed") {
    Scratch scratch;
    Instance instance = scratch.instance();
    const std::string name = fs::path(scratch.installation()).filename().string();
    const std::string newer = fmt::format("{}/{}", scratch.abi_folder(MPS_ABI_VERSION + 1), name);
    const std::string older = fmt::format("{}/{}", scratch.abi_folder(0), name);

    fs::create_directories(newer);
    const auto opened = Instance::open(scratch.options());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == ErrorCode::unsupported);
    CHECK(opened.error().what.find(fmt::format("made by a newer mpsched (ABI {}, this one has {})",
                                               MPS_ABI_VERSION + 1, MPS_ABI_VERSION)) != std::string::npos);
    CHECK(instance.attach({.interfaces = {"lo"}}).error().code == ErrorCode::unsupported);
    CHECK(instance.detach({.all = true}).error().code == ErrorCode::unsupported);
    CHECK(Instance::list_all(scratch.options())->at(0).state == Installation::State::other_abi);
    fs::remove(newer);

    fs::create_directories(older);
    CHECK(instance.attach({.interfaces = {"lo"}}).error().code == ErrorCode::unsupported);
    CHECK(instance.status()->problems.size() == 1);
    REQUIRE(instance.detach({.all = true}));
    CHECK_FALSE(fs::exists(older));
    CHECK(instance.attach({.interfaces = {"lo"}}));
}

TEST_CASE("what a killed command left is reported and swept by the next one") {
    Scratch scratch;
    Instance instance = scratch.instance();
    REQUIRE(instance.attach({.interfaces = {"lo"}}));
    const std::string root = scratch.abi_folder(MPS_ABI_VERSION);
    // No process has this id.
    fs::create_directories(root + "/new-99999999/maps");
    fs::create_directories(root + "/old-99999999-net-7/links");
    CHECK(instance.status()->problems.size() == 2);
    REQUIRE(instance.set({{"dwell_us", "7"}}));
    CHECK(instance.status()->problems.empty());
    CHECK(Instance::list_all(scratch.options())->size() == 1);
    // A command that is at work now is no problem, and nobody takes away what it makes.
    fs::create_directories(root + "/new-7/maps");
    const std::string lock = scratch.bpffs() + "/mpsched/locks/7";
    fs::create_directories(lock);
    const int holder = ::open(lock.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(::flock(holder, LOCK_EX | LOCK_NB) == 0);
    CHECK(instance.status()->problems.empty());
    REQUIRE(instance.set({{"dwell_us", "8"}}));
    CHECK(fs::exists(root + "/new-7/maps"));
    ::close(holder);
    CHECK(instance.status()->problems.size() == 1);
    REQUIRE(instance.detach({.all = true}));
    CHECK(scratch.pins() == 0);
}

TEST_CASE("pins of a network namespace that is gone are found stale and removed") {
    Scratch scratch;
    scratch.add_veth();
    REQUIRE(scratch.instance().attach({.interfaces = {"v0"}}));
    CHECK(Instance::list_all(scratch.options())->at(0).state == Installation::State::complete);
    // The only thread of this process leaves the namespace, so it ends.
    REQUIRE(::unshare(CLONE_NEWNET) == 0);
    std::vector<Installation> all;
    for (int i = 0; i < 100; i++) {
        all = *Instance::list_all(scratch.options());
        REQUIRE(all.size() == 1);
        if (all[0].state == Installation::State::stale)
            break;
        ::usleep(50'000); // the kernel takes namespaces down in the background
    }
    CHECK(all[0].state == Installation::State::stale);
    CHECK(scratch.instance().status()->problems.size() == 1);
    const auto removed = Instance::repair(scratch.options());
    REQUIRE(removed);
    CHECK(removed->size() == 1);
    CHECK(scratch.pins() == 0);
}
