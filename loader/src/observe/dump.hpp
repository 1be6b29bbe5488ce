// SPDX-License-Identifier: MIT
#pragma once

#include <mps/abi.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/instance.hpp"
#include "pins/contract.hpp"

namespace mps {

// Every MPTCP subflow of the current network namespace, in the kernel's order.
[[nodiscard]] Result<std::vector<mps_subflow_record>> dump_subflows(const Pins &pins);

// A subflow together with what the data path remembers of it.
struct KnownSubflow {
    mps_subflow_record record{};
    std::optional<mps_conn_subflow> known{}; // nullopt: the data path has not seen it
    std::uint32_t position = 0; // index into mps_conn.sf and bit of mps_conn.allowed; only if known
    std::optional<std::uint32_t> rx_position{}; // index into those of mps_peer, if it is there

    // The kernel's own bit, as it is now.
    [[nodiscard]] bool backup() const { return record.view.flags & MPS_SF_BACKUP; }
    // What the peer asked for: a subflow we never saw still has the bit that the peer gave it.
    [[nodiscard]] bool peer_backup() const { return known ? known->peer_backup != 0 : backup(); }
    // The attached interface its packets come through, else the one the kernel saw last.
    [[nodiscard]] std::uint32_t ifindex() const {
        return known && known->ifindex ? known->ifindex : record.rx_ifindex;
    }
    [[nodiscard]] std::string text() const; // "192.0.2.1:443 - 198.51.100.2:5001"
};

struct KnownConnection {
    std::uint32_t token = 0;
    std::optional<mps_conn> known{}; // the data path's entry, if there is one
    std::optional<mps_peer> peer{};  // and that for what the peer sends
    std::vector<KnownSubflow> subflows{};
};

// The dump joined with mps_conns and mps_peers, by token. Each has several KB: who looks again and again takes one after the other; what is handed
// over lives until the next.
[[nodiscard]] Result<void> each_connection(const Pins &pins,
                                           const std::function<void(const KnownConnection &)> &see);
[[nodiscard]] Result<std::vector<KnownConnection>> known_connections(const Pins &pins);

// As people see them.
[[nodiscard]] Result<std::vector<ConnectionStatus>>
connections_of(const std::vector<KnownConnection> &known, const InstallationPaths &paths, const Pins &pins);
// All that there are.
[[nodiscard]] Result<std::vector<ConnectionStatus>> all_connections(const InstallationPaths &paths,
                                                                    const Pins &pins);
// Why the last verdict in this record was so about sf[position]; nullopt: the policy did not say.
[[nodiscard]] std::optional<SubflowReason> reason_of(const mps_conn &conn, std::uint32_t position);

// "established", "close-wait" …; net/tcp_states.h.
[[nodiscard]] std::string tcp_state_text(std::uint32_t state);

} // namespace mps
