// SPDX-License-Identifier: MIT
//
// Which MPTCP connection a segment belongs to, learnt from handshakes in the order in which they pass: the keys of MP_CAPABLE give both
// hosts' tokens, and MP_JOIN names the token that it joins. Version 0 (whose tokens are made by SHA-1) is followed on its first subflow alone.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "codec/options.hpp"
#include "codec/segment.hpp"

namespace mps::codec {

// RFC 8684 section 3.2: the first 32 bits of the key's SHA-256.
[[nodiscard]] std::uint32_t token_of(ByteView key);

struct Connection {
    std::size_t number = 0; // from 0 on, in order of appearance
    // Of the host that asked for the connection, and of the one that answered; as far as they were seen.
    std::optional<std::uint32_t> client_token, server_token;
    // Where the capture does not have its beginning: what its first join named, which may be either's.
    std::optional<std::uint32_t> joined_token;
    std::size_t subflows = 0;
    std::uint64_t packets = 0;

    [[nodiscard]] bool has(std::uint32_t token) const {
        return client_token == token || server_token == token || joined_token == token;
    }
};

class Connections {
  public:
    // Learns what the segment tells, and returns its connection; nullptr if that is not known.
    Connection *learn(const Segment &segment, std::span<const MptcpOption> options);
    [[nodiscard]] std::span<const Connection> all() const { return all_; }

  private:
    using Flow = std::pair<Endpoint, Endpoint>; // the smaller end first

    std::size_t begin(const Flow &flow);
    void learn_capable(const Segment &segment, const Flow &flow, const MptcpOption &option);
    void learn_join(const Flow &flow, const MptcpOption &option);
    void remember(std::optional<std::uint32_t> &place, std::size_t number, ByteView key);

    std::vector<Connection> all_;
    std::map<Flow, std::size_t> flows_;
    std::map<std::uint32_t, std::size_t> tokens_;
};

} // namespace mps::codec
