// SPDX-License-Identifier: MIT

#include "mpsched/explain.hpp"

#include <memory>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/packet_filter.hpp"
#include "watch/explain_words.hpp"

namespace mps::cli {

namespace {

struct ExplainOptions {
    std::string connection;
};

Result<Reply> run_explain(const Context &context, const ExplainOptions &options) {
    const auto token = token_of_word(options.connection);
    MPS_TRY(token);
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto explanation = mps::explain(*instance, *token);
    MPS_TRY(explanation);
    return Reply{.json = watch::explanation_json(*explanation),
                 .text = watch::explanation_text(*explanation, context.style)};
}

} // namespace

void setup_explain(Binder &binder) {
    auto options = std::make_shared<ExplainOptions>();
    binder.argument("TOKEN", options->connection);
    binder.run([options](const Context &context) { return run_explain(context, *options); });
}

} // namespace mps::cli
