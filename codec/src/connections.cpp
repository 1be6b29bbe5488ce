// SPDX-License-Identifier: MIT

#include "codec/connections.hpp"

#include <algorithm>
#include <string>

#include "codec/sha256.hpp"

namespace mps::codec {

std::uint32_t token_of(ByteView key) {
    const std::string digest = sha256(std::as_bytes(key));
    return static_cast<std::uint32_t>(std::stoul(digest.substr(0, 8), nullptr, 16));
}

std::size_t Connections::begin(const Flow &flow) {
    Connection connection;
    connection.number = all_.size();
    connection.subflows = 1;
    all_.push_back(connection);
    return flows_[flow] = all_.size() - 1;
}

void Connections::remember(std::optional<std::uint32_t> &place, std::size_t number, ByteView key) {
    place = token_of(key);
    tokens_[*place] = number;
}

void Connections::learn_capable(const Segment &segment, const Flow &flow, const MptcpOption &option) {
    const bool syn = segment.has(TcpFlag::syn), ack = segment.has(TcpFlag::ack);
    const auto found = flows_.find(flow);
    // Ports are used again: a SYN begins another connection. One that is repeated has told no token yet.
    const bool again = syn && !ack && found != flows_.end() && all_[found->second].client_token;
    const std::size_t number = found == flows_.end() || again ? begin(flow) : found->second;
    Connection &connection = all_[number];

    if (option.version() != 1)
        return;
    const auto sender = option.field(MPTCP_FIELD_sender_key),
               receiver = option.field(MPTCP_FIELD_receiver_key);
    if (syn && ack) {
        if (sender && !connection.server_token)
            remember(connection.server_token, number, *sender);
    } else if (!syn && sender && receiver && !connection.client_token) {
        remember(connection.client_token, number, *sender);
        remember(connection.server_token, number, *receiver);
    }
}

void Connections::learn_join(const Flow &flow, const MptcpOption &option) {
    const auto token = option.number(MPTCP_FIELD_token);
    if (!token)
        return;
    const auto named = tokens_.find(static_cast<std::uint32_t>(*token));
    if (named != tokens_.end()) {
        const auto known = flows_.find(flow);
        if (known == flows_.end() || known->second != named->second)
            all_[named->second].subflows++;
        flows_[flow] = named->second;
        return;
    }
    const std::size_t number = begin(flow);
    all_[number].joined_token = static_cast<std::uint32_t>(*token);
    tokens_[static_cast<std::uint32_t>(*token)] = number;
}

Connection *Connections::learn(const Segment &segment, std::span<const MptcpOption> options) {
    const Flow flow = std::minmax(segment.source, segment.destination);
    for (const MptcpOption &option : options) {
        if (!option.has_subtype())
            continue;
        if (option.subtype() == MPTCP_SUB_MP_CAPABLE)
            learn_capable(segment, flow, option);
        else if (option.subtype() == MPTCP_SUB_MP_JOIN && segment.has(TcpFlag::syn))
            learn_join(flow, option);
    }
    const auto found = flows_.find(flow);
    if (found == flows_.end())
        return nullptr;
    all_[found->second].packets++;
    return &all_[found->second];
}

} // namespace mps::codec
