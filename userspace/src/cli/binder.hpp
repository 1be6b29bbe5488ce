// SPDX-License-Identifier: MIT
//
// Connects one entry of the command table with the variables of the command that implements it.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/command.hpp"
#include "table/command_table.hpp"

// Its header is large; only the parser and the binder itself need it.
namespace CLI {
class App;
class Option;
} // namespace CLI

namespace mps::cli {

class Binder {
  public:
    // `app` is the (empty) subcommand that belongs to `command`.
    Binder(CLI::App &app, const table::Command &command) : app_(&app), command_(&command) {}

    // Each throws std::logic_error if the table has no such entry, or one of another kind. The variables
    // must live as long as the function given to run(), which should own them.
    void argument(std::string_view name, std::string &value);
    void argument(std::string_view name, std::optional<std::string> &value);
    void argument(std::string_view name, std::vector<std::string> &values);
    void option(std::string_view name, std::string &value); // starts as the table's default
    void option(std::string_view name, std::optional<std::string> &value);
    void option(std::string_view name, std::vector<std::string> &values);
    void flag(std::string_view name, bool &value);
    void run(Run run) { run_ = std::move(run); }

    // Throws std::logic_error if something of the table's entry was not bound.
    void check_complete() const;

    // After a successful parse: moves what was given into the variables. Values that the table does not
    // allow, and values that look like options, are usage errors.
    [[nodiscard]] Result<void> store();

    [[nodiscard]] const table::Command &command() const { return *command_; }
    [[nodiscard]] const Run &runner() const { return run_; }
    [[nodiscard]] const std::map<std::string, CLI::Option *, std::less<>> &bound() const { return bound_; }

  private:
    const table::Argument &find_argument(std::string_view name, bool many) const;
    CLI::Option *add_option(std::string_view name, bool repeats);
    CLI::Option *add_argument(std::string_view name, bool many);
    void remember(std::string_view name, CLI::Option *option,
                  std::function<void(const std::vector<std::string> &)> store);

    struct Stored {
        CLI::Option *option;
        std::function<void(const std::vector<std::string> &)> store;
    };

    CLI::App *app_;
    const table::Command *command_;
    Run run_;
    std::size_t arguments_ = 0; // bound so far
    std::map<std::string, CLI::Option *, std::less<>> bound_;
    std::vector<Stored> stored_;
};

// "--set,-s", as CLI11 wants it.
[[nodiscard]] std::string cli11_name(const table::Option &option);

// A value option takes no value that begins with '-': that would nearly always be a forgotten value.
[[nodiscard]] Result<void> check_value(const table::Option &option, const std::string &value,
                                       std::string_view command);

} // namespace mps::cli
