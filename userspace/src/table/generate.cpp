// SPDX-License-Identifier: MIT

#include "table/generate.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "config/keys.hpp"
#include "output/text.hpp"
#include "service/options.hpp"
#include "table/command_table.hpp"
#include "table/help.hpp"

namespace mps::table {

namespace {

// ------------------------------------------------------------------------------------------------------------- roff

// The table's one-line texts begin like table cells.
std::string sentence(std::string_view text) {
    std::string all(text);
    if (!all.empty() && all.front() >= 'a' && all.front() <= 'z')
        all.front() = static_cast<char>(all.front() - 'a' + 'A');
    return all + ".";
}

// Text to roff: hyphens of options stay hyphens, letters beyond ASCII become escapes that every roff knows, and no
// line begins with a control character.
std::string roff(std::string_view text) {
    std::string all;
    for (std::size_t i = 0; i < text.size(); i++) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\\')
            all += "\\e";
        else if (c == '-')
            all += "\\-";
        else if (c == '\'')
            all += "\\(aq";
        else if (c == '.' && i == 0)
            all += "\\&.";
        else if (c < 0x80)
            all += text[i];
        else {
            const std::size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            std::uint32_t code = c & (0xffU >> (length + 1));
            for (std::size_t k = 1; k < length && i + 1 < text.size(); k++)
                code = code << 6 | (static_cast<unsigned char>(text[++i]) & 0x3fU);
            all += fmt::format("\\[u{:04X}]", code);
        }
    }
    return all;
}

std::string roff_bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }

std::string roff_item(std::string_view term, std::string_view text) {
    return fmt::format(".TP\n{}\n{}\n", roff_bold(term), roff(text));
}

std::string roff_option(const Option &option) {
    std::string term = option.short_name.empty() ? "" : roff_bold(option.short_name) + ", ";
    term += roff_bold(option.name);
    if (!option.is_flag())
        term += " \\fI" + roff(option.value_term()) + "\\fR";
    std::string text(option.text);
    if (!option.allowed.empty())
        text += ": " + text::join(option.allowed);
    if (!option.default_value.empty())
        text += fmt::format(" (default {})", option.default_value);
    return fmt::format(".TP\n{}\n{}\n", term, roff(text));
}

std::string roff_command(const Command &command) {
    std::string all = fmt::format(".SS \"{}\"\n", roff(command.synopsis()));
    all += roff(sentence(command.summary)) + "\n";
    for (const std::string_view paragraph : command.description)
        all += ".PP\n" + roff(paragraph) + "\n";
    for (const Argument &argument : command.arguments)
        all += fmt::format(".TP\n\\fI{}\\fR\n{}\n", roff(argument.name), roff(argument.text));
    for (const Option &option : command.options)
        all += roff_option(option);
    for (const Example &example : command.examples) {
        all +=
            fmt::format(".PP\n.RS 4\n.nf\n{}\n.fi\n.RE\n", roff(fmt::format("{} {}", program, example.line)));
        if (!example.text.empty())
            all += fmt::format(".RS 8\n{}\n.RE\n", roff(example.text));
    }
    return all;
}

// -------------------------------------------------------------------------------------------------------- markdown

std::string cell(std::string_view text) {
    std::string all;
    for (const char c : text) {
        if (c == '|')
            all += '\\';
        all += c;
    }
    return all;
}

} // namespace

