// SPDX-License-Identifier: MIT

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/commands.hpp"
#include "output/text.hpp"
#include "service/client.hpp"

namespace mps::cli {

namespace {

Result<Reply> run_web(const Context &context) {
    const auto instance = context.open();
    MPS_TRY(instance);
    const auto status = instance->status();
    MPS_TRY(status);
    const auto answer = service::demand(status->netns_cookie, "web");
    MPS_TRY(answer);
    const std::string url = answer->value("url", "");
    return Reply{.json = {{"url", url}}, .text = text::printable(url) + "\n"};
}

} // namespace

void setup_web(Binder &binder) { binder.run(run_web); }

} // namespace mps::cli
