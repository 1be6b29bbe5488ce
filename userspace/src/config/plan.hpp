// SPDX-License-Identifier: MIT
//
// From what is desired and what there is to what is to be done. `config diff` shows it, `config apply` and mpschedd do it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/desired.hpp"
#include "mpsched/instance.hpp"

namespace mps::config {

struct Action {
    enum class Kind {
        attach,
        attributes,
        fallback,
        engine,
        rule,
        unrule,
        option_rules,
        application,
        no_application,
        congestion,
        no_congestion,
        spread,
        no_spread,
        detach,
        forget
    };
    Kind kind = Kind::attach;
    std::string object{}; // what it is about: "interface lte0", "default policy", "engine", "rule rport=443"
    std::string text{};   // what is to change, for people
    std::string name{};   // of the interface, or the selector of the rule
    Mode mode = Mode::automatic;
    Role role = Role::host;
    bool other_role = false; // it is attached in another one, which is to end first
    PathChange change{};
    // Only the parameters differ: the policy stays where it is, in this slot.
    std::optional<std::uint32_t> only_parameters{};
    std::string policy{};
    Direction direction = Direction::both;
    std::vector<Setting> settings{};
    std::optional<std::uint32_t> position{}; // of a rule
    ApplicationGrant grant{};
    std::vector<CongestionUse> congestion{};
};

// What is desired but cannot be done yet.
struct Waiting {
    std::string object{};
    std::string why{};
};

struct Plan {
    std::vector<Action> actions{};
    std::vector<Waiting> waiting{};
    std::vector<std::string> objects{}; // everything that is desired and can be had now
};

struct Facts {
    Status status{};
    std::vector<NetworkInterface> interfaces{};
    // Of each rule that is desired: its selector as status has it, or why it cannot be had.
    std::vector<Result<std::string>> selectors{};
    std::vector<OptionRule> option_rules{};
    std::vector<ApplicationGrant> applications{};
    // Of each cgroup that is desired: its path as `applications` have it, or why it cannot be had.
    std::vector<Result<std::string>> cgroups{};
    std::vector<CongestionRule> congestion{};
    std::vector<std::string> congestion_selectors{}; // of each rule that is desired, as `congestion` has it
    SpreadStatus spread{};                           // without its subflows
};

[[nodiscard]] Result<Facts> look(const Instance &instance, const Desired &desired);
[[nodiscard]] Plan make_plan(const Desired &desired, const Facts &facts);

// Does one; the warnings that came of it.
[[nodiscard]] Result<std::vector<std::string>> perform(Instance &instance, const Desired &desired,
                                                       const Action &action);

struct Outcome {
    Action action{};
    std::optional<Error> error{};
    std::vector<std::string> warnings{};
};
// What the caller may have to say to an action before it is done: false leaves it out.
using Consider = std::function<bool(Action &)>;
struct Reconciled {
    std::vector<Outcome> outcomes{};
    Facts facts{}; // as they are now
};
// Plans and does, interfaces first. Goes on behind what fails.
[[nodiscard]] Result<Reconciled> reconcile(Instance &instance, const Desired &desired,
                                           const Consider &consider = {});

// What runs now as the sections of a file.
[[nodiscard]] std::vector<Section> exported(const Status &status,
                                            const std::vector<OptionRule> &option_rules = {},
                                            const std::vector<ApplicationGrant> &applications = {},
                                            const std::vector<CongestionRule> &congestion = {},
                                            const SpreadStatus &spread = {});

} // namespace mps::config
