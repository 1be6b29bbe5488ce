// SPDX-License-Identifier: MIT
//
// What happens to interfaces, paths, policies and connections of a network namespace, as it happens. Interfaces and addresses are told by
// the kernel (rtnetlink); all else is looked at, at an interval, since no one place tells it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mpsched/event_words.hpp"
#include "mpsched/instance.hpp"

namespace mps {

struct Event {
    enum class Kind {
        link_new,
        link_gone,
        link_renamed,
        link_up,
        link_down,
        address_new,
        address_gone,
        installed,
        removed,
        attached,
        detached,
        path_up,
        path_down,
        path_changed,
        policy,
        rx_policy,
        rule_new,
        rule_gone,
        rule_changed,
        quota_near,
        quota_used_up,
        quota_anew,
        failover,
        connection_begun,
        connection_ended,
        connection_policy,
        subflow_joined,
        subflow_left,
        verdict,
    };
    Kind kind = Kind::link_new;
    std::string interface{};
    std::optional<std::uint32_t> token{};   // of a connection, where it is about one
    std::optional<std::uint32_t> subflow{}; // its id
    std::string about{};                    // an address, the selector of a rule, the name of an attribute
    std::string before{};                   // what it was
    std::string now{};                      // what it is; of a failover the interfaces that carry on
    std::string why{};                      // of a failover: "silent", "down", "stale", "gone"
    unsigned connections = 0;               // of a failover: how many
};
[[nodiscard]] constexpr const EventKindWord &word_of(Event::Kind kind) {
    return event_kinds[static_cast<std::size_t>(kind)];
}

// Valid as long as the Instance that made it.
class MPS_API Events {
  public:
    Events(Events &&) noexcept;
    Events &operator=(Events &&) noexcept;
    ~Events();

    // Readable when it is time to look.
    [[nodiscard]] int fd() const;
    // Looks now, and tells what has happened since the last look. Never waits.
    [[nodiscard]] Result<std::vector<Event>> read();
    // What cannot be seen as things are now, a sentence each.
    [[nodiscard]] std::vector<std::string> blind() const;

    struct Impl;
    explicit Events(std::unique_ptr<Impl> impl);

  private:
    std::unique_ptr<Impl> impl_;
};

// Works without an installation, too: then of links and addresses alone, until there is one.
[[nodiscard]] MPS_API Result<Events> start_events(const Instance &instance, std::uint32_t interval_ms = 500);

} // namespace mps
