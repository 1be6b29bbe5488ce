// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "mpsched/error.hpp"

namespace mps {

// A network namespace by its name below /run/netns (as of `ip netns add`), a path to a namespace file, or a process id; ""
// is the calling thread's. An unknown name is a usage error listing the valid ones.
[[nodiscard]] Result<Fd> open_netns(const std::string &spec);

// While it lives the calling thread is in that network namespace, and then again where it was. Mounts stay as they are, so
// /sys/class/net goes on showing the old namespace's interfaces. Needs CAP_SYS_ADMIN where that is another one.
class InNetns {
  public:
    [[nodiscard]] static Result<InNetns> enter(int netns_fd);
    // As open_netns(); "" stays.
    [[nodiscard]] static Result<InNetns> enter(const std::string &spec);
    InNetns(InNetns &&) noexcept = default;
    InNetns &operator=(InNetns &&) = delete;
    ~InNetns();

  private:
    explicit InNetns(Fd before) : before_(std::move(before)) {}
    Fd before_; // none: it was there already
};

// SO_NETNS_COOKIE (5.14): a number that no other network namespace has had since boot.
[[nodiscard]] Result<std::uint64_t> netns_cookie();

// Names of the interfaces of the current network namespace, for messages and completion, in order of their
// index.
[[nodiscard]] std::vector<std::string> interface_names();

// An error that lists them.
[[nodiscard]] std::unexpected<Error> no_such_interface(const std::string &name);

} // namespace mps
