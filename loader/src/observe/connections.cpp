// SPDX-License-Identifier: MIT
#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "base/addresses.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "kernel/netlink.hpp"
#include "mpsched/compare.hpp"
#include "observe/dump.hpp"

namespace mps {

std::optional<SubflowReason> reason_of(const mps_conn &conn, std::uint32_t position) {
    if (!(conn.reasoned >> position & 1))
        return std::nullopt;
    const mps_reason &given = conn.sf[position].reason;
    SubflowReason reason{.code = given.code};
    if (given.flags & MPS_REASON_HAS_NUMBER)
        reason.number = given.number;
    if (given.other && given.other <= MPS_MAX_SUBFLOWS && (conn.known >> (given.other - 1) & 1))
        reason.than = conn.sf[given.other - 1].id;
    return reason;
}

namespace {

// What the peer sends on it. The peer believes what it was told last, whoever told it.
void add_receipt(SubflowStatus &status, const KnownSubflow &subflow, const KnownConnection &connection) {
    status.bytes_received = subflow.record.bytes_received;
    if (!subflow.rx_position)
        return;
    const mps_peer &peer = *connection.peer;
    const mps_peer_subflow &told = peer.sf[*subflow.rx_position];
    status.told = told.told == MPS_TOLD_BACKUP   ? "backup"
                  : told.told == MPS_TOLD_ACTIVE ? "active"
                                                 : "nothing";
    status.rx_allowed = !peer.conn.allowed || (peer.conn.allowed >> *subflow.rx_position & 1);
    status.rx_ignored = told.given_up != 0;
}

// Of interfaces: what is the same for all subflows, and asked for once.
class Interfaces {
  public:
    Interfaces(const std::vector<PathEntry> &entries, const mps_config &config) {
        for (const PathEntry &entry : entries) {
            if (entry.has(MPS_PATH_ATTACHED))
                attached_.insert(entry.path.ifindex);
            if (is_down(entry, config))
                down_.insert(entry.path.ifindex);
        }
    }
    [[nodiscard]] bool attached(std::uint32_t ifindex) const { return attached_.contains(ifindex); }
    [[nodiscard]] bool down(std::uint32_t ifindex) const { return down_.contains(ifindex); }
    [[nodiscard]] const std::string &name(std::uint32_t ifindex) {
        const auto [it, is_new] = names_.try_emplace(ifindex);
        if (is_new)
            it->second = ifname_of(ifindex);
        return it->second;
    }

