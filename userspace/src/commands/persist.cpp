// SPDX-License-Identifier: MIT

#include "commands/persist.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "base/try.hpp"
#include "commands/render.hpp"
#include "config/persist.hpp"
#include "output/text.hpp"
#include "service/client.hpp"

namespace mps::cli {

namespace {

// Looking into the kernel for it is worth it only then.
bool any_runs() {
    std::error_code error;
    const std::filesystem::directory_iterator folder(service::run_folder(), error);
    return std::ranges::any_of(folder, [](const auto &entry) { return entry.path().extension() == ".sock"; });
}

// What mpschedd of this network namespace answers; nullopt: there is none.
std::optional<Json> ask(const Context &context, std::string_view what) {
    if (!any_runs())
        return std::nullopt;
    const auto instance = context.open();
    const auto status = instance ? instance->status() : Result<Status>(std::unexpected(instance.error()));
    if (!status)
        return std::nullopt;
    return service::ask(status->netns_cookie, {{"do", what}}).value_or(std::nullopt);
}

Result<void> put(config::DropIn &drop_in, const Kept &kept) {
    const auto settings = parse_settings(kept.settings);
    MPS_TRY(settings);
    switch (kept.what) {
    case Kept::What::attach: {
        const auto role = parse_role(kept.role);
        MPS_TRY(role);
        drop_in.attach(kept.names, kept.mode, *role, kept.policy);
        return {};
    }
    case Kept::What::detach:
        drop_in.detach(kept.names);
        return {};
    case Kept::What::path:
        drop_in.path(kept.names.front(), *settings);
        return {};
    case Kept::What::forget:
        drop_in.forget(kept.names.front());
        return {};
    case Kept::What::use:
        drop_in.use(kept.policy, *settings, kept.selector, kept.direction);
        return {};
    case Kept::What::unuse:
        drop_in.unuse(kept.selector);
        return {};
    case Kept::What::set:
        break;
    }
    return drop_in.set(*settings, kept.selector);
}

} // namespace

Result<Reply> lasting(const Context &context, bool persist, const Kept &kept,
                      const std::function<Result<Reply>()> &run) {
    std::optional<config::DropIn> drop_in;
    if (persist) {
        auto opened = config::DropIn::open(config::default_path());
        MPS_TRY(opened);
        drop_in = std::move(*opened);
        MPS_TRY(put(*drop_in, kept));
        MPS_TRY(drop_in->check());
    }
    auto reply = run();
    if (!reply || reply->streamed)
        return reply;
    if (drop_in) {
        const auto file = drop_in->save();
        MPS_TRY(file);
        (void)ask(context, "adopt");
        reply->text += fmt::format("kept in {}\n", text::printable(*file));
    } else if (ask(context, "ping")) {
        reply->text += "a reload or start of mpschedd puts back what its files say; --persist keeps this\n";
    }
    return reply;
}

} // namespace mps::cli