std::string generate_man(std::string_view version) {
    std::string all = ".\\\" Generated from mpsched's command table: do not edit.\n";
    all += fmt::format(".TH MPSCHED 1 \"\" \"mpsched {}\" \"User Commands\"\n", version);
    all += fmt::format(".SH NAME\nmpsched \\- {}\n", roff(tagline));
    all +=
        ".SH SYNOPSIS\n.B mpsched\n[\\fB\\-\\-json\\fR] [\\fB\\-\\-netns\\fR \\fINAME\\fR] [\\fB\\-\\-wait\\fR \\fISECONDS\\fR] [\\fB\\-v\\fR] "
        "\\fICOMMAND\\fR \\&...\n";
    all += ".SH DESCRIPTION\n";
    all +=
        roff(
            "mpsched makes the packet scheduler of Linux's Multipath TCP pluggable, on unmodified kernels: eBPF "
            "programs attached to the interfaces steer the kernel's choice of a subflow as a policy decides. "
            "Policies can be swapped while connections run. What is attached outlives the command.") +
        "\n";
    all += ".SH OPTIONS\nAccepted anywhere on the line.\n";
    for (const Option &option : global_options())
        all += roff_option(option);
    all += ".SH COMMANDS\n";
    for (const Command &command : commands())
        all += roff_command(command);
    all += ".SH SELECTORS\nParts are separated by commas and must all match; a part may occur once.\n";
    for (const Term &term : selector_terms())
        all += roff_item(term.term, term.text);
    all += ".SH \"PATH ATTRIBUTES\"\n";
    for (const Term &term : path_attributes())
        all += roff_item(term.term, term.text);
    all += ".SH \"EXIT STATUS\"\n";
    for (const ExitCode &code : exit_codes())
        all += roff_item(std::to_string(code.code), code.text);
    all += ".SH ENVIRONMENT\n";
    for (const Term &term : environment())
        all += roff_item(term.term, term.text);
    all += ".SH FILES\n" + roff_item("/sys/fs/bpf/mpsched/",
                                     "programs, maps and links, one folder for each network "
                                     "namespace");
    all += ".SH EXAMPLES\n";
    for (const Example &example : examples())
        all += roff_item(fmt::format("{} {}", program, example.line), example.text);
    all +=
        ".SH \"SEE ALSO\"\n.BR mpschedd (8),\n.BR mpsched.toml (5),\n.BR ip\\-mptcp (8),\n.BR bpftool (8),\n.BR ss (8)\n";
    return all;
}

std::string generate_markdown() {
    std::string all =
        "<!-- Generated from userspace/src/table/command_table.cpp. After a change there:\n"
        "     build/bin/tools/mpsched-generate markdown >docs/commands.md -->\n\n# Commands\n\n";
    all += fmt::format("`{} [--json] [--netns NAME] [--wait SECONDS] [-v] COMMAND …`\n\n", program);
    all += "Global options are accepted anywhere on the line.\n\n| option | |\n|---|---|\n";
    const auto option_row = [](const Option &option) {
        std::string term = option.short_name.empty() ? "" : fmt::format("`{}`, ", option.short_name);
        term += fmt::format("`{}{}{}`", option.name, option.is_flag() ? "" : " ", option.value_term());
        std::string text(option.text);
        if (!option.allowed.empty())
            text += ": " + text::join(option.allowed);
        if (!option.default_value.empty())
            text += fmt::format(" (default {})", option.default_value);
        return fmt::format("| {} | {} |\n", cell(term), cell(text));
    };
    for (const Option &option : global_options())
        all += option_row(option);
    for (const Command &command : commands()) {
        all += fmt::format("\n## {}\n\n`{} {}`\n\n{}\n", command.name(), program, command.synopsis(),
                           sentence(command.summary));
        for (const std::string_view paragraph : command.description)
            all += fmt::format("\n{}\n", paragraph);
        if (!command.arguments.empty() || !command.options.empty()) {
            all += "\n| | |\n|---|---|\n";
            for (const Argument &argument : command.arguments)
                all += fmt::format("| `{}` | {} |\n", cell(argument.name), cell(argument.text));
            for (const Option &option : command.options)
                all += option_row(option);
        }
        if (!command.examples.empty()) {
            all += "\n```sh\n";
            for (const Example &example : command.examples)
                all += fmt::format("{} {}{}{}\n", program, example.line, example.text.empty() ? "" : "  # ",
                                   example.text);
            all += "```\n";
        }
    }
    const auto terms = [&](std::string_view title, std::string_view intro, std::span<const Term> list) {
        all += fmt::format("\n## {}\n\n{}| | |\n|---|---|\n", title, intro);
        for (const Term &term : list)
            all += fmt::format("| `{}` | {} |\n", cell(term.term), cell(term.text));
    };
    terms("Selectors", "Parts are separated by commas and must all match; a part may occur once.\n\n",
          selector_terms());
    terms("Path attributes", "", path_attributes());
    terms("Options of rules", "", option_terms());
    terms("Actions of rules", "", option_action_terms());
    terms("Matches of rules", "All must be so; each may occur once.\n\n", option_match_terms());
    terms("Environment", "", environment());
    all += "\n## Exit codes\n\n| | |\n|---|---|\n";
    for (const ExitCode &code : exit_codes())
        all += fmt::format("| {} | {} |\n", code.code, code.text);
    return all;
}

