// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Help, manual page, completion and documentation say what the command table says: no more, no less.

#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "process.hpp"
#include "table/command_table.hpp"

namespace {

using mps::table::Command;
using mps::table::Option;
using Names = std::set<std::string>;

std::string read_file(const char *path) {
    std::ifstream file(path);
    REQUIRE(file);
    return {std::istreambuf_iterator<char>(file), {}};
}

Names long_options_in(const std::string &text) {
    static const std::regex pattern("(^|[^-a-z])(--[a-z][a-z-]*)");
    Names found;
    for (std::sregex_iterator at(text.begin(), text.end(), pattern), end; at != end; ++at)
        found.insert((*at)[2]);
    return found;
}

Names names_of(std::span<const Option> options) {
    Names names;
    for (const Option &option : options)
        names.emplace(option.name);
    return names;
}

Names all_options() {
    Names names = names_of(mps::table::global_options());
    for (const Command &command : mps::table::commands())
        names.merge(names_of(command.options));
    return names;
}

// The manual page as plain text: what of roff we use.
std::string plain(std::string roff) {
    const std::vector<std::pair<std::string, std::string>> replacements{
        {"\\-", "-"},   {"\\fB", ""},       {"\\fI", ""}, {"\\fR", ""},
        {"\\(aq", "'"}, {"\\[u2026]", "…"}, {"\\&", ""}};
    for (const auto &[from, to] : replacements)
        for (std::size_t at = roff.find(from); at != std::string::npos; at = roff.find(from, at + to.size()))
            roff.replace(at, from.size(), to);
    return roff;
}

// What of `text` describes a command: from its heading to the next of the same kind.
std::string section(const std::string &text, const std::string &heading, const std::string &next) {
    const std::size_t from = text.find(heading);
    INFO("heading: " << heading);
    REQUIRE(from != std::string::npos);
    return text.substr(from, text.find(next, from + heading.size()) - from);
}

std::string output_of(const std::vector<std::string> &words) {
    const auto outcome = mps::test::run(words);
    INFO(outcome.err);
    REQUIRE(outcome.exit_code == 0);
    CHECK(outcome.err.empty());
    return outcome.out;
}

// What bash offers at the end of `line`.
Names completions(const std::string &line) {
    const std::string script = "source " MPS_COMPLETION "\n"
                               "mpsched() { " MPS_FAKE_CLI " \"$@\"; }\n"
                               "COMP_LINE='" +
                               line + "' COMP_POINT=" + std::to_string(line.size()) +
                               "\n_mpsched\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n";
    const auto outcome = mps::test::run({"bash", "--norc", "-s"}, {.input = script});
    INFO(line);
    CHECK(outcome.err.empty());
    REQUIRE(outcome.exit_code == 0);
    std::istringstream lines(outcome.out);
    Names names;
    for (std::string one; std::getline(lines, one);)
        if (!one.empty())
            names.insert(one);
    return names;
}

} // namespace

TEST_CASE("--help lists every command and every global option, and no other", "[cli]") {
    const std::string help = output_of({MPS_CLI, "--help"});
    for (const Command &command : mps::table::commands()) {
        INFO(command.name());
        CHECK(help.contains("\n  " + command.name() + " "));
        CHECK(help.contains(command.summary));
    }
    Names expected = names_of(mps::table::global_options());
    for (const mps::table::Example &example : mps::table::examples()) {
        CHECK(help.contains("mpsched " + std::string(example.line)));
        expected.merge(long_options_in(std::string(example.line)));
    }
    // Some summaries name an option.
    for (const Command &command : mps::table::commands())
        expected.merge(long_options_in(std::string(command.summary)));
    CHECK(long_options_in(help) == expected);
    for (const mps::table::ExitCode &code : mps::table::exit_codes())
        CHECK(help.contains("\n  " + std::to_string(code.code) + "  " + std::string(code.text)));
    for (const char *later : {"top", "trace", "daemon"})
        CHECK_FALSE(help.contains("\n  " + std::string(later) + " "));
}

