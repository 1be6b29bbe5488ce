// SPDX-License-Identifier: MIT
//
// The one description of the command line. Parser, --help, man page, shell completion and docs/commands.md
// are all made from it, so a text or an option is written once. What a command does is in
// commands/<verb>.cpp, which refers to the entries here by name; a command that refers to an entry that
// does not exist, or leaves one out, stops the program at its start (cli/binder.cpp).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mps::table {

// What the shell offers for a value.
enum class Complete {
    nothing,
    one_of, // the values in `allowed`
    interface,
    attached, // an interface that is attached
    netns,
    policy,
    loaded, // a policy that is loaded
    policy_or_file,
    file,           // a policy object
    capture,        // a pcap or pcapng file
    parameter,      // key=value of a policy
    path_attribute, // key=value of `path`
    selector,
    rule,         // the selector of a rule that exists
    option_match, // key=value of `rule add`
    command,
    program, // any program, and what it takes
};

struct Option {
    std::string_view name;            // "--mode"
    std::string_view short_name = {}; // "-s"
    std::string_view value = {};      // "MODE"; a flag has none
    std::vector<std::string_view> allowed{};
    std::string_view default_value = {};
    std::string_view implied = {}; // what it means without its value, where that may be left out
    bool repeats = false;
    Complete complete = Complete::nothing;
    std::string_view text; // one line

    [[nodiscard]] bool is_flag() const { return value.empty(); }
    // The next word is its value, whatever it is.
    [[nodiscard]] bool takes_word() const { return !value.empty() && implied.empty(); }
    // "", "NAME", "[SECONDS]"
    [[nodiscard]] std::string value_term() const;
};

struct Argument {
    std::string_view name; // "IFACE", "key=value"
    bool required = true;
    bool many = false;
    Complete complete = Complete::nothing;
    std::string_view text;
    std::vector<std::string_view> allowed{}; // what completion offers with Complete::one_of
};

struct Example {
    std::string_view line; // after "mpsched "
    std::string_view text;
};

// Headings of the verbs in --help, in their order.
enum class Group { look, interfaces, policies, paths, options, congestion, applications, service, other };

struct Command {
    std::string_view verb;
    std::string_view sub_verb = {}; // "list" of "policy list"
    Group group = Group::other;
    // It changes something in the kernel: a signal must not end it half-way.
    bool changes = false;
    // In which member of a --json=2 document the answer stands; empty: its members are the document's own.
    std::string_view json_member = {};
    bool json_list = false;   // that member is a list, also where the answer is a single entry
    std::string_view summary; // one line
    std::vector<std::string_view> description{}; // paragraphs
    std::vector<Argument> arguments{};
    std::vector<Option> options{};
    std::vector<Example> examples{};

    // "policy list"
    [[nodiscard]] std::string name() const;
    // "attach IFACE… [--mode MODE] [--force]"
    [[nodiscard]] std::string synopsis() const;
};

struct ExitCode {
    int code;
    std::string_view text;
};

struct Topic {
    std::string_view title;
    std::string_view text;
};

// A term and what it means; used for selectors, attributes and the environment.
struct Term {
    std::string_view term;
    std::string_view text;
};

inline constexpr std::string_view program = "mpsched";
inline constexpr std::string_view tagline = "choose and swap the packet schedulers of Multipath TCP, live";

[[nodiscard]] std::span<const Command> commands();
[[nodiscard]] std::span<const Option> global_options();
[[nodiscard]] std::span<const Example> examples();
[[nodiscard]] std::span<const ExitCode> exit_codes();
[[nodiscard]] std::span<const Term> selector_terms();
[[nodiscard]] std::span<const Term> path_attributes();
// What rules about options are made of.
[[nodiscard]] std::span<const Term> option_terms();
[[nodiscard]] std::span<const Term> option_action_terms();
[[nodiscard]] std::span<const Term> option_match_terms();
[[nodiscard]] std::span<const Term> environment();
// Commands that people try because other tools have them, and what there is instead.
[[nodiscard]] std::span<const Term> absent_commands();
[[nodiscard]] std::string_view group_title(Group group);

// nullptr if there is none. `name` as given by Command::name().
[[nodiscard]] const Command *find_command(std::string_view name);

// The first words of all commands, each once, in table order: "probe", "attach", …, "policy".
[[nodiscard]] std::vector<std::string_view> verbs();
// The second words of a verb; empty if it has none.
[[nodiscard]] std::vector<std::string_view> sub_verbs(std::string_view verb);

} // namespace mps::table
