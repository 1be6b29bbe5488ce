// SPDX-License-Identifier: MIT
//
// Paths that have gone silent are closed, if that was asked for: what was under way on them is sent again elsewhere at once, where MPTCP's own timer
// (TCP_RTO_MIN, 200 ms) would have to fire first. Nothing in the kernel opens again a subflow that was closed alone; its path manager does
// so for an endpoint that was removed and is added again. So the endpoint is removed, which closes the subflows of
// every connection from that address (mptcp_nl_remove_subflow_and_signal_addr(), net/mptcp/pm_kernel.c), and added
// again until the path answers.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "attach/removed_endpoints.hpp"
#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "observe/dump.hpp"
#include "pins/contract.hpp"

namespace mps {

// What the connections of this host tell about the path of one local address. Pure: `now_ns` is CLOCK_MONOTONIC.
class AddressLook {
  public:
    AddressLook(std::string address, std::uint64_t now_ns) : address_(std::move(address)), now_ns_(now_ns) {}

    void see(const KnownConnection &connection);

    // Data is under way from it, and nothing arrived for a round trip and 10 ms on any subflow.
    [[nodiscard]] bool silent() const { return silent_ && now_ns_ > heard_ns_ + patience_ns_; }
    // Some connection has nothing but what would be closed.
    [[nodiscard]] bool is_last_resort() const { return last_resort_; }
    // Subflows that have been heard since `since_ns`, and those that try to join.
    [[nodiscard]] bool heard_since(std::uint64_t since_ns) const { return heard_ns_ > since_ns; }
    [[nodiscard]] std::uint32_t joining() const { return joining_; }
    [[nodiscard]] std::uint32_t subflows() const { return subflows_; }
    // Connections that have none from it.
    [[nodiscard]] std::uint32_t without() const { return without_; }
    // How long what is said on the other subflows may take to the peer, behind what is queued there.
    [[nodiscard]] std::uint64_t others_ns() const { return others_ns_; }

  private:
    std::string address_;
    std::uint64_t now_ns_;
    std::uint64_t heard_ns_ = 0, patience_ns_ = 0, others_ns_ = 0;
    std::uint32_t subflows_ = 0, joining_ = 0, without_ = 0;
    bool silent_ = false, last_resort_ = false;
};

class SilentPaths {
  public:
    // A subflow of this interface has gone silent.
    [[nodiscard]] Result<void> silence(const Pins &pins, const InstallationPaths &paths,
                                       std::uint32_t ifindex);
    // Readable when it is time for wake_up(); -1 as long as nothing was ever removed.
    [[nodiscard]] int fd() const { return timer_.get(); }
    [[nodiscard]] bool is_due() const;
    [[nodiscard]] Result<void> wake_up(const Pins &pins, const InstallationPaths &paths);
    // What happened since the last call of news().
    [[nodiscard]] bool has_news() const { return !news_.empty(); }
    [[nodiscard]] std::vector<PathEvent> news() { return std::exchange(news_, {}); }

  private:
    struct Removed {
        Endpoint endpoint{};
        std::uint32_t ifindex = 0;
        std::string name{}; // of the interface
        bool metered = false;
        bool there = false;           // the kernel has it: connections try to join
        std::uint64_t removed_ns = 0; // at first
        std::uint64_t tried_ns = 0;   // when it was added last
        std::uint64_t due_ns = 0;
        std::uint32_t tries = 0;
        std::uint32_t syns = 1;     // for which the present try has time
        std::uint32_t subflows = 0; // that were closed
    };

    [[nodiscard]] Result<AddressLook> look(const Pins &pins, const std::string &address) const;
    [[nodiscard]] Result<void> remove(const Pins &pins, const RemovedEndpoints &notes,
                                      const Endpoint &endpoint, std::uint32_t ifindex,
                                      const AddressLook &seen);
    [[nodiscard]] Result<bool> go_on(const Pins &pins, const RemovedEndpoints &notes, Removed &one);
    [[nodiscard]] Result<void> add(Removed &one);
    [[nodiscard]] Result<void> set_timer();

    std::map<std::uint32_t, Removed> removed_{}; // by the endpoint's number
    std::vector<PathEvent> news_{};
    Fd timer_{};
};

} // namespace mps
