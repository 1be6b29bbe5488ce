// SPDX-License-Identifier: MIT
#include "pins/last_rule.hpp"

#include <algorithm>

#include "base/try.hpp"
#include "congestion/choices.hpp"
#include "options/option_rules.hpp"
#include "pins/bpffs.hpp"
#include "spread/spread_programs.hpp"

namespace mps {

Result<void> remove_if_empty(const Instance::Impl &impl, const Session &session) {
    const auto entries = session.path_table().entries();
    MPS_TRY(entries);
    const auto slots = session.slots().read();
    MPS_TRY(slots);
    const auto rules = placed_rules(session.paths);
    MPS_TRY(rules);
    const auto choices = congestion_choices(session.paths);
    MPS_TRY(choices);
    const auto spread = spread_interfaces(session.paths);
    MPS_TRY(spread);
    if (!entries->empty() || !rules->empty() || !choices->empty() || !spread->empty() ||
        std::ranges::any_of(*slots, [](const Slot &one) { return one.policy.has_value(); }))
        return {};
    return impl.remove_all(find_bpffs(impl.options).value_or(""));
}

} // namespace mps
