// SPDX-License-Identifier: MIT
//
// Which interfaces of the network namespace are called metered, and by whom.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "mpsched/instance.hpp"
#include "service/network_manager.hpp"
#include "json/documents.hpp"

namespace mps::service {

class Metered {
  public:
    // `elsewhere`: another network namespace than the one in which we run. NetworkManager is hardly there, and a name alone does not
    // tell that it speaks of the same interface.
    Metered(const Instance &instance, bool elsewhere) : instance_(instance), elsewhere_(elsewhere) {}

    [[nodiscard]] NetworkManager &bus() { return bus_; }
    [[nodiscard]] const NetworkManager &bus() const { return bus_; }
    // Something is said that was not looked at yet.
    [[nodiscard]] bool is_news() const { return bus_.words() != seen_; }
    // True: something is said that was not before, or the other way round.
    bool look(bool interfaces_changed);
    [[nodiscard]] std::set<std::string> names() const;
    [[nodiscard]] std::map<std::string, bool> flags() const;
    // null where nobody says anything.
    [[nodiscard]] Json describe() const;
    [[nodiscard]] std::vector<std::string> news();

  private:
    const Instance &instance_;
    bool elsewhere_;
    NetworkManager bus_{};
    std::map<std::string, MeteredWord> seen_{}; // all of it, as it was looked at last
    std::map<std::string, MeteredWord> ours_{}; // of interfaces that are here
    std::vector<std::string> news_{};
};

} // namespace mps::service
