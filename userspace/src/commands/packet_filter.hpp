// SPDX-License-Identifier: MIT
//
// Which packets `decode` and `trace` show: --connection, --option, --host, --port.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "cli/binder.hpp"
#include "codec/connections.hpp"

namespace mps::cli {

// A connection's token as 'conns' shows it.
[[nodiscard]] Result<std::uint32_t> token_of_word(std::string_view word);

// As they stand on the command line.
struct FilterWords {
    std::optional<std::string> connection, host, port;
    std::vector<std::string> options;
};

void bind_filter(Binder &binder, FilterWords &words);

struct PacketFilter {
    std::optional<std::uint32_t> token;
    std::set<unsigned> subtypes;         // of which the packet has one; none given: any
    std::optional<codec::Endpoint> host; // its address
    std::optional<std::uint16_t> port;

    [[nodiscard]] static Result<PacketFilter> of(const FilterWords &words);
    // From connections that were learnt before: also packets count that came before the token was told.
    void resolve(const codec::Connections &known);
    [[nodiscard]] bool wants(const codec::Segment &segment, std::span<const codec::MptcpOption> options,
                             const codec::Connection *connection) const;

  private:
    std::set<std::size_t> numbers_;
};

} // namespace mps::cli
