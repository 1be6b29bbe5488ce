// SPDX-License-Identifier: MIT
//
// What systemd is told, by the protocol of sd_notify(3): datagrams to the socket in $NOTIFY_SOCKET. Without one nothing.
#pragma once

#include <chrono>
#include <string>

namespace mps::service {

class Notify {
  public:
    Notify();
    void ready(const std::string &status) const;
    void reloading() const;
    void stopping() const;
    void alive() const;
    // How often alive() is due; 0: nobody waits for it.
    [[nodiscard]] std::chrono::milliseconds watchdog() const { return watchdog_; }

  private:
    void send(const std::string &text) const;
    std::string address_{};
    std::chrono::milliseconds watchdog_{0};
};

} // namespace mps::service
