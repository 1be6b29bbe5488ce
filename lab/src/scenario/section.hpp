// SPDX-License-Identifier: MIT
// Reading a scenario's TOML: every key is asked for by name, and the first mistake is told with its place.
#pragma once

#include <algorithm>
#include <cerrno>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <mpsched/lab/error.hpp>

namespace mps::lab {

constexpr double no_limit = std::numeric_limits<double>::infinity();

/// The first mistake in a file. What comes after it is read, but not told.
class Mistakes {
  public:
    Mistakes(std::string file, toml::source_index fallback_line)
        : file_(std::move(file)), fallback_line_(fallback_line) {}

    void add(const toml::source_region &where, std::string what, std::string hint) {
        if (first_) {
            return;
        }
        // Values that a variant sets have no place of their own.
        const auto place = where.begin.line != 0 ? fmt::format("{}:{}", where.begin.line, where.begin.column)
                                                 : fmt::format("{}", fallback_line_);
        first_ = Error{fmt::format("{}:{}: {}", file_, place, what), std::move(hint), EINVAL};
    }
    const std::optional<Error> &first() const { return first_; }

  private:
    std::string file_;
    toml::source_index fallback_line_;
    std::optional<Error> first_;
};

/// Reads the keys of one table; whatever nobody asked for is a mistake.
class Section {
  public:
    Section(const toml::table &table, std::string label, Mistakes &mistakes)
        : table_(table), label_(std::move(label)), mistakes_(mistakes) {}

    bool has(std::string_view key) {
        known_.emplace(key);
        return table_.contains(key);
    }

    void require(std::string_view key, const std::string &hint) {
        if (!has(key)) {
            mistakes_.add(table_.source(), fmt::format("{} needs \"{}\"", label_, key), hint);
        }
    }

    double number(std::string_view key, double otherwise, double least, double most) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        return checked_number(key, *node, otherwise, least, most);
    }

