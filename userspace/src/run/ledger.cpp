// SPDX-License-Identifier: MIT
#include "run/ledger.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace mps::run {

namespace {

struct Words {
    std::string_view key, text;
};

constexpr std::array<Words, plain_reasons> reasons{{
    {"refused", "the kernel refused MPTCP, see 'mpsched doctor'"},
    {"netns", "in a network namespace that could not be entered"},
    {"option", "with an option that MPTCP does not have"},
    {"unhandled", "when the supervisor was killed"},
}};

} // namespace

std::string_view to_string(Way way) { return way == Way::fmod_ret ? "fmod_ret" : "seccomp"; }

std::string text_of(const Ledger &ledger) {
    std::vector<std::string> parts;
    std::uint64_t plain = 0;
    for (std::size_t i = 0; i < plain_reasons; i++) {
        if (ledger.plain[i] > 0)
            parts.push_back(fmt::format("{} {}", ledger.plain[i].load(), reasons[i].text));
        plain += ledger.plain[i];
    }
    std::string text =
        fmt::format("{} socket{} became MPTCP", ledger.mptcp.load(), ledger.mptcp == 1 ? "" : "s");
    if (plain > 0)
        text += fmt::format("; {} stayed TCP: {}", plain, fmt::join(parts, ", "));
    return text;
}

Json json_of(const Ledger &ledger, Way way) {
    Json plain = Json::object();
    for (std::size_t i = 0; i < plain_reasons; i++)
        plain[std::string(reasons[i].key)] = ledger.plain[i].load();
    return {{"version", 2}, {"way", to_string(way)}, {"mptcp", ledger.mptcp.load()}, {"tcp", plain}};
}

} // namespace mps::run
