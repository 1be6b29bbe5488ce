// SPDX-License-Identifier: MIT
//
// Built without D-Bus: nobody is asked.
#include "service/network_manager.hpp"

namespace mps::service {

struct NetworkManager::Talk {
    std::map<std::string, MeteredWord> words{};
};

NetworkManager::NetworkManager() : talk_(std::make_unique<Talk>()) {}
NetworkManager::~NetworkManager() = default;
int NetworkManager::fd() const { return -1; }
short NetworkManager::events() const { return 0; }
NetworkManager::Clock::time_point NetworkManager::next() const { return Clock::time_point::max(); }
void NetworkManager::keep_up() {}
void NetworkManager::wait(std::chrono::milliseconds) {}
NetworkManager::State NetworkManager::state() const { return State::no_bus; }
const std::map<std::string, MeteredWord> &NetworkManager::words() const { return talk_->words; }
std::vector<std::string> NetworkManager::news() { return {}; }

} // namespace mps::service