    template <class T>
    T integer(std::string_view key, T otherwise, double least, double most) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_integer()) {
            wrong(key, *node, fmt::format("a whole number from {} to {}", least, most));
            return otherwise;
        }
        return static_cast<T>(checked_number(key, *node, static_cast<double>(otherwise), least, most));
    }

    bool boolean(std::string_view key, bool otherwise) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_boolean()) {
            wrong(key, *node, "true or false");
        }
        return node->value_or(otherwise);
    }

    std::string text(std::string_view key, std::string otherwise = {}) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        if (!node->is_string()) {
            wrong(key, *node, "a text in quotation marks");
        }
        return node->value_or(std::move(otherwise));
    }

    template <class T>
    T choice(std::string_view key, T otherwise, const std::vector<std::pair<std::string, T>> &choices) {
        const auto *node = find(key);
        if (node == nullptr) {
            return otherwise;
        }
        const auto given = node->value<std::string>();
        std::vector<std::string> names;
        for (const auto &[name, value] : choices) {
            if (given == name) {
                return value;
            }
            names.push_back(fmt::format("\"{}\"", name));
        }
        wrong(key, *node, fmt::format("{}", fmt::join(names, ", ")));
        return otherwise;
    }

    std::vector<double> numbers(std::string_view key, double least, double most) {
        std::vector<double> values;
        if (const auto *node = find(key)) {
            const auto *array = node->as_array();
            if (array == nullptr || array->empty()) {
                wrong(key, *node, "a list of numbers, at least one");
                return values;
            }
            for (const auto &element : *array) {
                values.push_back(checked_number(key, element, least, least, most));
            }
        }
        return values;
    }

    /// `size` whole numbers: one that holds for all, or a list of them. Empty if there is no such key.
    std::vector<unsigned> integers(std::string_view key, std::size_t size, double least, double most) {
        const auto *node = find(key);
        if (node == nullptr) {
            return {};
        }
        const auto *array = node->as_array();
        if (array == nullptr) {
            return std::vector<unsigned>(size, integer(key, static_cast<unsigned>(least), least, most));
        }
        if (array->size() != size || !array->is_homogeneous(toml::node_type::integer)) {
            wrong(key, *node, fmt::format("a whole number, or a list of {} of them", size));
            return std::vector<unsigned>(size, static_cast<unsigned>(least));
        }
        std::vector<unsigned> values;
        for (const auto &element : *array) {
            values.push_back(static_cast<unsigned>(checked_number(key, element, least, least, most)));
        }
        return values;
    }

    std::vector<std::string> texts(std::string_view key, const std::vector<std::string> &allowed) {
        std::vector<std::string> values;
        if (const auto *node = find(key)) {
            const auto *array = node->as_array();
            const auto hint = fmt::format("a list of any of \"{}\"", fmt::join(allowed, "\", \""));
            if (array == nullptr) {
                wrong(key, *node, hint);
                return values;
            }
            for (const auto &element : *array) {
                values.push_back(element.value_or(std::string{}));
                if (std::ranges::find(allowed, values.back()) == allowed.end()) {
                    wrong(key, element, hint);
                }
            }
        }
        return values;
    }

    const toml::table *table(std::string_view key) {
        const auto *node = find(key);
        if (node == nullptr) {
            return nullptr;
        }
        if (!node->is_table()) {
            wrong(key, *node, "a table");
        }
        return node->as_table();
    }

    std::vector<const toml::table *> tables(std::string_view key) {
        std::vector<const toml::table *> all;
        if (const auto *node = find(key)) {
            const auto *array = node->as_array();
            if (array == nullptr || !array->is_homogeneous(toml::node_type::table)) {
                wrong(key, *node, fmt::format("written as [[{}]]", key));
                return all;
            }
            for (const auto &element : *array) {
                all.push_back(element.as_table());
            }
        }
        return all;
    }

    /// A table of texts and numbers with any keys.
    std::map<std::string, std::string> settings(std::string_view key) {
        std::map<std::string, std::string> all;
        if (const auto *inner = table(key)) {
            for (const auto &[name, node] : *inner) {
                const std::string id(name.str());
                if (const auto *text = node.as_string()) {
                    all[id] = text->get();
                } else if (const auto *integer = node.as_integer()) {
                    all[id] = fmt::format("{}", integer->get());
                } else if (const auto *real = node.as_floating_point()) {
                    all[id] = fmt::format("{}", real->get());
                } else {
                    wrong(id, node, "a text or a number");
                }
            }
        }
        return all;
    }

    void mistake(std::string_view key, std::string what, std::string hint) {
        const auto *node = table_.get(key);
        mistakes_.add(node != nullptr ? node->source() : table_.source(), std::move(what), std::move(hint));
    }

    /// After everything was asked for.
    void finish() {
        for (const auto &[key, node] : table_) {
            if (!known_.contains(key.str())) {
                mistakes_.add(key.source(), fmt::format("{} does not know \"{}\"", label_, key.str()),
                              fmt::format("allowed: {}", fmt::join(known_, ", ")));
            }
        }
    }

  private:
    const toml::node *find(std::string_view key) {
        known_.emplace(key);
        return table_.get(key);
    }

    void wrong(std::string_view key, const toml::node &node, const std::string &allowed) {
        mistakes_.add(node.source(), fmt::format("{}: \"{}\" is not possible like this", label_, key),
                      fmt::format("allowed: {}", allowed));
    }

    double checked_number(std::string_view key, const toml::node &node, double otherwise, double least,
                          double most) {
        const auto value = node.value<double>();
        if (!node.is_number() || !value || !(*value >= least && *value <= most)) {
            wrong(key, node,
                  most == no_limit ? fmt::format("a number from {}", least)
                                   : fmt::format("a number from {} to {}", least, most));
            return otherwise;
        }
        return *value;
    }

    const toml::table &table_;
    std::string label_;
    Mistakes &mistakes_;
    std::set<std::string, std::less<>> known_;
};

} // namespace mps::lab
