// SPDX-License-Identifier: MIT
//
// What became of the sockets of one `mpsched run`: kept in memory that the supervisor shares with the one that stands in for it.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "json/documents.hpp"

namespace mps::run {

/// Why a socket that could have been MPTCP's stayed one of TCP.
enum class Plain : std::uint8_t {
    refused,   ///< the kernel makes no MPTCP sockets there (net.mptcp.enabled)
    netns,     ///< the process is in a network namespace that the supervisor may not enter
    option,    ///< it sets an option that MPTCP has not, and got a TCP socket in its place
    unhandled, ///< whoever handled it was killed meanwhile
};
inline constexpr std::size_t plain_reasons = 4;

/// Who makes the sockets.
enum class Way : std::uint8_t {
    seccomp, ///< a process that is asked for each
    fmod_ret ///< the kernel, by a BPF program
};
[[nodiscard]] std::string_view to_string(Way way);

struct Ledger {
    std::atomic<std::uint64_t> mptcp = 0;
    std::array<std::atomic<std::uint64_t>, plain_reasons> plain{};
    /// The seccomp notification that was answered last, 0: none yet.
    std::atomic<std::uint64_t> last = 0;

    void count(Plain reason) { plain[static_cast<std::size_t>(reason)]++; }
};

/// "3 sockets became MPTCP; 1 stayed TCP (1: …)"
[[nodiscard]] std::string text_of(const Ledger &ledger);
[[nodiscard]] Json json_of(const Ledger &ledger, Way way);

} // namespace mps::run
