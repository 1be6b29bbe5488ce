// SPDX-License-Identifier: MIT

#include "cli/binder.hpp"

#include <algorithm>
#include <stdexcept>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "mpsched/nearest.hpp"
#include "output/text.hpp"

namespace mps::cli {

namespace {

std::logic_error mismatch(const table::Command &command, std::string_view name, std::string_view trouble) {
    return std::logic_error(
        fmt::format("command table and code disagree: {} {}: {}", command.name(), name, trouble));
}

const table::Option &find_option(const table::Command &command, std::string_view name) {
    const auto found = std::ranges::find(command.options, name, &table::Option::name);
    if (found == command.options.end())
        throw mismatch(command, name, "not in the table");
    return *found;
}

// CLI11 only collects; conversion and checks are ours, because its own would split "[a,b]" or swallow "{}".
const CLI::callback_t accept_all = [](const CLI::results_t &) { return true; };

} // namespace

std::string cli11_name(const table::Option &option) {
    std::string name(option.name);
    if (!option.short_name.empty())
        name += "," + std::string(option.short_name);
    return name;
}

const table::Argument &Binder::find_argument(std::string_view name, bool many) const {
    const auto found = std::ranges::find(command_->arguments, name, &table::Argument::name);
    if (found == command_->arguments.end())
        throw mismatch(*command_, name, "not in the table");
    if (found->many != many)
        throw mismatch(*command_, name, "one value or many?");
    // CLI11 fills positional arguments in the order in which they were added.
    const auto position = std::distance(command_->arguments.begin(), found);
    if (static_cast<std::size_t>(position) != arguments_)
        throw mismatch(*command_, name, "bound out of order");
    return *found;
}

CLI::Option *Binder::add_argument(std::string_view name, bool many) {
    const table::Argument &argument = find_argument(name, many);
    CLI::Option *option = app_->add_option("arg" + std::to_string(arguments_++), accept_all);
    if (many)
        option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args();
    option->required(argument.required);
    return option;
}

CLI::Option *Binder::add_option(std::string_view name, bool repeats) {
    const table::Option &option = find_option(*command_, name);
    if (option.is_flag() || option.repeats != repeats)
        throw mismatch(*command_, name, "flag, single value or repeated?");
    CLI::Option *added = app_->add_option(cli11_name(option), accept_all);
    if (repeats)
        added->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    added->allow_extra_args(false);
    if (!option.implied.empty())
        added->expected(0, 1);
    return added;
}

void Binder::remember(std::string_view name, CLI::Option *option,
                      std::function<void(const std::vector<std::string> &)> store) {
    if (!bound_.emplace(name, option).second)
        throw mismatch(*command_, name, "bound twice");
    stored_.push_back({option, std::move(store)});
}

void Binder::argument(std::string_view name, std::string &value) {
    remember(name, add_argument(name, false), [&value](const auto &given) { value = given.front(); });
}

void Binder::argument(std::string_view name, std::optional<std::string> &value) {
    remember(name, add_argument(name, false), [&value](const auto &given) { value = given.front(); });
}

void Binder::argument(std::string_view name, std::vector<std::string> &values) {
    remember(name, add_argument(name, true), [&values](const auto &given) { values = given; });
}

void Binder::option(std::string_view name, std::string &value) {
    value = find_option(*command_, name).default_value;
    remember(name, add_option(name, false), [&value](const auto &given) { value = given.front(); });
}

void Binder::option(std::string_view name, std::optional<std::string> &value) {
    const std::string implied(find_option(*command_, name).implied);
    CLI::Option *added = add_option(name, false);
    remember(name, added, [&value, implied](const auto &given) {
        // CLI11 tells of a value that was left out as of a flag.
        const bool left_out = !implied.empty() && (given.front().empty() || given.front() == "true");
        value = left_out ? implied : given.front();
    });
}

void Binder::option(std::string_view name, std::vector<std::string> &values) {
    remember(name, add_option(name, true), [&values](const auto &given) { values = given; });
}

void Binder::flag(std::string_view name, bool &value) {
    const table::Option &option = find_option(*command_, name);
    if (!option.is_flag())
        throw mismatch(*command_, name, "takes a value");
    CLI::Option *added = app_->add_flag(cli11_name(option))->disable_flag_override();
    added->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    remember(name, added, [&value](const auto &) { value = true; });
}

void Binder::check_complete() const {
    const auto check = [&](std::string_view name) {
        if (!bound_.contains(name))
            throw mismatch(*command_, name, "in the table, but not used");
    };
    for (const table::Argument &argument : command_->arguments)
        check(argument.name);
    for (const table::Option &option : command_->options)
        check(option.name);
    if (!run_)
        throw mismatch(*command_, "run", "missing");
}

Result<void> check_value(const table::Option &option, const std::string &value, std::string_view command) {
    const std::string of = command.empty() ? "" : fmt::format(" of '{}'", command);
    if (value.starts_with('-'))
        return usage_error(fmt::format("option '{}'{} needs a value {}, not {}", option.name, of,
                                       option.value, text::quoted(value)),
                           std::string(option.text));
    if (!option.allowed.empty() && std::ranges::find(option.allowed, value) == option.allowed.end()) {
        const std::vector<std::string> allowed(option.allowed.begin(), option.allowed.end());
        return usage_error(fmt::format("option '{}'{} cannot be {}", option.name, of, text::quoted(value)),
                           fmt::format("{}valid are: {}", did_you_mean(value, allowed), text::join(allowed)));
    }
    return {};
}

Result<void> Binder::store() {
    for (const table::Option &option : command_->options) {
        if (option.is_flag())
            continue;
        for (const std::string &value : bound_.at(std::string(option.name))->results())
            if (auto checked = check_value(option, value, command_->name()); !checked)
                return checked;
    }
    for (const Stored &one : stored_)
        if (!one.option->results().empty())
            one.store(one.option->results());
    return {};
}

} // namespace mps::cli
