// SPDX-License-Identifier: MIT
#include "scratch.hpp"

#include <cstdlib>
#include <filesystem>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>
#include <mps/abi.h>

#include "catch.hpp"

namespace mps::test {

Scratch::Scratch() {
    if (::geteuid() != 0)
        skip("needs root");
    static bool own_mounts = false;
    if (!own_mounts) {
        REQUIRE(::unshare(CLONE_NEWNS) == 0);
        REQUIRE(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
        own_mounts = true;
    }
    old_netns_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    REQUIRE(::unshare(CLONE_NEWNET) == 0);
    bpffs_ = (std::filesystem::temp_directory_path() / "mps-loader-XXXXXX").string();
    REQUIRE(::mkdtemp(bpffs_.data()) != nullptr);
    REQUIRE(::mount("bpf", bpffs_.c_str(), "bpf", 0, nullptr) == 0);
    run("ip link set lo up");
}

Scratch::~Scratch() {
    ::umount2(bpffs_.c_str(), MNT_DETACH);
    ::rmdir(bpffs_.c_str());
    ::setns(old_netns_, CLONE_NEWNET);
    ::close(old_netns_);
}

OpenOptions Scratch::options() const { return {.bpffs = bpffs_, .lock_timeout_ms = 200}; }

Instance Scratch::instance() const {
    auto instance = Instance::open(options());
    REQUIRE(instance);
    return std::move(*instance);
}

void Scratch::add_veth() const {
    run("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
}

std::string Scratch::abi_folder(unsigned version) const {
    return fmt::format("{}/mpsched/v{}", bpffs_, version);
}

std::uint64_t netns_cookie() {
    const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    REQUIRE(::getsockopt(socket, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0);
    ::close(socket);
    return cookie;
}

std::string Scratch::installation() const {
    return fmt::format("{}/net-{}", abi_folder(MPS_ABI_VERSION), netns_cookie());
}

std::size_t Scratch::pins() const {
    std::size_t count = 0;
    for (const auto &entry : std::filesystem::recursive_directory_iterator(bpffs_)) {
        if (entry.path().extension() != ".debug")
            count++;
    }
    return count;
}

void run(const std::string &command) {
    INFO(command);
    REQUIRE(std::system(command.c_str()) == 0);
}

} // namespace mps::test