  private:
    std::set<std::uint32_t> attached_{}, down_{};
    std::map<std::uint32_t, std::string> names_{};
};

SubflowStatus subflow_status(const KnownSubflow &subflow, const KnownConnection &connection,
                             Interfaces &interfaces) {
    const mps_subflow_record &record = subflow.record;
    const mps_subflow_view &view = record.view;
    const auto has = [&](std::uint32_t flag) { return (view.flags & flag) != 0; };
    // An empty set of allowed subflows means all (abi.h, struct mps_verdict).
    const bool allowed =
        !subflow.known || !connection.known->allowed || (connection.known->allowed >> subflow.position & 1);
    // The data path knows as many as it can steer, and this is none of them.
    constexpr std::uint32_t all_known = (1U << MPS_MAX_SUBFLOWS) - 1;
    const bool surplus = connection.known && connection.known->known == all_known && !subflow.known;
    return SubflowStatus{.id = view.id,
                         .ifindex = subflow.ifindex(),
                         .ifname = interfaces.name(subflow.ifindex()),
                         .local = endpoint_text(record.local, record.local_port),
                         .remote = endpoint_text(record.remote, record.remote_port),
                         .tcp_state = tcp_state_text(record.state),
                         .backup = subflow.backup(),
                         .peer_backup = subflow.peer_backup(),
                         .local_backup = has(MPS_SF_LOCAL_BACKUP),
                         .allowed = allowed,
                         .usable = has(MPS_SF_USABLE),
                         .stale = has(MPS_SF_STALE),
                         .silent = (subflow.known && subflow.known->silent) || has(MPS_SF_TROUBLED),
                         .down = interfaces.down(subflow.ifindex()),
                         .steerable = interfaces.attached(subflow.ifindex()) && !surplus &&
                                      !(subflow.known && subflow.known->deaf),
                         .srtt_us = view.srtt_us,
                         .rttvar_us = view.rttvar_us,
                         .min_rtt_us = view.min_rtt_us,
                         .cwnd = view.cwnd_segs,
                         .ssthresh = view.ssthresh_segs,
                         .in_flight = view.in_flight_segs,
                         .mss_bytes = view.mss_bytes,
                         .queued_bytes = view.queued_bytes,
                         .notsent_bytes = view.notsent_bytes,
                         .bytes_acked = view.bytes_acked,
                         .pacing_rate = view.pacing_rate,
                         .max_pacing_rate = record.max_pacing_rate,
                         .notsent_lowat = record.notsent_lowat,
                         .lost = view.lost_segs,
                         .delivered = view.delivered_segs,
                         .reason =
                             subflow.known ? reason_of(*connection.known, subflow.position) : std::nullopt};
}

ConnectionStatus connection_status(const KnownConnection &connection, const std::vector<Slot> &slots,
                                   const mps_config &config, Interfaces &interfaces) {
    ConnectionStatus status{
        .token = connection.token, .policy = "default", .tracked = connection.known.has_value()};
    if (connection.known) {
        status.slot = connection.known->slot;
        status.pending = connection.known->rule_epoch != rule_epoch(config);
        const bool is_there = std::ranges::find(slots, status.slot, &Slot::number) != slots.end();
        if (status.pending && (!config.nr_rules || !is_there))
            status.slot = default_slot(config);
        status.policy = policy_in_slot(slots, status.slot);
    }
    if (connection.peer)
        status.rx_policy = policy_in_slot(slots, connection.peer->conn.slot);
    for (const KnownSubflow &subflow : connection.subflows) {
        status.subflows.push_back(subflow_status(subflow, connection, interfaces));
        add_receipt(status.subflows.back(), subflow, connection);
        status.plain |= subflow.record.plain != 0;
    }
    return status;
}

// What is the same for all of them.
class Describer {
  public:
    static Result<Describer> prepare(const InstallationPaths &paths, const Pins &pins) {
        auto slots = Slots(paths, pins).read();
        MPS_TRY(slots);
        const auto entries = PathTable(pins).entries();
        MPS_TRY(entries);
        const auto config = read_config(pins);
        MPS_TRY(config);
        return Describer(std::move(*slots), *config, Interfaces(*entries, *config));
    }
    void add(const KnownConnection &connection, std::vector<ConnectionStatus> &to) {
        to.push_back(connection_status(connection, slots_, config_, interfaces_));
    }

  private:
    Describer(std::vector<Slot> slots, const mps_config &config, Interfaces interfaces)
        : slots_(std::move(slots)), config_(config), interfaces_(std::move(interfaces)) {}

    std::vector<Slot> slots_;
    mps_config config_;
    Interfaces interfaces_;
};

} // namespace

Result<std::vector<ConnectionStatus>> connections_of(const std::vector<KnownConnection> &known,
                                                     const InstallationPaths &paths, const Pins &pins) {
    auto describer = Describer::prepare(paths, pins);
    MPS_TRY(describer);
    std::vector<ConnectionStatus> result;
    for (const KnownConnection &connection : known)
        describer->add(connection, result);
    return result;
}

Result<std::vector<ConnectionStatus>> all_connections(const InstallationPaths &paths, const Pins &pins) {
    auto describer = Describer::prepare(paths, pins);
    MPS_TRY(describer);
    std::vector<ConnectionStatus> result;
    MPS_TRY(each_connection(pins, [&](const KnownConnection &one) { describer->add(one, result); }));
    return result;
}

Result<std::vector<ConnectionStatus>> connections_now(const Instance::Impl &impl) {
    const auto pins = impl.open_for_reading();
    MPS_TRY(pins);
    return all_connections(*impl.paths(), *pins);
}

std::string policy_in_slot(const std::vector<Slot> &slots, std::uint32_t number) {
    const auto it = std::ranges::find(slots, number, &Slot::number);
    if (it == slots.end())
        return "default";
    return it->policy ? it->policy->header.name : fmt::format("slot {}", number);
}

Result<std::vector<ConnectionStatus>> Instance::connections(std::uint32_t sample_ms) const {
    using Clock = std::chrono::steady_clock;
    const auto call = impl_->enter();
    MPS_TRY(call);
    const auto before = connections_now(*impl_);
    if (!sample_ms || !before)
        return before;
    const auto then = Clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(sample_ms));
    auto now = connections_now(*impl_);
    MPS_TRY(now);
    const double seconds = std::chrono::duration<double>(Clock::now() - then).count();
    add_rates(*before, *now, seconds);
    return now;
}

} // namespace mps
