// SPDX-License-Identifier: MIT
#include <algorithm>
#include <set>

#include "attach/idle_probes.hpp"
#include "attach/removed_endpoints.hpp"
#include "attach/restore.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"

namespace mps {

namespace {

// Interfaces of subflows where our programs do not run.
Result<std::set<std::uint32_t>> unattended_interfaces(const Session &session) {
    const auto entries = session.path_table().entries();
    MPS_TRY(entries);
    const auto connections = known_connections(session.pins);
    MPS_TRY(connections);
    std::set<std::uint32_t> unattended;
    for (const KnownConnection &connection : *connections) {
        for (const KnownSubflow &subflow : connection.subflows) {
            const bool attended = std::ranges::any_of(*entries, [&](const PathEntry &e) {
                return e.has(MPS_PATH_ATTACHED) && e.path.ifindex == subflow.ifindex();
            });
            if (!attended)
                unattended.insert(subflow.ifindex());
        }
    }
    return unattended;
}

} // namespace

Result<RecoverResult> Instance::recover() {
    const auto call = impl_->enter();
    MPS_TRY(call);
    auto session = impl_->open_for_changing();
    MPS_TRY(session);
    MPS_TRY(RemovedEndpoints(session->paths).put_back());
    MPS_TRY(end_probes(session->paths));
    RecoverResult result;
    auto events = attach_what_lacks(*session, impl_->has_tcx());
    MPS_TRY(events);
    result.events = std::move(*events);
    // What is attached is put right by the data path at its next packet; nobody else does that for the others.
    const auto unattended = unattended_interfaces(*session);
    MPS_TRY(unattended);
    const auto stuck = wrong_subflows(session->pins, *unattended);
    MPS_TRY(stuck);
    Restored restored;
    if (!stuck->empty())
        MPS_TRY(restore(session->pins, *unattended, 1, std::chrono::milliseconds(1000), restored));
    result.unrestored = std::move(restored.unrestored);
    for (const KnownSubflow &subflow : *stuck) {
        const std::string text = subflow.text();
        if (std::ranges::none_of(result.unrestored,
                                 [&](const std::string &line) { return line.starts_with(text); }))
            result.subflows.push_back(text);
    }
    return result;
}

} // namespace mps
