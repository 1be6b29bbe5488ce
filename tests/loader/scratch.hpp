// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>

#include "mpsched/instance.hpp"

namespace mps::test {

// A network namespace and a bpf file system of the test's own, for as long as the object lives; nothing the
// test does reaches the rest of the machine. Skips the test without root.
class Scratch {
  public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;

    [[nodiscard]] const std::string &bpffs() const { return bpffs_; }
    [[nodiscard]] OpenOptions options() const;
    // Fails the test if it cannot be opened.
    [[nodiscard]] Instance instance() const;
    // Adds the pair v0, v1.
    void add_veth() const;
    // BPFFS/mpsched/vN, where pins of ABI version N live.
    [[nodiscard]] std::string abi_folder(unsigned version) const;
    // BPFFS/mpsched/vN/net-COOKIE of our own version
    [[nodiscard]] std::string installation() const;
    // Entries below BPFFS that are not the kernel's own.
    [[nodiscard]] std::size_t pins() const;

  private:
    std::string bpffs_;
    int old_netns_ = -1;
};

// Of the network namespace that the calling thread is in, as the kernel has it.
[[nodiscard]] std::uint64_t netns_cookie();

// Runs a shell command; fails the test if it does.
void run(const std::string &command);

} // namespace mps::test