namespace {

constexpr std::string_view settings_about =
    "Read by mpschedd at its start and at each reload, and by 'mpsched config'. TOML. After it, in the order of their names, come "
    "the drop-ins /etc/mpsched/mpsched.d/*.toml: a later [default] or [[rule]] takes the place of an earlier one, a later "
    "[[interface]] adds to what the earlier ones say.";

constexpr std::string_view settings_meaning =
    "The files are the whole of what is desired: what they do not ask for is detached, removed, or as mpsched has it without "
    "them. Files that say nothing at all manage nothing. A file with a mistake is refused as a whole, with every mistake's line "
    "and column; what was in force stays.";

std::string key_term(const config::Key &key) {
    switch (key.form) {
    case config::Form::settings:
        return fmt::format("{} = {{ PARAMETER = VALUE, … }}", key.name);
    case config::Form::texts:
        return fmt::format("{} = \"…\" or [\"…\", …]", key.name);
    case config::Form::text:
        return fmt::format("{} = \"…\"", key.name);
    case config::Form::flag:
    case config::Form::amount:
        break;
    }
    return fmt::format("{} = …", key.name);
}

std::string key_text(const config::Key &key) {
    return sentence(fmt::format("{}: {}{}", key.text, key.allowed, key.required ? " (required)" : ""));
}

constexpr std::string_view daemon_about[] = {
    "mpschedd reads mpsched.toml(5) and keeps the network namespace as that says: it attaches interfaces when they come, under "
    "whatever index or, with a pattern, name; it sets their attributes, the policies and the rules. It only manages: what is "
    "in force runs in the kernel, and goes on when mpschedd ends, is killed or is not there.",
    "What fails is tried again, at first after a second, at last once a minute, and at once when interfaces have changed. What "
    "somebody changes by hand meanwhile stays until the next reload or start, and 'mpsched status' tells of it.",
    "What paths have carried of their quotas is written down every five seconds, and given back after a restart of the "
    "machine. A database that is damaged is put aside, and counting goes on.",
    "With [metrics] in its files it serves metrics to Prometheus by HTTP, on loopback unless the files say otherwise; with [web] a page "
    "to a browser on this machine, whose address and token 'mpsched web' tells root.",
    "One is at work in a network namespace; a second one is refused.",
};

constexpr Term daemon_signals[] = {
    {"SIGHUP", "read the files again, as 'mpsched reload' does"},
    {"SIGTERM, SIGINT", "end, and leave everything as it is"},
};

constexpr Term daemon_files[] = {
    {"/var/lib/mpsched/quota.db", "what paths have carried of their quotas, an SQLite database"},
    {"/etc/mpsched/mpsched.toml, /etc/mpsched/mpsched.d/*.toml", "what is desired"},
    {"/run/mpsched/", "socket and lock, for each network namespace"},
};

} // namespace

