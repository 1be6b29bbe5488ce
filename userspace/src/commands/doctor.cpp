// SPDX-License-Identifier: MIT

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "commands/render.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

using output::Paint;

std::string finding_text(const Diagnosis &one, const output::Style &style) {
    const bool problem = one.severity == Diagnosis::Severity::problem;
    const auto line = [&](std::string_view label, const std::string &text) {
        return text.empty() ? "" : fmt::format("  {:<5}{}\n", label, text::printable(text));
    };
    return fmt::format("{} {}\n", style(problem ? Paint::bad : Paint::warn, problem ? "problem:" : "note:"),
                       text::printable(one.what)) +
           line("why", one.why) + line("next", one.next);
}

Result<Reply> run_doctor(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    Reply reply{.json = {{"problems", status->problems.size()}, {"findings", Json::array()}}, .text = {}};
    for (const Diagnosis &one : status->findings) {
        reply.json["findings"].push_back(finding_json(one));
        reply.text += finding_text(one, context.style);
    }
    if (status->findings.empty())
        reply.text = "nothing found: what is attached is steered\n";
    if (!status->problems.empty())
        reply.exit_code = static_cast<int>(ErrorCode::failed);
    return reply;
}

} // namespace

void setup_doctor(Binder &binder) { binder.run(run_doctor); }

} // namespace mps::cli
