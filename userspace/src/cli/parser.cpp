// SPDX-License-Identifier: MIT

#include "cli/parser.hpp"

#include <algorithm>
#include <memory>
#include <ranges>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/numbers.hpp"
#include "base/try.hpp"
#include "cli/binder.hpp"
#include "commands/commands.hpp"
#include "mpsched/nearest.hpp"
#include "output/text.hpp"

namespace mps::cli {

std::unexpected<Error> usage_error(std::string what, std::string hint) {
    return fail(ErrorCode::usage, std::move(what), std::move(hint));
}

namespace {

Result<std::uint32_t> wait_seconds(const std::string &text) {
    constexpr std::uint32_t most = 86'400;
    const auto seconds = parse_number<std::uint32_t>(text);
    if (!seconds || *seconds > most)
        return usage_error(fmt::format("'{}' is no number of seconds to wait", text::printable(text)),
                           fmt::format("--wait takes 0 (do not wait) to {}", most));
    return *seconds;
}

std::vector<std::string> strings(const std::vector<std::string_view> &views) {
    return {views.begin(), views.end()};
}

std::string usage_of(const table::Command &command) {
    return fmt::format("usage: {} {}", table::program, command.synopsis());
}

std::string all_commands() {
    return fmt::format("commands: {}; '{} help' tells what they do", text::join(table::verbs()),
                       table::program);
}

// The CLI11 application made from the table, for one parse.
class Parser {
  public:
    Parser();
    Result<Invocation> parse(const std::vector<std::string> &words);

  private:
    struct Global {
        const table::Option *spec;
        CLI::Option *option;
    };

    void add_command(const CommandCode &code);
    // How far the words could be followed: "", "policy", "policy list".
    [[nodiscard]] std::string reached() const;
    [[nodiscard]] Binder *binder(std::string_view name);
    [[nodiscard]] const table::Option *known_option(std::string_view word, std::string_view command) const;
    [[nodiscard]] bool given(std::string_view global) const;
    // The words of help or version, where these were asked for and win over everything else.
    [[nodiscard]] std::optional<std::vector<std::string>> instead() const;
    [[nodiscard]] Result<void> read_globals(Invocation &invocation) const;
    std::unexpected<Error> explain(const CLI::ParseError &error, const std::vector<std::string> &words);
    std::unexpected<Error> explain_extra(const std::string &extra);
    std::unexpected<Error> explain_mismatch(const CLI::ParseError &error,
                                            const std::vector<std::string> &words);
    std::unexpected<Error> explain_missing();

