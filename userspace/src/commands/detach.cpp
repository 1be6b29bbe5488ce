// SPDX-License-Identifier: MIT

#include <memory>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/persist.hpp"
#include "mpsched/congestion.hpp"
#include "mpsched/spread.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct DetachOptions {
    std::vector<std::string> interfaces;
    bool all = false;
    bool persist = false;
};

Result<Reply> run_detach(const Context &context, const DetachOptions &options) {
    if (options.all && !options.interfaces.empty())
        return usage_error("'detach' takes interfaces or --all, not both", "leave one of them out");
    if (!options.all && options.interfaces.empty())
        return usage_error("'detach' needs IFACE or --all", "'mpsched status' shows what is attached");
    auto instance = context.open();
    MPS_TRY(instance);
    const auto congestion_before = congestion_rules(*instance);
    const auto spread_before = spread_status(*instance, false);
    auto result = instance->detach({.interfaces = options.interfaces, .all = options.all});
    MPS_TRY(result);

    Reply reply{.json = detach_json(*result), .text = {}, .warnings = result->warnings};
    if (result->interfaces.empty()) {
        reply.text = "nothing was attached\n";
    } else {
        reply.text = fmt::format("detached {}\n", text::printable(text::join(result->interfaces)));
        if (result->restored != 0)
            reply.text += fmt::format("gave {} back the backup bit the peer had asked for\n",
                                      text::count(result->restored, "subflow"));
        if (result->removed_everything)
            reply.text += "nothing of mpsched is left in this network namespace\n";
        if (!result->forgotten.empty())
            reply.text += fmt::format("forgotten with it: what 'path' has set for {}\n",
                                      text::printable(text::join(result->forgotten)));
    }
    if (!result->option_rules.empty())
        reply.text += fmt::format("gone with it: {}\n",
                                  text::count(result->option_rules.size(), "rule about MPTCP options"));
    const auto congestion_after = congestion_rules(*instance);
    if (congestion_before && congestion_after && congestion_before->size() > congestion_after->size())
        reply.text += fmt::format(
            "gone with it: {}; sockets have back what they had\n",
            text::count(congestion_before->size() - congestion_after->size(), "congestion control rule"));
    const auto spread_after = spread_status(*instance, false);
    if (spread_before && spread_after && spread_before->interfaces.size() > spread_after->interfaces.size())
        reply.text += "gone with it: 'spread'; subflows have the kernel's labels again\n";
    for (const std::string &subflow : result->unrestored)
        reply.warnings.push_back(
            fmt::format("could not be set back to what its peer asked for: {}", subflow));
    return reply;
}

} // namespace

void setup_detach(Binder &binder) {
    auto options = std::make_shared<DetachOptions>();
    binder.argument("IFACE", options->interfaces);
    binder.flag("--all", options->all);
    binder.flag("--persist", options->persist);
    binder.run([options](const Context &context) {
        const Kept kept{.what = Kept::What::detach, .names = options->interfaces};
        return lasting(context, options->persist, kept, [&] { return run_detach(context, *options); });
    });
}

} // namespace mps::cli
