// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
//
// Help, manual page, completion and documentation say what the command table says: no more, no less.

#include <iterator>
#include <regex>
#include <set>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include "catch.hpp"
#include "config/keys.hpp"
#include "mpsched/params.hpp"
#include "process.hpp"
#include "table/command_table.hpp"
#include "temporary_folder.hpp"

namespace {

using mps::table::Command;
using mps::table::Option;
using Names = std::set<std::string>;
using mps::test::file_text;

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

Names words_of(const std::string &text) {
    std::istringstream lines(text);
    Names names;
    for (std::string one; std::getline(lines, one);)
        if (!one.empty())
            names.insert(one);
    return names;
}

Names run_shell(const std::vector<std::string> &shell, const std::string &line, const std::string &script) {
    const auto outcome = mps::test::run(shell, {.input = script});
    INFO(shell.front() << ": " << line);
    CHECK(outcome.err.empty());
    REQUIRE(outcome.exit_code == 0);
    return words_of(outcome.out);
}

// What bash offers at the end of `line`; `cli` answers what the script asks.
Names completions(const std::string &line, const std::string &cli = MPS_FAKE_CLI) {
    return run_shell({"bash", "--norc", "-s"}, line,
                     "source " MPS_COMPLETION ".bash\n"
                     "mpsched() { " +
                         cli +
                         " \"$@\"; }\n"
                         "COMP_LINE='" +
                         line + "' COMP_POINT=" + std::to_string(line.size()) +
                         "\n_mpsched\nprintf '%s\\n' \"${COMPREPLY[@]}\"\n");
}

// zsh's own part, matching and showing, is left out: its builtins print what they are given.
Names zsh_completions(const std::string &line) {
    return run_shell(
        {"zsh", "-f", "-s"}, line,
        "compdef() { : }\ncompset() { [[ $cur == ${~2}* ]] && cut=${(M)cur##${~2}}; return 0 }\n"
        "compadd() { local n; while [[ $1 == -* && $1 != -- ]]; do [[ $1 == -S ]] && shift; shift; "
        "done; shift; for n; do [[ $cut$n == $cur* ]] && print -r -- $cut$n; done }\n"
        "cut=''\nmpsched() { " MPS_FAKE_CLI " \"$@\" }\n"
        "source " MPS_COMPLETION ".zsh\nwords=(${(s: :)${:-\"" +
            line + "\"}})\n" + (line.ends_with(' ') ? "words+=('')\n" : "") +
            "CURRENT=$#words\n_mpsched\ntrue\n");
}

Names fish_completions(const std::string &line) {
    const Names lines = run_shell({"fish", "--no-config"}, line,
                                  "function mpsched; " MPS_FAKE_CLI " $argv; end\n"
                                  "source " MPS_COMPLETION ".fish\ncomplete -C '" +
                                      line + "'\n");
    Names names;
    for (const std::string &one : lines)
        names.insert(one.substr(0, one.find('\t')));
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
    for (const char *later : {"monitor", "daemon"})
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
    const std::string page = plain(file_text(MPS_MAN_PAGE));
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
    CHECK(file_text(MPS_COMMANDS_DOC) == output_of({MPS_GENERATE, "markdown"}));
}

TEST_CASE("docs/options.md is what the description of the options says", "[cli]") {
    INFO("after a change of mptcp_options.h: build/bin/tools/mpsched-generate options >docs/options.md");
    CHECK(file_text(MPS_OPTIONS_DOC) == output_of({MPS_GENERATE, "options"}));
}

TEST_CASE("docs/configuration.md and mpsched.toml(5) are what the table of keys says", "[cli]") {
    INFO(
        "after a change of the table: build/bin/tools/mpsched-generate settings-markdown >docs/configuration.md");
    CHECK(file_text(MPS_SOURCE_DIR "/docs/configuration.md") ==
          output_of({MPS_GENERATE, "settings-markdown"}));
    const std::string page = plain(output_of({MPS_GENERATE, "settings-man"}));
    for (const mps::config::Key &key : mps::config::keys()) {
        INFO(key.name);
        CHECK(page.contains("\n" + std::string(key.name) + " = "));
    }
    // Keys of the engine are those that the library has.
    const auto engine = mps::config::key_names(mps::config::Part::engine);
    REQUIRE(engine.size() == mps::engine_params().size());
    CHECK(engine.front() == mps::engine_params().front().name);
}

TEST_CASE("docs/metrics.md is what the catalogue of metrics says", "[cli]") {
    INFO(
        "after a change of the catalogue: build/bin/tools/mpsched-generate metrics-markdown >docs/metrics.md");
    CHECK(file_text(MPS_SOURCE_DIR "/docs/metrics.md") == output_of({MPS_GENERATE, "metrics-markdown"}));
}

TEST_CASE("mpschedd(8) has the options that mpschedd has", "[cli]") {
    const std::string page = plain(output_of({MPS_GENERATE, "daemon-man"}));
    const std::string help = output_of({MPS_DAEMON, "--help"});
    CHECK(long_options_in(page) == long_options_in(help));
    for (const std::string &name : long_options_in(help))
        CHECK(mps::test::run(
                  {MPS_DAEMON, name, name == "--help" || name == "--version" ? "" : "/nosuch/x", "--nosuch"})
                  .exit_code == (name == "--help" || name == "--version" ? 0 : 2));
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
    CHECK(completions("mpsched policy ") == Names{"list", "show", "build", "load", "unload"});
    CHECK(completions("mpsched attach lo --mode ") == Names{"auto", "native", "generic", "tc"});
    CHECK(completions("mpsched attach lo --mode n") == Names{"native"});
    CHECK(completions("mpsched decode " MPS_SOURCE_DIR "/tests/codec/captures/n") ==
          Names{MPS_SOURCE_DIR "/tests/codec/captures/none.pcap"});
    CHECK(completions("mpsched attach ").contains("lo"));
    CHECK(completions("mpsched path lo w") == Names{"weight="});
    // Readline replaces only what follows the last '='.
    CHECK(completions("mpsched path lo energy=") == Names{"none", "wifi", "3g", "lte", "5g"});
    CHECK(completions("mpsched path lo use=") == Names{"policy", "never"});
    CHECK(completions("mpsched path lo quota=n") == Names{"none"});
    CHECK(completions("mpsched use weighted --for rport=443,ma") == Names{"443,mark="});
    // Policies and parameters come from mpsched itself, and what there is now from its status.
    CHECK(completions("mpsched policy unload ") == Names{"weighted"});
    CHECK(completions("mpsched --netns x use we").contains("weighted"));
    CHECK(completions("mpsched use weighted -s ") == Names{"quantum_ms="});
    CHECK(completions("mpsched use weighted -s quantum_ms=") == Names{"10"});
    CHECK(completions("mpsched set ") == Names{"quantum_ms="});
    CHECK(completions("mpsched use weighted --for r") == Names{"remote=", "rport="});
    CHECK(completions("mpsched use weighted --for u") == Names{"user=", "unit="});
    CHECK(completions("mpsched use weighted --for dev=") == Names{"wan0", "lte0"});
    CHECK(completions("mpsched detach ") == Names{"wan0", "lte0"});
    CHECK(completions("mpsched detach l") == Names{"lte0"});
    CHECK(completions("mpsched unuse ") == Names{"rport=443"});
    CHECK(completions("mpsched set --for rp") == Names{"rport=443"});
}

TEST_CASE("completion works for who has no rights, with what is built in", "[cli]") {
    if (::geteuid() != 0)
        mps::test::skip("needs root to become somebody without rights");
    const std::string nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups " MPS_CLI;
    // Where nobody may run it, this proves nothing.
    if (mps::test::run({"sh", "-c", nobody + " version"}).exit_code != 0)
        mps::test::skip("others may not look into the build folder");
    for (const char *line :
         {"mpsched use ", "mpsched policy show ", "mpsched --netns nosuch use ", "mpsched set --policy "}) {
        INFO(line);
        const Names offered = completions(line, nobody);
        for (const char *name : {"auto", "weighted", "load-balancing"})
            CHECK(offered.contains(name));
    }
    CHECK(completions("mpsched use weighted -s l", nobody) == Names{"lead_bytes=", "lowat_bytes="});
    CHECK(completions("mpsched detach ", nobody).contains("lo"));
}

TEST_CASE("zsh and fish are offered what bash is", "[cli]") {
    // Of readline's words the last part alone; here they are whole.
    const std::vector<std::pair<std::string, Names>> cases{
        {"mpsched sta", {"status", "stats"}},
        {"mpsched policy ", {"list", "show", "build", "load", "unload"}},
        {"mpsched attach lo --mode n", {"native"}},
        {"mpsched --netns x attach lo --mode ", {"auto", "native", "generic", "tc"}},
        {"mpsched detach ", {"wan0", "lte0"}},
        {"mpsched unuse ", {"rport=443"}},
        {"mpsched policy unload ", {"weighted"}},
        {"mpsched path lo energy=", {"energy=none", "energy=wifi", "energy=3g", "energy=lte", "energy=5g"}},
        {"mpsched use weighted --for r", {"remote=", "rport="}},
        {"mpsched use weighted --for dev=w", {"dev=wan0"}},
        {"mpsched use weighted -s ", {"quantum_ms="}},
        {"mpsched set quantum_ms=", {"quantum_ms=10"}},
        {"mpsched set --for ", {"rport=443"}},
    };
    for (const auto &[line, expected] : cases) {
        INFO(line);
        CHECK(zsh_completions(line) == expected);
        CHECK(fish_completions(line) == expected);
    }
    for (const char *shell : {".zsh", ".fish"}) {
        const std::string script = file_text(MPS_COMPLETION + std::string(shell));
        INFO(shell);
        CHECK_FALSE(std::regex_search(script, std::regex("@[A-Z_]+@")));
        for (const Command &command : mps::table::commands()) {
            CHECK(script.contains(command.verb));
            for (const Option &option : command.options)
                CHECK(script.contains(shell == std::string(".zsh")
                                          ? std::string(option.name)
                                          : "-l " + std::string(option.name.substr(2))));
        }
    }
}
