// SPDX-License-Identifier: MIT
//
// Completion for bash, zsh and fish. The first two share the cases that follow from the table: they are calls of functions
// that each frame defines in its own shell.

#include "table/generate.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "output/text.hpp"
#include "table/command_table.hpp"

namespace mps::table {

namespace {

std::string words_of_options(std::span<const Option> options) {
    std::string all;
    for (const Option &option : options) {
        if (!option.short_name.empty())
            all += (all.empty() ? "" : " ") + std::string(option.short_name);
        all += (all.empty() ? "" : " ") + std::string(option.name);
    }
    return all;
}

std::string attribute_names() {
    std::string all;
    for (const Term &term : path_attributes())
        all += (all.empty() ? "" : " ") + std::string(term.term.substr(0, term.term.find('=') + 1));
    return all;
}

std::string selector_names() {
    std::string all;
    for (const Term &term : selector_terms())
        all += (all.empty() ? "" : " ") + std::string(term.term.substr(0, term.term.find('=') + 1));
    return all;
}

std::string match_names() {
    std::string all;
    for (const Term &term : option_match_terms())
        all += (all.empty() ? "" : " ") + std::string(term.term.substr(0, term.term.find('=') + 1));
    return all;
}

// "energy=none energy=wifi …": of each key those values that are words and not descriptions of some.
std::string known_values() {
    std::string all;
    for (const Term &term : path_attributes()) {
        const std::size_t equals = term.term.find('=');
        std::string_view rest = term.term.substr(equals + 1);
        while (!rest.empty()) {
            const std::string_view value = rest.substr(0, rest.find('|'));
            rest.remove_prefix(std::min(value.size() + 1, rest.size()));
            const bool is_word = std::ranges::all_of(
                value, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
            if (is_word)
                all += fmt::format("{}{}{}", all.empty() ? "" : " ", term.term.substr(0, equals + 1), value);
        }
    }
    return all;
}

// The shell function call that offers values of a kind.
std::string bash_offer(Complete kind, const std::vector<std::string_view> &allowed) {
    switch (kind) {
    case Complete::nothing:
        return ":";
    case Complete::one_of:
        return fmt::format("_mpsched_words \"{}\"", text::join(allowed, " "));
    case Complete::interface:
        return "_mpsched_interfaces";
    case Complete::attached:
        return "_mpsched_attached";
    case Complete::netns:
        return "_mpsched_netns";
    case Complete::policy:
        return "_mpsched_policies";
    case Complete::loaded:
        return "_mpsched_loaded";
    case Complete::policy_or_file:
        return "_mpsched_policies; _mpsched_files";
    case Complete::file:
        return "_mpsched_files";
    case Complete::capture:
        return "_mpsched_captures";
    case Complete::parameter:
        return "_mpsched_parameters";
    case Complete::path_attribute:
        return fmt::format("_mpsched_keys \"{}\"", attribute_names());
    case Complete::selector:
        return fmt::format("_mpsched_keys \"{}\"", selector_names());
    case Complete::rule:
        return "_mpsched_rules";
    case Complete::option_match:
        return fmt::format("_mpsched_keys \"{}\"", match_names());
    case Complete::command:
        return fmt::format("_mpsched_words \"{}\"", text::join(verbs(), " "));
    case Complete::program:
        return "_mpsched_programs";
    }
    return ":";
}

std::string option_pattern(const Option &option) {
    return option.short_name.empty() ? std::string(option.name)
                                     : fmt::format("{} | {}", option.short_name, option.name);
}

// The cases of `case $command:$previous` in which an option's value is due.
std::string bash_value_cases() {
    std::string all;
    for (const Option &option : global_options())
        if (option.takes_word())
            all += fmt::format("    *:{})\n        {}\n        _mpsched_trim\n        return\n        ;;\n",
                               option.name, bash_offer(option.complete, option.allowed));
    for (const Command &command : commands()) {
        for (const Option &option : command.options) {
            if (!option.takes_word())
                continue;
            std::string pattern = fmt::format("\"{}:{}\"", command.name(), option.name);
            if (!option.short_name.empty())
                pattern += fmt::format(" | \"{}:{}\"", command.name(), option.short_name);
            all += fmt::format("    {})\n        {}\n        _mpsched_trim\n        return\n        ;;\n",
                               pattern, bash_offer(option.complete, option.allowed));
        }
    }
    return all;
}

std::string bash_command_cases() {
    std::string all;
    for (const std::string_view verb : verbs())
        if (const auto seconds = sub_verbs(verb); !seconds.empty())
            all += fmt::format("    {})\n        _mpsched_words \"{}\"\n        ;;\n", verb,
                               text::join(seconds, " "));
    for (const Command &command : commands()) {
        all += fmt::format("    \"{}\")\n", command.name());
        if (command.options.empty() && command.arguments.empty())
            all += "        :\n";
        if (!command.options.empty())
            all += fmt::format("        [[ $cur == -* ]] && _mpsched_words \"{}\"\n",
                               words_of_options(command.options));
        for (std::size_t i = 0; i < command.arguments.size(); i++) {
            const Argument &argument = command.arguments[i];
            const std::string offer = bash_offer(argument.complete, argument.allowed);
            if (offer == ":")
                continue;
            if (argument.many && i == 0)
                all += fmt::format("        {}\n", offer);
            else if (argument.many)
                all +=
                    fmt::format("        ((arguments >= {})) && {{\n            {}\n        }}\n", i, offer);
            else
                all +=
                    fmt::format("        ((arguments == {})) && {{\n            {}\n        }}\n", i, offer);
        }
        all += "        ;;\n";
    }
    return all;
}

// Options whose value is the next word, for skipping it when looking for the verb.
std::string bash_takes_value() {
    std::vector<std::string> patterns;
    const auto add = [&](const Option &option) {
        if (option.takes_word() && std::ranges::find(patterns, option_pattern(option)) == patterns.end())
            patterns.push_back(option_pattern(option));
    };
    for (const Option &option : global_options())
        add(option);
    for (const Command &command : commands())
        for (const Option &option : command.options)
            add(option);
    return text::join(patterns, " | ");
}

void replace(std::string &text, std::string_view mark, std::string_view by) {
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + by.size()))
        text.replace(at, mark.size(), by);
}

std::string group_verbs() {
    std::vector<std::string_view> all;
    for (const std::string_view verb : verbs())
        if (!sub_verbs(verb).empty())
            all.push_back(verb);
    return text::join(all, " ");
}

// ------------------------------------------------------------------------------------------------------------- fish

std::string fish_quoted(std::string_view text) {
    std::string all = "'";
    for (const char c : text) {
        if (c == '\'' || c == '\\')
            all += '\\';
        all += c;
    }
    return all + "'";
}

// The words, or the call that lists them.
std::string fish_offer(Complete kind, const std::vector<std::string_view> &allowed) {
    switch (kind) {
    case Complete::nothing:
        return "";
    case Complete::one_of:
        return text::join(allowed, " ");
    case Complete::interface:
        return "(__mpsched_interfaces)";
    case Complete::attached:
        return "(__mpsched_attached)";
    case Complete::netns:
        return "(__mpsched_netns)";
    case Complete::policy:
        return "(__mpsched_ask policy list --names)";
    case Complete::loaded:
        return "(__mpsched_loaded)";
    case Complete::policy_or_file:
        return "(__mpsched_ask policy list --names; __fish_complete_suffix .o)";
    case Complete::file:
        return "(__fish_complete_suffix .o)";
    case Complete::capture:
        return "(__fish_complete_path (commandline -ct))";
    case Complete::parameter:
        return "(__mpsched_parameters)";
    case Complete::path_attribute:
        return fmt::format("(__mpsched_keys {})", attribute_names());
    case Complete::selector:
        return fmt::format("(__mpsched_keys {})", selector_names());
    case Complete::rule:
        return "(__mpsched_listed rules selector)";
    case Complete::option_match:
        return fmt::format("(__mpsched_keys {})", match_names());
    case Complete::command:
        return text::join(verbs(), " ");
    case Complete::program:
        return "(__fish_complete_command)";
    }
    return "";
}

std::string fish_option(const Option &option, std::string_view condition) {
    std::string all = "complete -c mpsched";
    if (!condition.empty())
        all += fmt::format(" -n {}", fish_quoted(condition));
    if (!option.short_name.empty())
        all += fmt::format(" -s {}", option.short_name.substr(1));
    all += fmt::format(" -l {}", option.name.substr(2));
    if (option.takes_word()) {
        const std::string offer = fish_offer(option.complete, option.allowed);
        all += " -x" + (offer.empty() ? "" : " -a " + fish_quoted(offer));
    }
    return all + fmt::format(" -d {}\n", fish_quoted(option.text));
}

std::string fish_commands() {
    std::string all;
    for (const Option &option : global_options())
        all += fish_option(option, "");
    for (const std::string_view verb : verbs()) {
        const auto seconds = sub_verbs(verb);
        const Command *command = find_command(verb);
        all += fmt::format("complete -c mpsched -n '__mpsched_in \"\"' -a {} -d {}\n", verb,
                           fish_quoted(command != nullptr ? command->summary : text::join(seconds)));
        for (const std::string_view second : seconds)
            all += fmt::format("complete -c mpsched -n '__mpsched_in {}' -a {} -d {}\n", verb, second,
                               fish_quoted(find_command(fmt::format("{} {}", verb, second))->summary));
    }
    for (const Command &command : commands()) {
        const std::string in = fmt::format("__mpsched_in \"{}\"", command.name());
        for (const Option &option : command.options)
            all += fish_option(option, in);
        for (std::size_t i = 0; i < command.arguments.size(); i++) {
            const Argument &argument = command.arguments[i];
            const std::string offer = fish_offer(argument.complete, argument.allowed);
            if (!offer.empty())
                all += fmt::format("complete -c mpsched -n {} -a {}\n",
                                   fish_quoted(fmt::format("{}; and __mpsched_argument {} {}", in, i,
                                                           argument.many ? "many" : "one")),
                                   fish_quoted(offer));
        }
    }
    return all;
}

std::string fill(std::string_view frame) {
    std::string script(frame);
    replace(script, "@TAKES_VALUE@", bash_takes_value());
    replace(script, "@GROUP_VERBS@", group_verbs());
    replace(script, "@VALUE_CASES@", bash_value_cases());
    replace(script, "@GLOBAL_OPTIONS@", words_of_options(global_options()));
    replace(script, "@VERBS@", text::join(verbs(), " "));
    replace(script, "@COMMAND_CASES@", bash_command_cases());
    replace(script, "@KNOWN_VALUES@", known_values());
    return script;
}

} // namespace

std::string generate_bash(std::string_view frame) { return fill(frame); }

std::string generate_zsh(std::string_view frame) { return fill(frame); }

std::string generate_fish(std::string_view frame) {
    std::string script(frame);
    std::string takes_value = bash_takes_value();
    replace(takes_value, " | ", " ");
    replace(script, "@TAKES_VALUE@", takes_value);
    replace(script, "@GROUP_VERBS@", group_verbs());
    replace(script, "@KNOWN_VALUES@", known_values());
    replace(script, "@COMMANDS@", fish_commands());
    return script;
}

} // namespace mps::table
