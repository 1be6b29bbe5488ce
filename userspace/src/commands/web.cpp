// SPDX-License-Identifier: MIT

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "output/text.hpp"
#include "service/client.hpp"

namespace mps::cli {

namespace {

Result<Reply> run_web(const Context &context) {
    const auto instance = context.open();
    if (!instance)
        return std::unexpected(instance.error());
    const auto status = instance->status();
    if (!status)
        return std::unexpected(status.error());
    const auto answer = service::demand(status->netns_cookie, "web");
    if (!answer)
        return std::unexpected(answer.error());
    const std::string url = answer->value("url", "");
    return Reply{.json = {{"url", url}}, .text = text::printable(url) + "\n"};
}

} // namespace

void setup_web(Binder &binder) { binder.run(run_web); }

} // namespace mps::cli
