// SPDX-License-Identifier: MIT

#include <cstdio>
#include <exception>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "config/sections.hpp"
#include "mpsched/version.hpp"
#include "output/text.hpp"
#include "service/daemon.hpp"
#include "service/options.hpp"

namespace {

using mps::Result;
using mps::service::Options;

int report(const mps::Error &error) {
    fmt::print(stderr, "mpschedd: {}\n", mps::text::printable(error.what));
    for (const std::string &line : mps::text::lines(mps::text::printable(error.detail, true)))
        fmt::print(stderr, "    {}\n", line);
    if (!error.hint.empty())
        fmt::print(stderr, "  hint: {}\n", mps::text::printable(error.hint));
    return static_cast<int>(error.code);
}

void print_help() {
    fmt::print("usage: mpschedd{}\n\n{}\n\n", mps::service::synopsis(), mps::service::tagline);
    for (const auto &option : mps::service::options())
        fmt::print("  {:16}  {}\n", fmt::format("{} {}", option.name, option.value), option.text);
}

std::string *place_of(Options &options, std::string_view word) {
    const std::pair<std::string_view, std::string *> all[] = {
        {"--config", &options.config},
        {"--netns", &options.netns},
        {"--state", &options.state},
        {"--watch", &options.watch.address},
        {"--watch-as", &options.watch.node},
        {"--watch-login", &options.watch.login_file},
        {"--watch-ca", &options.watch.tls.authority},
        {"--watch-cert", &options.watch.tls.certificate},
        {"--watch-cert-key", &options.watch.tls.key},
    };
    for (const auto &[name, place] : all)
        if (name == word)
            return place;
    return nullptr;
}

Result<Options> parse(const std::vector<std::string_view> &words) {
    Options options{
        .config = mps::config::default_path(), .netns = "", .state = mps::service::state_folder()};
    std::string_view of_watch;
    for (std::size_t i = 0; i < words.size(); i++) {
        const std::string_view word = words[i];
        std::string *target = place_of(options, word);
        if (!target)
            return mps::fail(mps::ErrorCode::usage, fmt::format("mpschedd has no option '{}'", word),
                             fmt::format("usage: mpschedd{}", mps::service::synopsis()));
        if (i + 1 == words.size() || words[i + 1].empty())
            return mps::fail(mps::ErrorCode::usage, fmt::format("option '{}' needs a value", word),
                             fmt::format("usage: mpschedd{}", mps::service::synopsis()));
        if (word.starts_with("--watch-"))
            of_watch = word;
        *target = words[++i];
    }
    if (!of_watch.empty() && options.watch.address.empty())
        return mps::fail(mps::ErrorCode::usage, fmt::format("{} needs --watch as well", of_watch),
                         "--watch names the store");
    return options;
}

} // namespace

int main(int argc, char **argv) {
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    for (const std::string_view word : words) {
        if (word == "--help" || word == "-h") {
            print_help();
            return 0;
        }
        if (word == "--version") {
            fmt::print("mpschedd {}\n", mps::version());
            return 0;
        }
    }
    try {
        const auto options = parse(words);
        if (!options)
            return report(options.error());
        const auto done = mps::service::run(*options);
        return done ? 0 : report(done.error());
    } catch (const std::exception &error) {
        return report({.what = fmt::format("internal error: {}", error.what()),
                       .hint = "this is a bug in mpschedd; please report it"});
    }
}
