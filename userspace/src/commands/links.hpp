// SPDX-License-Identifier: MIT
//
// What links say of themselves and others say of them, for `status` and `path`.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "commands/render.hpp"
#include "mpsched/links.hpp"

namespace mps::cli {

class LinkWords {
  public:
    // `service`: what mpschedd says of itself, or null.
    LinkWords(std::vector<Link> links, const Json &service);
    // Asks both; what cannot be had is a warning.
    [[nodiscard]] static LinkWords look(const Instance &instance, const Json &service,
                                        std::vector<std::string> &warnings);

    // "wifi, -61 dBm, 802.11ac, metered (NetworkManager)"; "" of what is not there.
    [[nodiscard]] std::string text(std::uint32_t ifindex) const;
    // null of what is not there.
    [[nodiscard]] Json json(std::uint32_t ifindex) const;

  private:
    [[nodiscard]] const Link *find(std::uint32_t ifindex) const;
    std::vector<Link> links_;
    Json said_; // by NetworkManager, of interfaces
};

// The interfaces that are called metered, by what mpschedd says of itself.
[[nodiscard]] std::set<std::string> metered_names(const Json &service);

} // namespace mps::cli
