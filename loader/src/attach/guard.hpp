// SPDX-License-Identifier: MIT
//
// What cannot wait for the next packet: subflows that have gone silent (bpf/src/guard.bpf.h tells of them), and paths that have lost their
// carrier or their address.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>

#include "base/fd.hpp"
#include "mpsched/error.hpp"
#include "pins/contract.hpp"
#include "pins/live_config.hpp"

struct ring_buffer;

namespace mps {

class Guard {
  public:
    Guard();
    Guard(Guard &&) noexcept;
    Guard &operator=(Guard &&) noexcept;
    ~Guard();

    // Goes with this installation from now on. Nothing is done if it was so.
    [[nodiscard]] Result<void> join(const Pins &pins);
    // Readable when a subflow has gone silent; -1 as long as there is no installation.
    [[nodiscard]] int fd() const;

    [[nodiscard]] bool has_news() const;
    // What silence has opened is carried out, and the peer is told so: it avoids the others in favour of the silent one.
    [[nodiscard]] Result<void> listen(const Pins &pins);
    // As if the data path had told of it: listen() sees to it.
    void tell(std::uint32_t token, std::uint32_t ifindex) const;
    // Whatever connections have parked in favour of what is silent or down is opened.
    [[nodiscard]] Result<void> look_at_connections(const Pins &pins);
    // Interfaces of the subflows that listen() was told of since the last call.
    [[nodiscard]] std::set<std::uint32_t> silent_interfaces() { return std::exchange(told_->interfaces, {}); }
    // Looks at links and addresses: what was lost is avoided at once by every connection of this host. True: something was lost, or is back.
    [[nodiscard]] Result<bool> look_at_paths(const Pins &pins);
    // Nobody tells any more which paths are down.
    static void leave(const Pins &pins);

  private:
    struct FreeRing {
        void operator()(ring_buffer *ring) const;
    };

    [[nodiscard]] Result<std::uint64_t> paths_down(const Pins &pins);

    struct Told {
        std::set<std::uint32_t> tokens, interfaces;
    };
    static int take(void *told, void *record, std::size_t size);

    std::unique_ptr<Told> told_; // stays where it is
    std::unique_ptr<ring_buffer, FreeRing> ring_;
    Fd look_;                               // the program mps_look, on the installation's maps
    std::uint32_t events_id_ = 0;           // of the map: another one is another installation's
    std::set<std::uint32_t> had_address_{}; // a port of a bridge never has one
};

} // namespace mps
