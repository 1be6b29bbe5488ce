// SPDX-License-Identifier: MIT

#include <memory>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

struct StatsOptions {
    bool all = false;
};

Result<Reply> run_stats(const Context &context, const StatsOptions &options) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto counters = instance->stats();
    MPS_TRY(counters);

    Reply reply{.json = stats_json(*counters), .text = {}};
    output::Table table({{"counter"}, {"value", output::Align::right}, {"what it counts"}});
    for (const CounterValue &counter : *counters) {
        if (counter.value != 0 || options.all)
            table.add({counter.name, text::grouped(counter.value), {counter.text, output::Paint::dim}});
    }
    reply.text = table.empty() ? "all counters are zero; 'mpsched stats --all' lists them\n"
                               : table.render(context.style);
    return reply;
}

} // namespace

void setup_stats(Binder &binder) {
    auto options = std::make_shared<StatsOptions>();
    binder.flag("--all", options->all);
    binder.run([options](const Context &context) { return run_stats(context, *options); });
}

} // namespace mps::cli
