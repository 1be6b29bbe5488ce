// SPDX-License-Identifier: MIT
#include "kernel/verifier_log.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include <fmt/format.h>

namespace mps {

namespace {

struct KnownReason {
    std::string_view pattern;
    std::string_view hint;
};

// Hints that several reasons share.
constexpr std::string_view missing_helper =
    "this kernel does not offer that helper here; see 'mpsched probe'";
constexpr std::string_view simplify =
    "too many paths through the program: fewer branches inside loops over subflows, or a step moved into a "
    "global (not static) function, which is verified once";
constexpr std::string_view bound_index = "bound the index before use, for example with mps_row(i)";
constexpr std::string_view constant_index =
    "an array on the stack or in the context is indexed by a variable: use constant indices in an unrolled "
    "loop, or keep the array in the policy's state";

// Searched in the last lines of the log, first match wins. Each row has a golden log in tests/loader/golden.
constexpr std::array known_reasons{
    KnownReason{"cannot call GPL-restricted function", "declare the licence as GPL: MPS_POLICY() does"},
    KnownReason{"invalid func ", missing_helper},
    KnownReason{"cannot use helper", missing_helper},
    KnownReason{"calling kernel function",
                "this kernel does not offer that function here; see 'mpsched probe'"},
    KnownReason{"BPF program is too large", simplify},
    KnownReason{"jumps is too complex", simplify},
    KnownReason{"infinite loop detected", "give the loop a constant bound, such as MPS_MAX_SUBFLOWS"},
    KnownReason{"combined stack size", "at most 512 bytes of stack: keep large things in the policy's state"},
    KnownReason{"_or_null'", "check the pointer for NULL before using it"},
    KnownReason{"variable-offset", constant_index},
    KnownReason{"variable ctx access", constant_index},
    KnownReason{"unbounded memory access", bound_index},
    KnownReason{"unbounded min value", bound_index},
    KnownReason{"outside of the allowed memory range", bound_index},
    KnownReason{"write into map forbidden", "parameters and constants are read-only for a policy"},
    KnownReason{"!read_ok", "a variable is used before it is set on some path"},
};

constexpr std::string_view end_of_log = "processed ";

bool is_meaningful(std::string_view line) {
    const auto starts = [&](std::string_view text) { return line.starts_with(text); };
    if (line.find_first_not_of(" \t\r") == std::string_view::npos)
        return false;
    // The states of an infinite loop come behind the line that says so.
    return !(starts(end_of_log) || starts("verification time ") || starts("stack depth ") ||
             starts("cur state:") || starts("old state:"));
}

} // namespace

VerifierExcerpt verifier_excerpt(std::string_view log, std::size_t lines) {
    const bool log_is_cut = log.size() >= verifier_log_size - 1 && log.rfind(end_of_log) == log.npos;
    std::vector<std::string_view> meaningful;
    while (!log.empty()) {
        const std::size_t end = log.find('\n');
        std::string_view line = log.substr(0, end);
        log = end == std::string_view::npos ? std::string_view{} : log.substr(end + 1);
        if (is_meaningful(line))
            meaningful.push_back(line);
    }
    VerifierExcerpt result;
    if (meaningful.empty())
        return result;

    const std::size_t omitted = meaningful.size() > lines ? meaningful.size() - lines : 0;
    for (std::size_t i = omitted; i < meaningful.size(); i++) {
        if (!result.excerpt.empty())
            result.excerpt += '\n';
        result.excerpt += meaningful[i];
    }
    // Before 6.4 (commit 1216640938035) a log that was too long lost its end, and with it the reason.
    if (log_is_cut) {
        result.reason = "the log is too long to tell the reason";
        result.hint = simplify;
        return result;
    }
    if (omitted)
        result.excerpt += fmt::format("\n({} lines omitted, -v shows all)", omitted);
    result.reason = meaningful.back();
    for (const KnownReason &known : known_reasons) {
        const bool found =
            std::any_of(meaningful.begin() + static_cast<std::ptrdiff_t>(omitted), meaningful.end(),
                        [&](std::string_view line) { return line.find(known.pattern) != line.npos; });
        if (found) {
            result.hint = known.hint;
            break;
        }
    }
    return result;
}

} // namespace mps
