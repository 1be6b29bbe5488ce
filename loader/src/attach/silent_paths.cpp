// SPDX-License-Identifier: MIT
#include "attach/silent_paths.hpp"

#include <netinet/tcp.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "base/clock.hpp"
#include "base/try.hpp"
#include "kernel/netlink.hpp"
#include "observe/diagnose.hpp"
#include "pins/live_config.hpp"

namespace mps {

namespace {

// A subflow in this state carries, or is to carry, what its connection has to say. Those in which it ends are reached after all of
// that has been acknowledged.
bool carries(std::uint32_t state) {
    return state == TCP_ESTABLISHED || state == TCP_SYN_SENT || state == TCP_SYN_RECV ||
           state == TCP_CLOSE_WAIT;
}

constexpr std::uint64_t ms = 1'000'000;
// TCP sends a SYN again after a second (TCP_TIMEOUT_INIT), then as often as the kernel says every second, else after twice as long each time. A try lasts
// until before the SYN that would be two seconds after the one before, since with each that is given up the kernel sends again
// all that no other path has had acknowledged (__mptcp_retransmit_pending_data()). A metered path gets one SYN, each fourth time two.
constexpr std::uint64_t syn_ns = 1000 * ms, margin_ns = 100 * ms;
constexpr std::uint64_t look_ns = 300 * ms; // how soon it is seen that a try has come to something
// From one to the next. A metered path is not to be kept awake.
constexpr std::uint64_t first_pause_ns = 100 * ms, pause_ns = 2000 * ms, metered_pause_ns = 10'000 * ms;
constexpr std::uint64_t refused_pause_ns = 30'000 * ms; // where joins fail at once
constexpr std::uint64_t first_ns = 60'000 * ms;         // without a pause for that long
// No more than a hundred SYNs a second in the long run.
constexpr std::uint64_t pause_per_syn_ns = 10 * ms;

// How many SYNs a second apart the kernel sends (Linux 6.5; elsewhere 1 and its first repetition).
std::uint32_t syns_of_a_try() {
    std::uint32_t linear = 0;
    std::ifstream("/proc/sys/net/ipv4/tcp_syn_linear_timeouts") >> linear;
    return std::clamp(linear, 1U, 4U) + 1;
}

// An endpoint is added again with the address ID it had. A join that overtook its REMOVE_ADDR, which waits behind what is queued on another
// path, would be closed by that at the peer (mptcp_pm_rm_addr_received(), RFC 8684 section 3.4.2). Queues grow faster than smoothed round trips,
// the more so when another path has failed.
std::uint64_t until_removed_ns(const AddressLook &seen) { return first_pause_ns + 2 * seen.others_ns(); }

std::string subflows_text(std::uint32_t number) {
    return fmt::format("{} subflow{}", number, number == 1 ? "" : "s");
}

// Those from which subflows are opened over this interface, at the client's side.
std::vector<Endpoint> endpoints_of(std::uint32_t ifindex) {
    std::vector<Endpoint> found;
    const auto pm = read_path_manager();
    if (!pm || !pm->in_kernel)
        return found;
    const std::vector<OwnAddress> addresses = own_addresses();
    const std::string name = ifname_of(ifindex);
    for (const Endpoint &one : pm->endpoints) {
        const bool here =
            one.ifindex ? one.ifindex == ifindex : std::ranges::any_of(addresses, [&](const OwnAddress &own) {
                return own.address == one.address && own.device == name;
            });
        if (here && one.subflow && !one.signal)
            found.push_back(one);
    }
    return found;
}

// A join that cannot even begin leaves the endpoint marked as used, as one that failed does.
bool is_usable(std::uint32_t ifindex, const std::string &address) {
    const auto device = net_device(ifindex);
    return device && device->up && device->carrier &&
           std::ranges::any_of(own_addresses(), [&](const OwnAddress &own) {
               return own.address == address && own.device == device->name;
           });
}

} // namespace

void AddressLook::see(const KnownConnection &connection) {
    const auto is_here = [&](const KnownSubflow &one) { return address_text(one.record.local) == address_; };
    bool has_another = false;
    for (const KnownSubflow &one : connection.subflows) {
        if (is_here(one) || one.record.state != TCP_ESTABLISHED || !one.record.fully_established ||
            one.record.plain || (one.known && one.known->silent))
            continue;
        has_another = true;
        others_ns_ = std::max(others_ns_, one.record.view.srtt_us * std::uint64_t{1000});
    }
    const bool is_used = std::ranges::any_of(connection.subflows, [&](const KnownSubflow &one) {
        return carries(one.record.state) && is_here(one);
    });
    without_ += connection.token && has_another && !is_used;
    for (const KnownSubflow &one : connection.subflows) {
        if (!carries(one.record.state) || !is_here(one))
            continue;
        subflows_++;
        joining_ += one.record.state == TCP_SYN_SENT;
        last_resort_ |= !has_another || one.record.plain || !connection.token;
        if (!one.known)
            continue;
        heard_ns_ = std::max<std::uint64_t>(heard_ns_, one.known->seen_ns);
        if (!one.known->silent)
            continue;
        silent_ = true;
        patience_ns_ = std::max(patience_ns_, one.record.view.srtt_us * std::uint64_t{1000} + 10 * ms);
    }
}

Result<AddressLook> SilentPaths::look(const Pins &pins, const std::string &address) const {
    AddressLook look(address, monotonic_ns());
    MPS_TRY(each_connection(pins, [&](const KnownConnection &one) { look.see(one); }));
    return look;
}

Result<void> SilentPaths::silence(const Pins &pins, const InstallationPaths &paths, std::uint32_t ifindex) {
    for (const Endpoint &endpoint : endpoints_of(ifindex)) {
        if (removed_.contains(endpoint.id))
            continue;
        const auto seen = look(pins, endpoint.address);
        MPS_TRY(seen);
        if (seen->silent() && !seen->is_last_resort())
            MPS_TRY(remove(pins, RemovedEndpoints(paths), endpoint, ifindex, *seen));
    }
    return set_timer();
}

Result<void> SilentPaths::remove(const Pins &pins, const RemovedEndpoints &notes, const Endpoint &endpoint,
                                 std::uint32_t ifindex, const AddressLook &seen) {
    const auto entry = PathTable(pins).find(ifindex);
    MPS_TRY(entry);
    MPS_TRY(notes.note(endpoint));
    MPS_TRY(remove_endpoint(endpoint));
    Removed &one = removed_[endpoint.id];
    one = {.endpoint = endpoint, .ifindex = ifindex, .name = ifname_of(ifindex)};
    one.metered = *entry && is_metered(**entry);
    one.subflows = seen.subflows();
    news_.push_back(
        {.kind = PathEvent::Kind::closed,
         .name = one.name,
         .ifindex = ifindex,
         .why = fmt::format("{} from {}, which is silent", subflows_text(one.subflows), endpoint.address)});
    one.removed_ns = monotonic_ns();
    one.due_ns = one.removed_ns + until_removed_ns(seen);
    return {};
}

Result<void> SilentPaths::add(Removed &one) {
    MPS_TRY(add_endpoint(one.endpoint));
    one.there = true;
    one.tried_ns = monotonic_ns();
    const bool longer = ++one.tries % 4 == 0;
    one.syns = !one.metered ? syns_of_a_try() : longer ? 2 : 1;
    one.due_ns = one.tried_ns + look_ns;
    return {};
}

// False: there is nothing to be done for it any more.
Result<bool> SilentPaths::go_on(const Pins &pins, const RemovedEndpoints &notes, Removed &one) {
    const bool usable = is_usable(one.ifindex, one.endpoint.address);
    if (!one.there) {
        one.due_ns = monotonic_ns() + pause_ns;
        if (usable)
            MPS_TRY(add(one));
        return true;
    }
    const auto seen = look(pins, one.endpoint.address);
    MPS_TRY(seen);
    const bool answers = seen->heard_since(one.tried_ns);
    // A join that has failed already, since nobody answered ARP, say, is not tried again by the kernel.
    if (answers || (usable && !seen->joining() && !seen->without())) {
        MPS_TRY(notes.forget(one.endpoint));
        news_.push_back(
            {.kind = PathEvent::Kind::reopened,
             .name = one.name,
             .ifindex = one.ifindex,
             .why = answers ? fmt::format("{} from {} after {} {}", subflows_text(seen->subflows()),
                                          one.endpoint.address, one.tries, one.tries == 1 ? "try" : "tries")
                            : fmt::format("nothing has to join from {} any more", one.endpoint.address)});
        return false;
    }
    const std::uint64_t now = monotonic_ns();
    // A join may not have begun yet, and one that failed at once is to send no more than a SYN a second.
    const std::uint64_t until_ns = one.tried_ns + (seen->joining() ? one.syns : 1) * syn_ns - margin_ns;
    if (now < until_ns) {
        one.due_ns = std::min(now + look_ns, until_ns);
        return true;
    }
    const std::uint64_t later_ns = seen->joining() ? pause_ns : refused_pause_ns;
    const std::uint64_t free_ns = now < one.removed_ns + first_ns ? 0 : later_ns;
    one.due_ns = now + std::max({one.metered && usable ? metered_pause_ns : free_ns, until_removed_ns(*seen),
                                 seen->joining() * one.syns * pause_per_syn_ns});
    // Who connects from it now would be closed as well; the kernel goes on trying by itself.
    if (seen->is_last_resort())
        return true;
    // Again, since `repair` and `detach` put back, and cross out, what they find.
    MPS_TRY(notes.note(one.endpoint));
    MPS_TRY(remove_endpoint(one.endpoint));
    one.there = false;
    return true;
}

bool SilentPaths::is_due() const {
    std::uint64_t ticks = 0;
    return timer_ && ::read(timer_.get(), &ticks, sizeof ticks) == sizeof ticks;
}

Result<void> SilentPaths::wake_up(const Pins &pins, const InstallationPaths &paths) {
    const RemovedEndpoints notes(paths);
    const std::uint64_t now = monotonic_ns();
    Result<void> done;
    for (auto it = removed_.begin(); it != removed_.end();) {
        const auto more = it->second.due_ns > now ? Result<bool>(true) : go_on(pins, notes, it->second);
        if (!more) {
            done = std::unexpected(more.error());
            it->second.due_ns = now + pause_ns;
        }
        it = more.value_or(true) ? std::next(it) : removed_.erase(it);
    }
    MPS_TRY(set_timer());
    return done;
}

Result<void> SilentPaths::set_timer() {
    if (!timer_ && removed_.empty())
        return {};
    if (!timer_)
        timer_ = Fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    std::uint64_t due = 0;
    for (const auto &[id, one] : removed_)
        due = due ? std::min(due, one.due_ns) : one.due_ns;
    const itimerspec when{.it_interval = {},
                          .it_value = {.tv_sec = static_cast<time_t>(due / 1'000'000'000),
                                       .tv_nsec = static_cast<long>(due % 1'000'000'000)}};
    if (!timer_ || ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr))
        return std::unexpected(system_error(errno, "looking after endpoints that were removed"));
    return {};
}

} // namespace mps