    CLI::App app_{"", std::string(table::program)};
    std::vector<Global> globals_;
    std::map<std::string, CLI::App *> groups_; // verbs with sub-verbs
    std::vector<std::unique_ptr<Binder>> binders_;
};

Parser::Parser() {
    // Inherited by all subcommands: what one does not know is offered to its parent, so global options are
    // accepted anywhere on the line.
    app_.fallthrough();
    app_.require_subcommand(1);
    app_.set_help_flag();
    for (const table::Option &spec : table::global_options()) {
        CLI::Option *option = nullptr;
        if (spec.is_flag()) {
            option = app_.add_flag(cli11_name(spec))->disable_flag_override();
            option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
        } else {
            option = app_.add_option(cli11_name(spec), [](const CLI::results_t &) { return true; });
            option->allow_extra_args(false);
        }
        globals_.push_back({&spec, option});
    }
    for (const CommandCode &code : command_codes)
        add_command(code);
    for (const table::Command &command : table::commands())
        if (binder(command.name()) == nullptr)
            throw std::logic_error(fmt::format("no code for the command '{}'", command.name()));
}

void Parser::add_command(const CommandCode &code) {
    const table::Command *command = table::find_command(code.name);
    if (command == nullptr)
        throw std::logic_error(fmt::format("the command '{}' is not in the table", code.name));
    CLI::App *parent = &app_;
    if (!command->sub_verb.empty()) {
        const std::string verb(command->verb);
        CLI::App *&group = groups_[verb];
        if (group == nullptr) {
            group = app_.add_subcommand(verb);
            group->require_subcommand(1);
        }
        parent = group;
    }
    CLI::App *own =
        parent->add_subcommand(std::string(command->sub_verb.empty() ? command->verb : command->sub_verb));
    binders_.push_back(std::make_unique<Binder>(*own, *command));
    code.setup(*binders_.back());
    binders_.back()->check_complete();
}

std::string Parser::reached() const {
    std::string name;
    for (const CLI::App *at = &app_; !at->get_subcommands().empty();) {
        at = at->get_subcommands().front();
        name += (name.empty() ? "" : " ") + at->get_name();
    }
    return name;
}

Binder *Parser::binder(std::string_view name) {
    const auto found =
        std::ranges::find_if(binders_, [&](const auto &one) { return one->command().name() == name; });
    return found == binders_.end() ? nullptr : found->get();
}

const table::Option *Parser::known_option(std::string_view word, std::string_view command) const {
    const auto is = [&](const table::Option &option) {
        return word == option.name || (!option.short_name.empty() && word == option.short_name);
    };
    for (const Global &global : globals_)
        if (is(*global.spec))
            return global.spec;
    if (const table::Command *found = table::find_command(command))
        for (const table::Option &option : found->options)
            if (is(option))
                return &option;
    return nullptr;
}

bool Parser::given(std::string_view global) const {
    return std::ranges::any_of(
        globals_, [&](const Global &one) { return one.spec->name == global && one.option->count() > 0; });
}

// An option that does not exist is told all the same.
std::optional<std::vector<std::string>> Parser::instead() const {
    if (!given("--help") && !given("--version"))
        return std::nullopt;
    const bool unknown_option = std::ranges::any_of(
        app_.remaining(true), [](const std::string &word) { return word.starts_with('-'); });
    if (unknown_option)
        return std::nullopt;
    std::vector<std::string> words{given("--help") ? "help" : "version"};
    if (given("--help"))
        for (const auto &word : std::views::split(reached(), ' '))
            if (!word.empty())
                words.emplace_back(word.begin(), word.end());
    if (given("--json"))
        words.emplace_back("--json");
    return words;
}

Result<void> Parser::read_globals(Invocation &invocation) const {
    for (const Global &global : globals_) {
        if (global.option->count() == 0)
            continue;
        if (!global.spec->is_flag()) {
            const std::string &value = global.option->results().front();
            MPS_TRY(check_value(*global.spec, value, ""));
            if (value.empty())
                return usage_error(fmt::format("option '{}' has an empty value", global.spec->name),
                                   fmt::format("give a {}, or leave the option out", global.spec->value));
        }
        invocation.given[std::string(global.spec->name)] = global.option->results();
    }
    invocation.globals.json = given("--json");
    invocation.globals.verbose = given("--verbose");
    if (given("--netns"))
        invocation.globals.netns = invocation.given["--netns"].front();
    if (given("--wait")) {
        const auto seconds = wait_seconds(invocation.given["--wait"].front());
        MPS_TRY(seconds);
        invocation.globals.wait_s = *seconds;
    }
    return {};
}

Result<Invocation> Parser::parse(const std::vector<std::string> &words) {
    // CLI11 takes "--netns=" for "--netns" and would use the next word as its value.
    for (const std::string &word : words) {
        if (word == "--")
            break;
        if (word.size() > 3 && word.starts_with("--") && word.find('=') == word.size() - 1)
            return usage_error(fmt::format("option {} has an empty value", text::quoted(word)),
                               "give a value after the '=', or leave the option out");
    }

    std::vector<std::string> reversed(words.rbegin(), words.rend());
    std::optional<std::unexpected<Error>> failure;
    try {
        app_.parse(reversed);
    } catch (const CLI::ParseError &error) {
        failure = explain(error, words);
    }

    if (const auto words_instead = instead())
        return Parser().parse(*words_instead);
    if (failure)
        return *failure;

    Binder *chosen = binder(reached());
    if (chosen == nullptr)
        throw std::logic_error("parsed a command without code: " + reached());
    Invocation invocation{.command = &chosen->command(), .globals = {}};
    MPS_TRY(read_globals(invocation));

    MPS_TRY(chosen->store());
    for (const auto &[name, option] : chosen->bound())
        if (option->count() > 0)
            invocation.given[name] = option->results();
    invocation.run = chosen->runner();
    return invocation;
}

std::unexpected<Error> Parser::explain(const CLI::ParseError &error, const std::vector<std::string> &words) {
    if (dynamic_cast<const CLI::ArgumentMismatch *>(&error) != nullptr)
        return explain_mismatch(error, words);
    if (const auto extras = app_.remaining(true); !extras.empty())
        return explain_extra(extras.front());
    if (dynamic_cast<const CLI::RequiredError *>(&error) != nullptr)
        return explain_missing();
    return usage_error(text::printable(error.what()), all_commands());
}

std::unexpected<Error> Parser::explain_extra(const std::string &extra) {
    const std::string at = reached();
    const table::Command *command = table::find_command(at);
    const std::vector<std::string> sub_verbs = strings(table::sub_verbs(at));

    if (extra.size() > 1 && extra.starts_with('-')) {
        std::vector<std::string> own, everywhere;
        if (command != nullptr)
            for (const table::Option &option : command->options)
                own.emplace_back(option.name);
        for (const table::Option &option : table::global_options())
            everywhere.emplace_back(option.name);
        std::vector<std::string> all = own;
        all.insert(all.end(), everywhere.begin(), everywhere.end());
        const std::string name = extra.substr(0, extra.find('='));
        if (std::ranges::find(own, name) != own.end())
            return usage_error(fmt::format("option '{}' stands before its command", name),
                               fmt::format("write it after '{}'; only these are accepted anywhere: {}", at,
                                           text::join(everywhere)));
        // The option may simply belong to another command.
        std::vector<std::string> elsewhere;
        for (const table::Command &other : table::commands())
            if (std::ranges::find(other.options, name, &table::Option::name) != other.options.end())
                elsewhere.push_back(fmt::format("'{} {} {}'", table::program, other.name(), name));
        std::string hint = elsewhere.empty() ? did_you_mean(name, all)
                                             : fmt::format("there is {}; ", text::join(elsewhere, " and "));
        if (!own.empty())
            hint += fmt::format("options of '{}': {}; ", at, text::join(own));
        else if (command != nullptr)
            hint += fmt::format("'{}' has no options of its own; ", at);
        hint += "everywhere: " + text::join(everywhere);
        return usage_error(command == nullptr
                               ? fmt::format("unknown option {}", text::quoted(extra))
                               : fmt::format("unknown option {} of '{}'", text::quoted(extra), at),
                           hint);
    }
    if (command != nullptr)
        return usage_error(fmt::format("unexpected argument {} of '{}'", text::quoted(extra), at),
                           usage_of(*command));
    if (!sub_verbs.empty())
        return usage_error(fmt::format("unknown command '{} {}'", at, text::printable(extra.substr(0, 60))),
                           fmt::format("{}'{}' takes: {}", did_you_mean(extra, sub_verbs, at + " "), at,
                                       text::join(sub_verbs)));
    // Someone may try "load" for "policy load".
    std::vector<std::string> seconds;
    for (const table::Command &other : table::commands())
        if (other.sub_verb == extra)
            seconds.push_back(other.name());
    const auto absent = std::ranges::find(table::absent_commands(), extra, &table::Term::term);
    if (absent != table::absent_commands().end())
        return usage_error(fmt::format("unknown command {}", text::quoted(extra)),
                           fmt::format("{}; {}", absent->text, all_commands()));
    const std::string meant = seconds.empty() ? did_you_mean(extra, strings(table::verbs()))
                                              : fmt::format("did you mean '{}'? ", seconds.front());
    return usage_error(fmt::format("unknown command {}", text::quoted(extra)), meant + all_commands());
}

std::unexpected<Error> Parser::explain_mismatch(const CLI::ParseError &error,
                                                const std::vector<std::string> &words) {
    const std::string at = reached();
    if (!words.empty())
        if (const table::Option *last = known_option(words.back(), at); last != nullptr && !last->is_flag())
            return usage_error(fmt::format("option '{}' needs a value {}", words.back(), last->value),
                               last->allowed.empty() ? std::string(last->text)
                                                     : "valid are: " + text::join(last->allowed));
    const auto check = [&](const table::Option &spec, const CLI::Option *option) -> std::optional<Error> {
        if (!spec.is_flag() && !spec.repeats && option->count() > 1)
            return Error{.code = ErrorCode::usage,
                         .what = fmt::format("option '{}' was given {} times", spec.name, option->count()),
                         .hint = "give it once"};
        return {};
    };
    for (const Global &global : globals_)
        if (auto found = check(*global.spec, global.option))
            return std::unexpected(*found);
    if (Binder *chosen = binder(at))
        for (const table::Option &option : chosen->command().options)
            if (auto found = check(option, chosen->bound().at(std::string(option.name))))
                return std::unexpected(*found);
    for (const std::string &word : words) {
        const std::string name = word.substr(0, word.find('='));
        const table::Option *option = known_option(name, at);
        if (option != nullptr && option->is_flag() && name != word)
            return usage_error(fmt::format("option '{}' takes no value", name),
                               fmt::format("write only '{}'", name));
    }
    return usage_error(text::printable(error.what()), all_commands());
}

std::unexpected<Error> Parser::explain_missing() {
    const std::string at = reached();
    const auto sub_verbs = table::sub_verbs(at);
    if (Binder *chosen = binder(at))
        for (const table::Argument &argument : chosen->command().arguments)
            if (argument.required && chosen->bound().at(std::string(argument.name))->count() == 0)
                return usage_error(fmt::format("'{}' needs {}: {}", at, argument.name, argument.text),
                                   usage_of(chosen->command()));
    if (!sub_verbs.empty())
        return usage_error(fmt::format("'{}' alone is no command", at),
                           fmt::format("'{}' takes: {}", at, text::join(sub_verbs)));
    return usage_error("no command given", all_commands());
}

} // namespace

int wanted_json(const std::vector<std::string> &words) {
    int form = 0;
    for (const std::string &word : words) {
        if (word == "--")
            break;
        if (word == "--json" || word == "--json=1")
            form = 1;
        else if (word == "--json=2")
            form = 2;
    }
    return form;
}

Result<Invocation> parse(const std::vector<std::string> &words) {
    // To CLI11 --json is a flag; which form it asks for is read here.
    std::vector<std::string> plain = words;
    for (std::string &word : plain) {
        if (word == "--")
            break;
        if (word == "--json=1" || word == "--json=2")
            word = "--json";
        else if (word.starts_with("--json=") && word != "--json=")
            return usage_error(fmt::format("option '--json' cannot be {}", text::quoted(word.substr(7))),
                               "valid are: 1 (as without a number), 2 (every document tells its version)");
    }
    auto invocation = Parser().parse(plain);
    if (invocation)
        invocation->globals.json_form = wanted_json(words);
    return invocation;
}

} // namespace mps::cli
