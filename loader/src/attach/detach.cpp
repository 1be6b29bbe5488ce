// SPDX-License-Identifier: MIT
//
// Leaving without a trace: first every subflow gets back the backup bit that its peer asked for, then our
// programs go.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include <bpf/bpf.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "attach/forged_ack.hpp"
#include "attach/hooks.hpp"
#include "attach/levers.hpp"
#include "attach/vrf.hpp"
#include "base/log.hpp"
#include "instance_impl.hpp"
#include "mpsched/netns.hpp"
#include "observe/dump.hpp"
#include "pins/bpffs.hpp"
#include "pins/orphans.hpp"

namespace mps {

namespace {

using Clock = std::chrono::steady_clock;

// TCP_ESTABLISHED and TCP_CLOSE_WAIT: states in which this host may still send data.
bool may_send(const mps_subflow_record &record) { return record.state == 1 || record.state == 8; }

struct Restored {
    std::set<std::uint64_t> touched; // sockets whose bit was wrong when first seen
    std::vector<std::string> unrestored;
};

// `leaving`: interfaces whose subflows are to be restored.
Result<std::vector<KnownSubflow>> wrong_subflows(const Pins &pins, const std::set<std::uint32_t> &leaving) {
    const auto connections = known_connections(pins);
    if (!connections)
        return std::unexpected(connections.error());
    std::vector<KnownSubflow> wrong;
    for (const KnownConnection &connection : *connections) {
        for (const KnownSubflow &subflow : connection.subflows) {
            const bool concerned =
                leaving.contains(subflow.ifindex()) || leaving.contains(subflow.record.rx_ifindex);
            if (concerned && may_send(subflow.record) && subflow.backup() != subflow.peer_backup())
                wrong.push_back(subflow);
        }
    }
    return wrong;
}

// Until the kernel's bits were what the peers asked for in as many looks as `looks`, one behind the other, or `patience`
// is over.
Result<void> restore(const Pins &pins, const std::set<std::uint32_t> &leaving, int looks,
                     std::chrono::milliseconds patience, Restored &result) {
    constexpr auto pause = std::chrono::milliseconds(10);
    const auto deadline = Clock::now() + patience;
    int right = 0;
    for (int round = 0;; round++) {
        const auto wrong = wrong_subflows(pins, leaving);
        if (!wrong)
            return std::unexpected(wrong.error());
        right = wrong->empty() ? right + 1 : 0;
        if (right >= looks)
            return {};
        if (right == 0 && round && Clock::now() >= deadline) {
            for (const KnownSubflow &subflow : *wrong) {
                result.unrestored.push_back(fmt::format("{}: backup={}, its peer asked for {}",
                                                        subflow.text(), subflow.backup() ? 1 : 0,
                                                        subflow.peer_backup() ? 1 : 0));
            }
            return {};
        }
        for (const KnownSubflow &subflow : *wrong) {
            result.touched.insert(subflow.record.sk);
            // A busy subflow has ACKs of its own, which the data path edits; a forged one would count as a
            // duplicate.
            constexpr int patient_rounds = 4;
            if (subflow.record.view.in_flight_segs && round < patient_rounds)
                continue;
            if (const auto done = inject_backup(pins, subflow, subflow.peer_backup()); !done)
                log_lines(done.error().what);
        }
        std::this_thread::sleep_for(pause);
    }
}

// Takes our programs off one interface. Its path stays LEAVING: whoever kills us here leaves that, and the next detach
// looks at its subflows once more.
Result<void> remove_interface(Session &session, std::uint32_t ifindex) {
    const auto entry = session.path_table().find(ifindex);
    if (!entry)
        return std::unexpected(entry.error());
    // Without the ATTACHED flag no more wakes are sent to it.
    if (*entry) {
        mps_path path = (*entry)->path;
        path.flags &= ~static_cast<std::uint32_t>(MPS_PATH_ATTACHED | MPS_PATH_WANTED);
        path.flags |= MPS_PATH_LEAVING;
        if (auto done = session.path_table().put(path); !done)
            return done;
        if (auto done = session.bump_path_epoch(); !done)
            return done;
    }
    if (auto done = remove_xdp(session.paths, ifindex); !done)
        return done;
    if (auto done = remove_tc(session.paths, session.pins, ifindex); !done)
        return done;
    if (auto done = leave_vrf(session.paths, session.pins, ifindex); !done)
        return done;

    const auto hooks = read_hooks(session.paths, session.pins, ifindex);
    if (!hooks)
        return std::unexpected(hooks.error());
    if (hooks->any()) {
        return fail(ErrorCode::failed,
                    fmt::format("interface {} still has programs of ours", ifname_of(ifindex)),
                    "something else attaches them: try again");
    }
    return {};
}

// Takes a path off the table, attributes that the user set excepted: it is done with.
Result<void> forget_interface(Session &session, std::uint32_t ifindex) {
    const auto entry = session.path_table().find(ifindex);
    if (!entry)
        return std::unexpected(entry.error());
    if (!*entry)
        return {};
    mps_path path = (*entry)->path;
    path.flags &= MPS_PATH_L3;
    auto done = is_plain(path) ? session.path_table().remove(ifindex) : session.path_table().put(path);
    if (!done)
        return done;
    return session.bump_path_epoch();
}

// Names to let go. What is neither there nor waited for is an error: it is mistyped.
std::vector<PathEntry> chosen_entries(const std::vector<PathEntry> &entries, const DetachRequest &request) {
    std::vector<PathEntry> chosen;
    for (const PathEntry &entry : entries) {
        const bool named = std::find(request.interfaces.begin(), request.interfaces.end(),
                                     path_name(entry.path)) != request.interfaces.end();
        if (request.all || named)
            chosen.push_back(entry);
    }
    return chosen;
}

Result<void> check_names(const std::vector<std::string> &names, const std::vector<PathEntry> &entries) {
    for (const std::string &name : names) {
        const bool known = std::any_of(entries.begin(), entries.end(),
                                       [&](const PathEntry &e) { return path_name(e.path) == name; });
        if (!known && !net_device(name)) {
            return fail(ErrorCode::usage, fmt::format("there is no interface '{}'", name),
                        fmt::format("there are: {}", fmt::join(interface_names(), ", ")));
        }
    }
    return {};
}

// An interface that is not there is no longer waited for.
Result<void> stop_waiting(Session &session, const PathEntry &entry) {
    mps_path path = entry.path;
    path.flags &= ~static_cast<std::uint32_t>(MPS_PATH_WANTED);
    return is_plain(path) ? session.path_table().remove(entry)
                          : session.path_table().put(PathEntry{entry.index, path});
}

// Is what is pinned as links links?
Result<void> check_links(const InstallationPaths &paths, const Pins &pins) {
    for (const std::uint32_t ifindex : pinned_interfaces(paths)) {
        if (const auto hooks = read_hooks(paths, pins, ifindex); !hooks)
            return std::unexpected(hooks.error());
    }
    return {};
}

// For pins that cannot be trusted: no map is read, but nothing of ours stays.
Result<DetachResult> remove_blindly(const OpenOptions &options, std::uint64_t cookie,
                                    const std::string &reason) {
    const auto bpffs = find_trusted_bpffs(options);
    if (!bpffs)
        return std::unexpected(bpffs.error());
    if (!*bpffs)
        return DetachResult{};
    const auto lock = Lock::take(**bpffs, cookie, Patience(options));
    if (!lock)
        return std::unexpected(lock.error());
    // Filters are not pinned: found by the names of their programs.
    DetachResult result;
    if (const auto devices = net_devices()) {
        for (const NetDevice &device : *devices) {
            if (remove_filter_by_name(device.ifindex))
                result.interfaces.push_back(device.name);
        }
    }
    std::error_code error;
    for (const auto &entry : std::filesystem::directory_iterator(PinLayout(**bpffs).top, error)) {
        const std::string path = fmt::format("{}/{}{}", entry.path().string(), installed_prefix, cookie);
        // Links that somebody else holds open as well, and qdiscs of ours; what is none of these fails here.
        const InstallationPaths paths{path};
        for (const std::uint32_t ifindex : pinned_interfaces(paths)) {
            (void)remove_xdp(paths, ifindex);
            (void)remove_tc(paths, Pins{}, ifindex);
        }
        for (const NetDevice &device : net_devices().value_or(std::vector<NetDevice>{}))
            (void)remove_vrf_program(paths, Pins{}, device.ifindex);
        if (auto done = remove_installation(path); !done)
            return std::unexpected(done.error());
        std::filesystem::remove(entry.path(), error); // refuses unless it is empty
    }
    result.removed_everything = true;
    result.warnings.push_back(fmt::format("removed without restoring subflows: {}", reason));
    return result;
}

// What no pin leads to. Its interfaces and a warning go into the result.
Result<void> remove_orphans(const OpenOptions &options, std::uint64_t cookie, DetachResult &result) {
    std::set<std::string> interfaces(result.interfaces.begin(), result.interfaces.end());
    for (const Orphan &orphan : find_orphans(options, cookie)) {
        if (auto done = remove_orphan(orphan); !done)
            return done;
        if (orphan.ifindex && interfaces.insert(ifname_of(orphan.ifindex)).second)
            result.interfaces.push_back(ifname_of(orphan.ifindex));
        result.warnings.push_back(
            fmt::format("removed without restoring subflows, since its pins are gone: {}", orphan.text));
    }
    return {};
}

} // namespace

void restore_undone(const Pins &pins, const std::set<std::uint32_t> &interfaces) {
    if (interfaces.empty())
        return;
    Restored restored;
    wait_for_running_programs();
    (void)restore(pins, interfaces, 1, std::chrono::milliseconds(1000), restored);
}

Result<RecoverResult> Instance::recover() {
    auto session = impl_->open_for_changing();
    if (!session)
        return std::unexpected(session.error());
    RecoverResult result;
    auto events = attach_what_lacks(*session, impl_->has_tcx());
    if (!events)
        return std::unexpected(events.error());
    result.events = std::move(*events);
    // What is attached is put right by the data path at its next packet; nobody else does that for the others.
    const auto entries = session->path_table().entries();
    const auto connections = known_connections(session->pins);
    if (!entries || !connections)
        return std::unexpected(entries ? connections.error() : entries.error());
    std::set<std::uint32_t> unattended;
    for (const KnownConnection &connection : *connections) {
        for (const KnownSubflow &subflow : connection.subflows) {
            const bool attended = std::any_of(entries->begin(), entries->end(), [&](const PathEntry &e) {
                return e.has(MPS_PATH_ATTACHED) && e.path.ifindex == subflow.ifindex();
            });
            if (!attended)
                unattended.insert(subflow.ifindex());
        }
    }
    const auto stuck = wrong_subflows(session->pins, unattended);
    if (!stuck)
        return std::unexpected(stuck.error());
    Restored restored;
    if (!stuck->empty()) {
        if (auto done = restore(session->pins, unattended, 1, std::chrono::milliseconds(1000), restored);
            !done)
            return std::unexpected(done.error());
    }
    result.unrestored = std::move(restored.unrestored);
    for (const KnownSubflow &subflow : *stuck) {
        const std::string text = subflow.text();
        if (std::none_of(result.unrestored.begin(), result.unrestored.end(),
                         [&](const std::string &line) { return line.starts_with(text); }))
            result.subflows.push_back(text);
    }
    return result;
}

Result<DetachResult> Instance::detach(const DetachRequest &request) {
    if (!request.all)
        return detach_pinned(request);
    // In a place that others may write to nothing is read or removed; what runs is found all the same.
    const auto place = find_trusted_bpffs(impl_->options);
    if (!place && place.error().code == ErrorCode::not_permitted)
        return std::unexpected(place.error());
    auto result = place ? detach_pinned(request) : Result<DetachResult>(DetachResult{});
    if (!result)
        return result;
    if (!place)
        result->warnings.push_back(fmt::format("{}; {}", place.error().what, place.error().hint));
    if (auto done = remove_orphans(impl_->options, impl_->cookie, *result); !done)
        return std::unexpected(done.error());
    return result;
}

Result<DetachResult> Instance::detach_pinned(const DetachRequest &request) {
    if (!request.all && request.interfaces.empty()) {
        return fail(ErrorCode::usage, "no interface is given", "name interfaces, or --all");
    }
    if (const auto good = impl_->check_versions(true); !good)
        return std::unexpected(good.error());
    if (request.all) {
        const auto versions = impl_->check_versions(false);
        if (!versions)
            return remove_blindly(impl_->options, impl_->cookie, versions.error().what);
        if (impl_->installed()) {
            const auto pins = open_pins(*impl_->paths());
            if (!pins && pins.error().code != ErrorCode::not_permitted) {
                return remove_blindly(impl_->options, impl_->cookie, pins.error().what);
            }
            if (pins) {
                const auto links = check_links(*impl_->paths(), *pins);
                if (!links && links.error().code != ErrorCode::not_permitted)
                    return remove_blindly(impl_->options, impl_->cookie, links.error().what);
            }
        }
    }

    // Names of interfaces that went while they were attached are known to the installation only.
    std::vector<PathEntry> known;
    if (const auto pins = impl_->installed() ? impl_->open_for_reading() : std::unexpected(not_installed());
        pins) {
        if (auto presence = look_at_interfaces(PathTable(*pins)))
            known = std::move(presence->entries);
    }
    if (auto good = check_names(request.interfaces, known); !good)
        return std::unexpected(good.error());

    DetachResult result;
    auto session = impl_->open_for_changing();
    // Nothing there is what was asked for.
    if (!session && session.error().what == not_installed().what)
        return result;
    if (!session)
        return std::unexpected(session.error());
    const auto entries = session->path_table().entries();
    if (!entries)
        return std::unexpected(entries.error());
    const auto held = [](const PathEntry &e) { return e.has(MPS_PATH_ATTACHED | MPS_PATH_WANTED); };
    const std::vector<PathEntry> chosen = chosen_entries(*entries, request);
    std::set<std::uint32_t> leaving;
    // Also those whose programs went without that look: killed commands leave them.
    std::set<std::uint32_t> to_restore;
    for (const PathEntry &entry : chosen) {
        if (entry.absent())
            continue;
        if (held(entry))
            leaving.insert(entry.path.ifindex);
        if (held(entry) || entry.has(MPS_PATH_LEAVING))
            to_restore.insert(entry.path.ifindex);
    }
    // Paths that were only described go with the last interface that is let go, not by naming one that was
    // not attached.
    const auto let_go = std::count_if(chosen.begin(), chosen.end(), held);
    const bool everything =
        let_go == std::count_if(entries->begin(), entries->end(), held) && (request.all || let_go != 0);
    if (everything) {
        const auto done = session->config.update([](mps_config &c) {
            c.flags |= MPS_CONFIG_LEAVING;
            c.path_epoch++;
        });
        if (!done)
            return std::unexpected(done.error());
        if (auto released = release_levers(session->pins); !released)
            return std::unexpected(released.error());
    }
    for (const PathEntry &entry : chosen) {
        if (!held(entry))
            continue;
        if (entry.absent()) {
            result.interfaces.push_back(path_name(entry.path));
            if (auto done = stop_waiting(*session, entry); !done)
                return std::unexpected(done.error());
            continue;
        }
        mps_path path = entry.path;
        path.flags |= MPS_PATH_LEAVING;
        if (auto done = session->path_table().put(path); !done)
            return std::unexpected(done.error());
    }
    if (auto done = session->bump_path_epoch(); !done)
        return std::unexpected(done.error());

    Restored restored;
    auto done = restore(session->pins, to_restore, 1, std::chrono::milliseconds(1000), restored);
    for (const std::uint32_t ifindex : leaving) {
        if (!done)
            break;
        result.interfaces.push_back(ifname_of(ifindex));
        done = remove_interface(*session, ifindex);
    }
    // A packet that was inside our programs when they went may carry a last edit. The kernel acts on it when it holds the
    // subflow's socket: later, if a thread that sends was preempted while it held it. So one look is not enough.
    if (done && !to_restore.empty()) {
        constexpr int looks = 3;
        wait_for_running_programs();
        restored.unrestored.clear();
        done = restore(session->pins, to_restore, looks, std::chrono::milliseconds(200), restored);
    }
    for (const std::uint32_t ifindex : to_restore) {
        if (done)
            done = forget_interface(*session, ifindex);
    }
    if (!done)
        return std::unexpected(done.error());
    result.restored = static_cast<std::uint32_t>(restored.touched.size());
    result.unrestored = std::move(restored.unrestored);
    if (everything) {
        for (const PathEntry &entry : *entries) {
            if (!has_default_attributes(entry.path))
                result.forgotten.push_back(path_name(entry.path));
        }
        const auto bpffs = find_bpffs(impl_->options);
        if (auto removed = impl_->remove_all(bpffs.value_or("")); !removed)
            return std::unexpected(removed.error());
        result.removed_everything = true;
    }
    return result;
}

} // namespace mps
