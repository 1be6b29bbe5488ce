// SPDX-License-Identifier: MIT

#include <memory>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "mpsched/nearest.hpp"
#include "output/text.hpp"
#include "table/help.hpp"

namespace mps::cli {

namespace {

struct HelpOptions {
    std::vector<std::string> words;
};

Result<Reply> run_help(const Context &context, const HelpOptions &options) {
    const std::string name = text::join(options.words, " ");
    std::string text;
    if (name.empty()) {
        text = table::help_overview(context.style);
    } else if (const table::Command *command = table::find_command(name)) {
        text = table::help_command(*command, context.style);
    } else if (!table::sub_verbs(name).empty()) {
        text = table::help_verb(name, context.style);
    } else {
        std::vector<std::string> names;
        for (const table::Command &one : table::commands())
            names.push_back(one.name());
        return usage_error(fmt::format("unknown command {}", text::quoted(name)),
                           fmt::format("{}commands: {}", did_you_mean(name, names), text::join(names)));
    }
    return Reply{.json = {{"help", text}}, .text = text};
}

} // namespace

void setup_help(Binder &binder) {
    auto options = std::make_shared<HelpOptions>();
    binder.argument("COMMAND", options->words);
    binder.run([options](const Context &context) { return run_help(context, *options); });
}

} // namespace mps::cli
