// SPDX-License-Identifier: MIT
//
// What NetworkManager says of connections: which are metered. Asked over the system's D-Bus, without ever waiting for it: a bus that is not
// there, refuses, hangs or lies costs nothing but what it would have told.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace mps::service {

// Of one interface.
struct MeteredWord {
    bool metered = false;
    bool guessed = false;  // nobody has said so in the connection's settings
    std::string address{}; // of the link layer, to tell it from another of that name; "" where there is none

    friend bool operator==(const MeteredWord &, const MeteredWord &) = default;
};

class NetworkManager {
  public:
    using Clock = std::chrono::steady_clock;
    enum class State {
        no_bus, // there is none, or it does not let us in
        silent, // it takes what is sent and does not answer, or not as agreed
        absent, // it works, and NetworkManager is not there
        asking, // for the first time
        answers
    };
    // How long an answer may take.
    static constexpr auto patience = std::chrono::seconds(5);

    NetworkManager();
    ~NetworkManager();
    NetworkManager(const NetworkManager &) = delete;
    NetworkManager &operator=(const NetworkManager &) = delete;

    // To be waited for: poll()'s; -1 while there is nothing.
    [[nodiscard]] int fd() const;
    [[nodiscard]] short events() const;
    // When keep_up() has something to do even if nothing comes.
    [[nodiscard]] Clock::time_point next() const;

    // Connects, takes what has come, asks again where something has changed, and gives up on who does not answer.
    void keep_up();
    // The same until something is known, at most that long.
    void wait(std::chrono::milliseconds most);

    [[nodiscard]] State state() const;
    // By the name of the interface that has the addresses. What was said last stays while NetworkManager is away: that it is being
    // updated makes no connection cheaper.
    [[nodiscard]] const std::map<std::string, MeteredWord> &words() const;
    // What became of the bus since the last call.
    [[nodiscard]] std::vector<std::string> news();

  private:
    struct Talk;
    std::unique_ptr<Talk> talk_;
};

} // namespace mps::service
