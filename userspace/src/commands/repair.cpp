// SPDX-License-Identifier: MIT

#include <memory>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "output/progress.hpp"
#include "output/text.hpp"
#include "watch/path_event_text.hpp"

namespace mps::cli {

namespace {

struct RepairOptions {
    bool force = false;
};

// Those of another version are left alone; what could be done elsewhere has been done, so it is no failure.
Result<void> leave_alone(const Error &error, Reply &reply) {
    if (error.code != ErrorCode::unsupported)
        return std::unexpected(error);
    reply.warnings.push_back(fmt::format("{}; {}", error.what, error.hint));
    return {};
}

// Of this network namespace: what its status recommends `repair` for.
Result<void> recover(const Context &context, Reply &reply) {
    reply.json["interfaces"] = Json::array();
    reply.json["subflows"] = Json::array();
    auto instance = context.open();
    if (!instance)
        return leave_alone(instance.error(), reply);
    if (!instance->installed())
        return {};
    const auto result = [&] {
        const output::Progress progress(context.globals.json, "attaching what lacks its programs");
        return instance->recover();
    }();
    if (!result)
        return leave_alone(result.error(), reply);
    for (const PathEvent &event : result->events) {
        reply.json["interfaces"].push_back({{"name", event.name},
                                            {"ifindex", event.ifindex},
                                            {"what", to_string(event.kind)},
                                            {"why", event.why.empty() ? Json(nullptr) : Json(event.why)}});
        reply.text += text::printable(watch::event_text(event)) + "\n";
        if (event.kind == PathEvent::Kind::failed)
            reply.exit_code = static_cast<int>(ErrorCode::failed);
    }
    reply.json["subflows"] = result->subflows;
    for (const std::string &subflow : result->subflows)
        reply.text += fmt::format("{} is no longer left as a backup\n", subflow);
    for (const std::string &subflow : result->unrestored)
        reply.warnings.push_back(
            fmt::format("could not be set back to what its peer asked for: {}", subflow));
    return {};
}

Result<Reply> run_repair(const Context &context, const RepairOptions &options) {
    const OpenOptions open = context.open_options();
    const auto removed = Instance::repair(open, options.force);
    MPS_TRY(removed);
    // What is left and not in order needs a person: say so instead of "nothing to repair".
    const auto left = Instance::list_all(open);
    if (!left && removed->empty())
        return std::unexpected(left.error());

    Reply reply{.json = {{"removed", *removed}, {"left", Json::array()}}, .text = {}};
    for (const std::string &line : *removed)
        reply.text += "removed " + line + "\n";
    MPS_TRY(recover(context, reply));
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
