// SPDX-License-Identifier: MIT

#include "table/help.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "output/text.hpp"

namespace mps::table {

namespace {

using output::Paint;
using output::Style;

constexpr std::size_t columns = 100;

struct Entry {
    std::string term;
    std::string text;
};

// Terms on the left, texts on the right, wrapped under themselves. Terms that are too long get a line of
// their own.
std::string entries(const std::vector<Entry> &all, const Style &style, std::size_t widest = 26) {
    std::size_t left = 0;
    for (const Entry &entry : all)
        if (const std::size_t w = text::width(entry.term); w <= widest)
            left = std::max(left, w);
    const std::size_t right = 2 + left + 2;
    std::string result;
    for (const Entry &entry : all) {
        const std::size_t used = text::width(entry.term);
        std::string body = entry.text.empty() ? "" : text::wrap(entry.text, columns, right);
        result += "  " + style(Paint::bold, entry.term);
        if (body.empty())
            result += "\n";
        else if (used <= left)
            result += std::string(right - 2 - used, ' ') + body.substr(right) + "\n";
        else
            result += "\n" + body + "\n";
    }
    return result;
}

std::string heading(std::string_view title, const Style &style) {
    return "\n" + style(Paint::bold, title) + "\n";
}

std::string option_term(const Option &option) {
    std::string term = option.short_name.empty() ? "" : std::string(option.short_name) + ", ";
    term += option.name;
    if (!option.is_flag())
        term += " " + option.value_term();
    return term;
}

std::string option_text(const Option &option) {
    std::string body(option.text);
    if (!option.allowed.empty())
        body += ": " + text::join(option.allowed);
    if (!option.default_value.empty())
        body += fmt::format(" (default {})", option.default_value);
    return body;
}

std::vector<Entry> option_entries(std::span<const Option> options) {
    std::vector<Entry> all;
    for (const Option &option : options)
        all.push_back({option_term(option), option_text(option)});
    return all;
}

std::string example_lines(std::span<const Example> examples, const Style &style) {
    std::vector<Entry> all;
    for (const Example &example : examples)
        all.push_back({fmt::format("{} {}", program, example.line), std::string(example.text)});
    return entries(all, style, 58);
}

} // namespace

std::string help_overview(const Style &style) {
    std::string all = fmt::format("{} - {}\n\n", program, tagline);
    all += fmt::format("usage: {} [--json] [--netns NAME] [--wait SECONDS] [-v] COMMAND …\n", program);
    for (const Group group : {Group::look, Group::interfaces, Group::policies, Group::paths, Group::options,
                              Group::congestion, Group::applications, Group::service, Group::other}) {
        all += heading(group_title(group), style);
        std::vector<Entry> list;
        for (const Command &command : commands())
            if (command.group == group)
                list.push_back({command.name(), std::string(command.summary)});
        // One left margin for all groups.
        list.push_back({std::string(14, ' '), ""});
        std::string text = entries(list, style);
        text.erase(text.rfind("  " + style(Paint::bold, std::string(14, ' '))));
        all += text;
    }
    all += heading("OPTIONS, anywhere on the line", style) + entries(option_entries(global_options()), style);
    all += heading("EXAMPLES", style) + example_lines(examples(), style);
    all += heading("EXIT CODES", style);
    std::vector<Entry> codes;
    for (const ExitCode &code : exit_codes())
        codes.push_back({std::to_string(code.code), std::string(code.text)});
    all += entries(codes, style);
    all += fmt::format("\n'{} help COMMAND' tells more about a command, 'man {}' everything.\n", program,
                       program);
    return all;
}

std::vector<Glossary> glossaries(const Command &command) {
    const auto mentions = [&](Complete what) {
        return std::ranges::any_of(command.arguments,
                                   [&](const auto &one) { return one.complete == what; }) ||
               std::ranges::any_of(command.options, [&](const auto &one) { return one.complete == what; });
    };
    std::vector<Glossary> all;
    if (mentions(Complete::selector) || mentions(Complete::rule))
        all.push_back({"SELECTOR, parts separated by commas, all must match", selector_terms()});
    if (mentions(Complete::path_attribute))
        all.push_back({"ATTRIBUTES", path_attributes()});
    if (mentions(Complete::option_match)) {
        all.push_back({"OPTION", option_terms()});
        all.push_back({"ACTION", option_action_terms()});
        all.push_back({"MATCHES, all of which must be so", option_match_terms()});
    }
    return all;
}

std::string help_command(const Command &command, const Style &style) {
    std::string all = fmt::format("{} {} - {}\n\n", program, command.name(), command.summary);
    all += fmt::format("usage: {} {}\n", program, command.synopsis());
    for (const std::string_view paragraph : command.description)
        all += "\n" + text::wrap(paragraph, columns, 0) + "\n";
    if (!command.arguments.empty()) {
        all += heading("ARGUMENTS", style);
        std::vector<Entry> list;
        for (const Argument &argument : command.arguments)
            list.push_back({std::string(argument.name), std::string(argument.text)});
        all += entries(list, style);
    }
    if (!command.options.empty())
        all += heading("OPTIONS", style) + entries(option_entries(command.options), style);
    for (const Glossary &glossary : glossaries(command)) {
        all += heading(glossary.title, style);
        std::vector<Entry> list;
        for (const Term &term : glossary.terms)
            list.push_back({std::string(term.term), std::string(term.text)});
        all += entries(list, style, 30);
    }
    all += heading("OPTIONS, anywhere on the line", style) + entries(option_entries(global_options()), style);
    if (!command.examples.empty())
        all += heading("EXAMPLES", style) + example_lines(command.examples, style);
    return all;
}

std::string help_verb(std::string_view verb, const Style &style) {
    std::string all = fmt::format("{} {} - one of:\n", program, verb);
    for (const Command &command : commands()) {
        if (command.verb != verb)
            continue;
        all += "\n  " + style(Paint::bold, fmt::format("{} {}", program, command.synopsis())) + "\n";
        all += text::wrap(command.summary, columns, 6) + "\n";
    }
    all += fmt::format("\n'{0} help {1} {2}' tells more.\n", program, verb, sub_verbs(verb).front());
    return all;
}

} // namespace mps::table
