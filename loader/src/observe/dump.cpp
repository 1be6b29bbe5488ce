// SPDX-License-Identifier: MIT
#include "observe/dump.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "base/try.hpp"
#include "kernel/iterator.hpp"

namespace mps {

Result<std::vector<mps_subflow_record>> dump_subflows(const Pins &pins) {
    std::vector<char> bytes;
    const auto done =
        run_iterator(pins.program("mps_dump"), "reading the subflows", [&](std::span<const char> piece) {
            bytes.insert(bytes.end(), piece.begin(), piece.end());
        });
    MPS_TRY(done);
    std::vector<mps_subflow_record> records(bytes.size() / sizeof(mps_subflow_record));
    if (!records.empty())
        std::memcpy(records.data(), bytes.data(), records.size() * sizeof(mps_subflow_record));
    const bool foreign = std::any_of(records.begin(), records.end(),
                                     [](const mps_subflow_record &r) { return r.abi != MPS_ABI_VERSION; });
    if (foreign || bytes.size() % sizeof(mps_subflow_record)) {
        return fail(ErrorCode::unsupported, "the pinned program mps_dump speaks another ABI",
                    "'mpsched detach --all' removes what is there");
    }
    return records;
}

std::string KnownSubflow::text() const {
    return fmt::format("{} - {}", endpoint_text(record.local, record.local_port),
                       endpoint_text(record.remote, record.remote_port));
}

Result<std::vector<KnownConnection>> known_connections(const Pins &pins) {
    const auto records = dump_subflows(pins);
    MPS_TRY(records);
    std::map<std::uint32_t, KnownConnection> connections;
    for (const mps_subflow_record &record : *records) {
        auto [it, is_new] = connections.try_emplace(record.token);
        KnownConnection &connection = it->second;
        if (is_new) {
            connection.token = record.token;
            auto known = read_value<mps_conn>(pins.map(MPS_MAP_CONNS), record.token);
            MPS_TRY(known);
            connection.known = *known;
            auto peer = read_value<mps_peer>(pins.map(MPS_MAP_PEERS), record.token);
            MPS_TRY(peer);
            connection.peer = *peer;
        }
        KnownSubflow subflow{.record = record};
        for (std::uint32_t i = 0; connection.known && i < MPS_MAX_SUBFLOWS; i++) {
            if (!record.sk || connection.known->sf[i].sk != record.sk)
                continue;
            subflow.known = connection.known->sf[i];
            subflow.position = i;
        }
        for (std::uint32_t i = 0; connection.peer && i < MPS_MAX_SUBFLOWS; i++) {
            if (record.sk && connection.peer->conn.sf[i].sk == record.sk)
                subflow.rx_position = i;
        }
        connection.subflows.push_back(std::move(subflow));
    }
    std::vector<KnownConnection> result;
    for (auto &[token, connection] : connections) {
        std::sort(
            connection.subflows.begin(), connection.subflows.end(),
            [](const KnownSubflow &a, const KnownSubflow &b) { return a.record.view.id < b.record.view.id; });
        result.push_back(std::move(connection));
    }
    return result;
}

std::string tcp_state_text(std::uint32_t state) {
    static constexpr std::array<std::string_view, 13> names{
        "unknown", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2",  "time-wait",
        "close",   "close-wait",  "last-ack", "listen",   "closing",    "new-syn-recv"};
    return std::string(state < names.size() ? names[state] : names[0]);
}

} // namespace mps