std::string generate_settings_man(std::string_view version) {
    std::string all = ".\\\" Generated from mpsched's table of keys: do not edit.\n";
    all += fmt::format(".TH MPSCHED.TOML 5 \"\" \"mpsched {}\" \"File Formats\"\n", version);
    all += ".SH NAME\nmpsched.toml \\- what mpschedd keeps in force\n";
    all += ".SH SYNOPSIS\n.I /etc/mpsched/mpsched.toml\n.br\n.I /etc/mpsched/mpsched.d/*.toml\n";
    all += fmt::format(".SH DESCRIPTION\n{}\n.PP\n{}\n", roff(settings_about), roff(settings_meaning));
    for (const config::PartText &part : config::parts()) {
        all += fmt::format(".SH \"{}\"\n{}\n", roff(part.heading.empty() ? "TOP OF THE FILE" : part.heading),
                           roff(part.text));
        for (const config::Key &key : config::keys())
            if (key.part == part.part)
                all += roff_item(key_term(key), key_text(key));
    }
    all += ".SH EXAMPLE\n.nf\n";
    for (const std::string &line : text::lines(config::example()))
        all += roff(line) + "\n";
    all += ".fi\n.SH \"SEE ALSO\"\n.BR mpschedd (8),\n.BR mpsched (1)\n";
    return all;
}

std::string generate_daemon_man(std::string_view version) {
    std::string all = ".\\\" Generated from mpschedd's options: do not edit.\n";
    all += fmt::format(".TH MPSCHEDD 8 \"\" \"mpsched {}\" \"System Administration\"\n", version);
    all += fmt::format(".SH NAME\nmpschedd \\- {}\n", roff(service::tagline));
    all +=
        fmt::format(".SH SYNOPSIS\n.B mpschedd\n{}\n.SH DESCRIPTION\n", roff(service::synopsis().substr(1)));
    for (const std::string_view paragraph : daemon_about)
        all += fmt::format("{}\n.PP\n", roff(paragraph));
    all += ".SH OPTIONS\n";
    for (const service::OptionText &option : service::options())
        all += roff_item(fmt::format("{}{}{}", option.name, option.value.empty() ? "" : " ", option.value),
                         sentence(option.text));
    all += ".SH SIGNALS\n";
    for (const Term &term : daemon_signals)
        all += roff_item(term.term, sentence(term.text));
    all += ".SH FILES\n";
    for (const Term &term : daemon_files)
        all += roff_item(term.term, sentence(term.text));
    all += ".SH \"EXIT STATUS\"\n";
    for (const ExitCode &code : exit_codes())
        all += roff_item(std::to_string(code.code), code.text);
    all += ".SH \"SEE ALSO\"\n.BR mpsched.toml (5),\n.BR mpsched (1),\n.BR systemd.service (5)\n";
    return all;
}

std::string generate_settings_markdown() {
    std::string all =
        "<!-- Generated from userspace/src/config/keys.cpp. After a change there:\n"
        "     build/bin/tools/mpsched-generate settings-markdown >docs/configuration.md -->\n\n# mpsched.toml\n\n";
    all += fmt::format("{}\n\n{}\n\n[The service](service.md) tells how to use it.\n", settings_about,
                       settings_meaning);
    for (const config::PartText &part : config::parts()) {
        all += fmt::format("\n## {}\n\n{}\n\n| | | |\n|---|---|---|\n",
                           part.heading.empty() ? "Top of the file" : fmt::format("`{}`", part.heading),
                           part.text);
        for (const config::Key &key : config::keys())
            if (key.part == part.part)
                all += fmt::format("| `{}`{} | {} | {} |\n", key.name, key.required ? " (required)" : "",
                                   cell(key.allowed), cell(key.text));
        all += "\n<!-- no measurements -->\n";
    }
    all += fmt::format("\n## Example\n\n```toml\n{}```\n", config::example());
    return all;
}

} // namespace mps::table
