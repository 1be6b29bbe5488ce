// SPDX-License-Identifier: MIT

#include "commands/render.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/try.hpp"
#include "output/text.hpp"

namespace mps::cli {

using output::Align;
using output::Paint;
using output::Table;

std::string with_unit(std::int64_t value, const std::string &unit) {
    // µs can be written in two ways; parameters come from BTF, where people type "us".
    return unit.empty() ? fmt::to_string(value) : fmt::format("{} {}", value, unit == "us" ? "µs" : unit);
}

std::string param_table(const std::vector<Param> &params, const output::Style &style, std::size_t indent) {
    Table table({{"parameter"},
                 {"value", Align::right},
                 {"default", Align::right},
                 {"range"},
                 {"unit", Align::left, true},
                 {"what it does"}});
    for (const Param &param : params)
        table.add(
            {param.name,
             {fmt::to_string(param.value), param.value == param.default_value ? Paint::none : Paint::bold},
             fmt::to_string(param.default_value),
             fmt::format("{}..{}", param.min, param.max),
             param.unit == "us" ? "µs" : param.unit,
             param.text});
    return table.render(style, indent);
}

std::string param_lines(const std::vector<Param> &params, const output::Style &style, std::size_t indent) {
    Table table({{""}, {""}, {""}});
    for (const Param &param : params)
        table.add({param.name,
                   with_unit(param.value, param.unit),
                   {param.value == param.default_value
                        ? ""
                        : fmt::format("default {}", with_unit(param.default_value, param.unit)),
                    Paint::dim}});
    return table.render(style, indent);
}

std::string policy_use(const PolicyInfo &policy) {
    std::vector<std::string> uses;
    if (policy.is_default)
        uses.emplace_back("default");
    if (policy.is_rx_default && !policy.is_default)
        uses.emplace_back("default for what peers send");
    if (policy.kept)
        uses.emplace_back("kept");
    if (policy.rules != 0)
        uses.push_back(text::count(policy.rules, "rule"));
    if (policy.connections != 0)
        uses.push_back(text::count(policy.connections, "connection"));
    return text::join(uses);
}

std::string also_text(const std::vector<std::string> &also) {
    if (also.empty())
        return {};
    return fmt::format("so {} {}, which used another object of that name\n", also.size() == 1 ? "does" : "do",
                       text::printable(text::join(also)));
}

Result<std::vector<Setting>> parse_settings(const std::vector<std::string> &words, std::string_view instead) {
    std::vector<Setting> all;
    for (std::size_t i = 0; i < words.size(); i++) {
        const std::string &word = words[i];
        if (!word.contains('=')) {
            // "weight 3", or a word that does not belong here.
            const bool split = i + 1 < words.size() && !words[i + 1].contains('=');
            return usage_error(fmt::format("{} is not key=value", text::quoted(word)),
                               split             ? fmt::format("did you mean '{}={}'?", word, words[i + 1])
                               : instead.empty() ? "settings are written key=value"
                                                 : std::string(instead));
        }
        auto setting = parse_setting(word);
        MPS_TRY(setting);
        if (std::ranges::find(all, setting->key, &Setting::key) != all.end())
            return usage_error(fmt::format("{} is set twice", text::quoted(setting->key)),
                               "give each key once");
        all.push_back(std::move(*setting));
    }
    return all;
}

std::string heading(const output::Style &style, std::string_view text) {
    return style(Paint::bold, text) + "\n";
}

namespace {

std::string store_text(const Json &store, const output::Style &style) {
    std::string all =
        fmt::format("  follows {} as {}: revision {}{}\n", text::printable(store.value("address", "")),
                    text::printable(store.value("node", "")), store.value("revision", 0),
                    store.value("reached", false) ? "" : ", not reached now");
    if (const auto refused = store.find("refused"); refused != store.end())
        all += fmt::format("  {} {}\n", style(output::Paint::bad, "that revision is refused:"),
                           text::printable(refused->value("what", "")));
    for (const char *name : {"doubt", "error"})
        if (const auto error = store.find(name); error != store.end() && error->is_string())
            all += fmt::format("  {} {}\n", style(output::Paint::bad, "store:"),
                               text::printable(error->get<std::string>()));
    return all;
}

} // namespace

std::string service_text(const Json &service, const output::Style &style) {
    std::string all = fmt::format("{}  process {}, revision {} of {}\n",
                                  style(output::Paint::bold, "mpschedd"), service.value("pid", 0),
                                  service.value("revision", ""), text::printable(service.value("file", "")));
    output::Table table({{""}, {""}, {"", output::Align::left, true}});
    for (const Json &object : service.value("objects", Json::array())) {
        const std::string state = object.value("state", "");
        const bool failed = state == "failed";
        std::string why = object.value("why", "");
        if (failed)
            why += fmt::format(" (next try in {} s)", object.value("retry_in_s", 0));
        table.add({object.value("object", ""),
                   {state, failed ? output::Paint::bad : output::Paint::none},
                   {why, output::Paint::dim}});
    }
    all += table.render(style, 2);
    if (const auto problem = service.find("problem"); problem != service.end())
        all += fmt::format("  {} {}\n", style(output::Paint::bad, "problem:"),
                           text::printable(problem->value("what", "")));
    if (const auto refused = service.find("refused"); refused != service.end())
        all += fmt::format("  {} {}\n", style(output::Paint::bad, "the files as they are now are refused:"),
                           text::printable(refused->value("what", "")));
    if (const auto manager = service.find("network_manager");
        manager != service.end() && manager->value("state", "") == "silent")
        all += fmt::format("  {} NetworkManager does not answer; what it said last counts\n",
                           style(output::Paint::bad, "metered:"));
    if (const auto store = service.find("store"); store != service.end())
        all += store_text(*store, style);
    return all;
}

namespace {

std::string lines_of(std::string_view before, const std::vector<OptionRule> &rules) {
    std::string lines;
    for (const OptionRule &rule : rules)
        lines += fmt::format("{}{}\n", before, text::printable(option_rule_text(rule)));
    return lines;
}

Json rules_json(const std::vector<OptionRule> &rules) {
    Json all = Json::array();
    for (const OptionRule &rule : rules)
        all.push_back(option_rule_json(rule));
    return all;
}

} // namespace

Reply option_rules_changed(const OptionRulesResult &result) {
    Reply reply{.json = {{"added", rules_json(result.added)},
                         {"removed", rules_json(result.removed)},
                         {"rules", rules_json(result.rules)}},
                .text = lines_of("removed  ", result.removed) + lines_of("added    ", result.added),
                .warnings = result.warnings};
    if (reply.text.empty())
        reply.text = "nothing had to be changed\n";
    return reply;
}

} // namespace mps::cli
