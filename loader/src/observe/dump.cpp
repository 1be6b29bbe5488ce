// SPDX-License-Identifier: MIT
#include "observe/dump.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

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

namespace {

// Into a value that is there: a look reads thousands of them.
template <class T>
Result<void> read_into(int map_fd, std::uint32_t key, std::optional<T> &value) {
    if (!value)
        value.emplace();
    if (!bpf_map_lookup_elem(map_fd, &key, &*value))
        return {};
    value.reset();
    if (errno == ENOENT)
        return {};
    return std::unexpected(system_error(errno, "reading a BPF map"));
}

KnownSubflow known_subflow(const mps_subflow_record &record, const KnownConnection &connection) {
    KnownSubflow subflow{.record = record};
    for (std::uint32_t i = 0; record.sk && connection.known && i < MPS_MAX_SUBFLOWS; i++) {
        if (connection.known->sf[i].sk != record.sk)
            continue;
        subflow.known = connection.known->sf[i];
        subflow.position = i;
    }
    for (std::uint32_t i = 0; record.sk && connection.peer && i < MPS_MAX_SUBFLOWS; i++) {
        if (connection.peer->conn.sf[i].sk == record.sk)
            subflow.rx_position = i;
    }
    return subflow;
}

} // namespace

Result<void> each_connection(const Pins &pins, const std::function<void(const KnownConnection &)> &see) {
    auto records = dump_subflows(pins);
    MPS_TRY(records);
    std::ranges::sort(*records, {},
                      [](const mps_subflow_record &one) { return std::pair(one.token, one.view.id); });
    const int conns = pins.map(MPS_MAP_CONNS), peers = pins.map(MPS_MAP_PEERS);
    KnownConnection connection;
    for (auto it = records->begin(); it != records->end();) {
        connection.token = it->token;
        connection.subflows.clear();
        MPS_TRY(read_into(conns, connection.token, connection.known));
        MPS_TRY(read_into(peers, connection.token, connection.peer));
        for (; it != records->end() && it->token == connection.token; ++it)
            connection.subflows.push_back(known_subflow(*it, connection));
        see(connection);
    }
    return {};
}

Result<std::vector<KnownConnection>> known_connections(const Pins &pins) {
    std::vector<KnownConnection> all;
    MPS_TRY(each_connection(pins, [&](const KnownConnection &one) { all.push_back(one); }));
    return all;
}

std::string tcp_state_text(std::uint32_t state) {
    static constexpr std::array<std::string_view, 13> names{
        "unknown", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2",  "time-wait",
        "close",   "close-wait",  "last-ack", "listen",   "closing",    "new-syn-recv"};
    return std::string(state < names.size() ? names[state] : names[0]);
}

} // namespace mps