TEST_CASE("the help of a command lists its arguments and options, and only options that exist", "[cli]") {
    const Names known = all_options();
    for (const Command &command : mps::table::commands()) {
        std::vector<std::string> words{MPS_CLI, "help", std::string(command.verb)};
        if (!command.sub_verb.empty())
            words.emplace_back(command.sub_verb);
        const std::string help = output_of(words);
        INFO(help);
        CHECK(help.contains("usage: mpsched " + command.synopsis()));
        const Names mentioned = long_options_in(help);
        for (const std::string &name : mentioned) {
            INFO(name);
            CHECK(known.contains(name));
        }
        for (const Option &option : command.options) {
            CHECK(mentioned.contains(std::string(option.name)));
            for (const std::string_view value : option.allowed)
                CHECK(help.contains(value));
        }
        for (const mps::table::Argument &argument : command.arguments)
            CHECK(help.contains("\n  " + std::string(argument.name) + " "));
    }
}

TEST_CASE("the manual page describes every command and option, and only those", "[cli]") {
    const std::string page = plain(read_file(MPS_MAN_PAGE));
    const Names known = all_options();
    CHECK(long_options_in(page) == known);
    for (const Command &command : mps::table::commands()) {
        const std::string text = section(page, ".SS \"" + command.synopsis() + "\"", "\n.S");
        INFO(text);
        for (const Option &option : command.options) {
            CHECK(text.contains(option.text));
            CHECK(text.contains("\n" +
                                (option.short_name.empty() ? "" : std::string(option.short_name) + ", ") +
                                std::string(option.name)));
        }
        for (const mps::table::Argument &argument : command.arguments)
            CHECK(text.contains(argument.text));
    }
    for (const Option &option : mps::table::global_options())
        CHECK(page.contains(option.text));
    for (const mps::table::ExitCode &code : mps::table::exit_codes())
        CHECK(page.contains(code.text));
    for (const mps::table::Term &term : mps::table::selector_terms())
        CHECK(page.contains(term.term));
    // Number of sections: no command that the table does not have.
    std::size_t sections = 0;
    for (std::size_t at = page.find("\n.SS "); at != std::string::npos; at = page.find("\n.SS ", at + 1))
        sections++;
    CHECK(sections == mps::table::commands().size());
}

TEST_CASE("docs/commands.md is what the table says", "[cli]") {
    INFO("after a change of the table: build/bin/tools/mpsched-generate markdown >docs/commands.md");
    CHECK(read_file(MPS_COMMANDS_DOC) == output_of({MPS_GENERATE, "markdown"}));
}

TEST_CASE("completion offers every verb and every option, and no other", "[cli]") {
    Names verbs;
    for (const std::string_view verb : mps::table::verbs())
        verbs.emplace(verb);
    CHECK(completions("mpsched ") == verbs);
    CHECK(completions("mpsched --netns client ") == verbs);
    CHECK(completions("mpsched --json sta") == Names{"status", "stats"});

    Names globals;
    for (const Option &option : mps::table::global_options()) {
        globals.emplace(option.name);
        if (!option.short_name.empty())
            globals.emplace(option.short_name);
    }
    CHECK(completions("mpsched -") == globals);
    for (const Command &command : mps::table::commands()) {
        Names expected = globals;
        for (const Option &option : command.options) {
            expected.emplace(option.name);
            if (!option.short_name.empty())
                expected.emplace(option.short_name);
        }
        CHECK(completions("mpsched " + command.name() + " -") == expected);
    }
}

TEST_CASE("completion offers values where they are due", "[cli]") {
    CHECK(completions("mpsched policy ") == Names{"list", "show", "load", "unload"});
    CHECK(completions("mpsched attach lo --mode ") == Names{"auto", "native", "generic", "tc"});
    CHECK(completions("mpsched attach lo --mode n") == Names{"native"});
    CHECK(completions("mpsched attach ").contains("lo"));
    CHECK(completions("mpsched path lo w") == Names{"weight="});
    // Policies and parameters come from mpsched itself.
    CHECK(completions("mpsched policy unload ") == Names{"default", "weighted", "active-standby"});
    CHECK(completions("mpsched --netns x use we").contains("weighted"));
    CHECK(completions("mpsched use weighted -s ") == Names{"quantum_ms="});
    CHECK(completions("mpsched set ") == Names{"quantum_ms="});
    CHECK(completions("mpsched use weighted --for r") == Names{"remote=", "rport="});
    // Readline replaces only what follows the last '='.
    CHECK(completions("mpsched use weighted --for rport=443,ma") == Names{"443,mark="});
}
