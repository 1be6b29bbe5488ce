// SPDX-License-Identifier: MIT

#include <memory>

#include <fmt/format.h>

#include "commands/commands.hpp"

namespace mps::cli {

namespace {

struct RepairOptions {
    bool force = false;
};

Result<Reply> run_repair(const Context &context, const RepairOptions &options) {
    const OpenOptions open = context.open_options();
    const auto removed = Instance::repair(open, options.force);
    if (!removed)
        return std::unexpected(removed.error());
    // What is left and not in order needs a person: say so instead of "nothing to repair".
    const auto left = Instance::list_all(open);
    if (!left && removed->empty())
        return std::unexpected(left.error());

    Reply reply{.json = {{"removed", *removed}, {"left", Json::array()}}, .text = {}};
    for (const std::string &line : *removed)
        reply.text += "removed " + line + "\n";
    if (!left)
        reply.warnings.push_back(fmt::format("{}; {}", left.error().what, left.error().hint));
    for (const Installation &one : left.value_or(std::vector<Installation>{})) {
        if (one.state == Installation::State::complete || one.at_work)
            continue;
        reply.json["left"].push_back(
            {{"path", one.path}, {"state", to_string(one.state)}, {"text", one.text}});
        reply.warnings.push_back(fmt::format(
            "left alone: {} ({}): {}{}", one.path, to_string(one.state), one.text,
            (one.state == Installation::State::other_abi || one.state == Installation::State::unreachable) &&
                    !options.force
                ? "; 'mpsched repair --force' removes it"
                : ""));
    }
    if (reply.text.empty())
        reply.text = "nothing to repair\n";
    return reply;
}

} // namespace

void setup_repair(Binder &binder) {
    auto options = std::make_shared<RepairOptions>();
    binder.flag("--force", options->force);
    binder.run([options](const Context &context) { return run_repair(context, *options); });
}

} // namespace mps::cli
