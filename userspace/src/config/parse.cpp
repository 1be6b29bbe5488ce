// SPDX-License-Identifier: MIT
//
// From TOML to sections. The only file that knows toml++.

#include <algorithm>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include "config/sections.hpp"
#include "mpsched/nearest.hpp"

namespace mps::config {

namespace {

class Parser {
  public:
    Parser(std::string path, std::vector<Problem> &problems) : path_(std::move(path)), problems_(problems) {}

    std::vector<Section> sections(const toml::table &top);
    void complain(const toml::source_region &source, std::string what, std::string hint = {}) {
        problems_.push_back({position(source), std::move(what), std::move(hint)});
    }

  private:
    [[nodiscard]] Position position(const toml::source_region &source) const {
        return {path_, source.begin.line, source.begin.column};
    }
    void add_part(const PartText &part, const toml::node &node, std::vector<Section> &all);
    Section section(Part part, const toml::table &table, bool skip_parts = false);
    void add_entry(Section &section, const toml::key &key, const toml::node &node);
    bool scalar(const toml::node &node, std::string &text);
    void add_settings(const toml::node &node, Entry &entry);
    void add_list(const Key &key, const toml::node &node, Entry &entry);
    void unknown(Part part, const toml::key &key);

    std::string path_;
    std::vector<Problem> &problems_;
};

std::string wanted_form(const Key &key) {
    switch (key.form) {
    case Form::text:
        return "a text in quotes";
    case Form::texts:
        return "a text in quotes, or a list of them";
    case Form::flag:
        return "true or false";
    case Form::amount:
        return "a whole number, or a text in quotes";
    case Form::settings:
        return "a table: { key = value, … }";
    }
    return "";
}

bool fits(Form form, const toml::node &node) {
    switch (form) {
    case Form::text:
        return node.is_string();
    case Form::texts:
        return node.is_string() || node.is_array();
    case Form::flag:
        return node.is_boolean();
    case Form::amount:
        return node.is_string() || node.is_integer();
    case Form::settings:
        return node.is_table();
    }
    return false;
}

// False for what no parser of ours would take: dates, fractions, tables.
bool Parser::scalar(const toml::node &node, std::string &text) {
    if (const auto *string = node.as_string())
        text = string->get();
    else if (const auto *number = node.as_integer())
        text = fmt::to_string(number->get());
    else if (const auto *flag = node.as_boolean())
        text = flag->get() ? "true" : "false";
    else
        return false;
    return true;
}

void Parser::unknown(Part part, const toml::key &key) {
    const auto names = key_names(part);
    const std::string name(key.str());
    const PartText &text = part_text(part);
    complain(key.source(),
             text.heading.empty() ? fmt::format("unknown key '{}'", name)
                                  : fmt::format("unknown key '{}' in {}", name, text.heading),
             fmt::format("{}there are: {}", did_you_mean(name, names), fmt::join(names, ", ")));
}

void Parser::add_settings(const toml::node &node, Entry &entry) {
    for (const auto &[key, value] : *node.as_table()) {
        std::string text;
        if (!scalar(value, text) || value.is_boolean()) {
            complain(value.source(), fmt::format("'{}' is a number or a text", key.str()),
                     "write a whole number, or a text in quotes: \"1.5s\"");
            continue;
        }
        entry.settings.push_back({{std::string(key.str()), text}, position(value.source())});
    }
    // In the order in which they were written.
    std::ranges::stable_sort(entry.settings, {},
                             [](const PlacedSetting &one) { return std::pair(one.at.line, one.at.column); });
}

void Parser::add_list(const Key &key, const toml::node &node, Entry &entry) {
    entry.is_list = true;
    for (const toml::node &one : *node.as_array()) {
        if (!one.is_string())
            complain(one.source(), fmt::format("'{}' cannot have this in its list", key.name),
                     "texts in quotes");
        else
            entry.texts.push_back(one.as_string()->get());
    }
    if (node.as_array()->empty())
        complain(node.source(), fmt::format("the list of '{}' is empty", key.name),
                 fmt::format("{} is {}", key.name, key.allowed));
}

void Parser::add_entry(Section &section, const toml::key &key, const toml::node &node) {
    const Key *known = find_key(section.part, key.str());
    if (!known)
        return unknown(section.part, key);
    if (!fits(known->form, node))
        return complain(node.source(), fmt::format("'{}' is {}", known->name, wanted_form(*known)),
                        fmt::format("{}: {}", known->name, known->allowed));
    Entry entry{.key = std::string(key.str()), .at = position(node.source())};
    if (known->form == Form::settings) {
        add_settings(node, entry);
    } else if (node.is_array()) {
        add_list(*known, node, entry);
    } else {
        std::string text;
        scalar(node, text);
        entry.texts = {std::move(text)};
    }
    section.entries.push_back(std::move(entry));
}

Section Parser::section(Part part, const toml::table &table, bool skip_parts) {
    Section section{.part = part, .at = position(table.source())};
    const auto is_part = [](std::string_view name) {
        return std::ranges::any_of(parts(),
                                   [&](const PartText &p) { return !p.name.empty() && p.name == name; });
    };
    for (const auto &[key, node] : table)
        if (!skip_parts || !is_part(key.str()))
            add_entry(section, key, node);
    for (const Key &key : keys())
        if (key.part == part && key.required && !table.contains(key.name))
            problems_.push_back({section.at, fmt::format("'{}' is missing", key.name),
                                 fmt::format("{} = …: {}; {}", key.name, key.allowed, key.text)});
    return section;
}

void Parser::add_part(const PartText &part, const toml::node &node, std::vector<Section> &all) {
    const auto *list = node.as_array();
    const auto *table = node.as_table();
    const bool tables = list && !list->empty() && list->is_homogeneous<toml::table>();
    if (part.many ? !tables : !table)
        return complain(node.source(), fmt::format("'{}' is written {}", part.name, part.heading),
                        part.many ? "two brackets: it may stand several times"
                                  : "one bracket: it stands once");
    if (table) {
        all.push_back(section(part.part, *table));
        return;
    }
    for (const toml::node &one : *list)
        all.push_back(section(part.part, *one.as_table()));
}

std::vector<Section> Parser::sections(const toml::table &top) {
    std::vector<Section> all;
    Section head = section(Part::top, top, true);
    if (head.at.line == 0)
        head.at = {path_, 1, 1};
    all.push_back(std::move(head));
    for (const PartText &part : parts())
        if (const toml::node *node = part.name.empty() ? nullptr : top.get(part.name))
            add_part(part, *node, all);
    return all;
}

} // namespace

File parse(std::string path, std::string contents, std::vector<Problem> &problems) {
    File file{.path = path, .contents = std::move(contents)};
    Parser parser(std::move(path), problems);
    const toml::parse_result result = toml::parse(std::string_view(file.contents), file.path);
    if (!result) {
        const std::string_view what = result.error().description();
        parser.complain(
            result.error().source(), std::string(what),
            what.find("redefine") != what.npos
                ? "a key stands once in its section, and a section with one bracket once in the file"
                : "this is no TOML (https://toml.io): the file may be half written");
        return file;
    }
    file.sections = parser.sections(result.table());
    return file;
}

} // namespace mps::config
