// SPDX-License-Identifier: MIT
//
// Follows one key of a store: what is right becomes the file of settings, what is not is refused, and the store is told which.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "service/store/watcher.hpp"
#include "json/documents.hpp"

namespace mps::service::store {

// As mpschedd's options have them.
struct Options {
    std::string address{}; // "": no store
    std::string node{};    // "": this host's name
    std::string login_file{};
    Tls tls{};
};

class StoreFollower {
  public:
    // `config`: the file that is written; `state`: the folder that remembers what was taken.
    [[nodiscard]] static Result<StoreFollower> start(const Options &options, std::string config,
                                                     std::string state);

    [[nodiscard]] int fd() const { return watcher_ ? watcher_->fd() : -1; }
    // Takes what came. `reload`: the file is another one now.
    void receive(const std::function<void()> &reload);
    // What became of it, to be reported to the store if that is news. Also starts the process anew that is gone.
    void tell(const std::string &config_revision, const std::function<std::string()> &summary);
    // What `status` shows.
    [[nodiscard]] Json describe() const;
    // Worth telling since the last call.
    [[nodiscard]] std::vector<std::string> news() { return std::exchange(news_, {}); }

  private:
    StoreFollower(WatcherOptions options, std::string config, std::string state)
        : options_(std::move(options)), config_(std::move(config)), state_(std::move(state)) {}
    [[nodiscard]] std::string memory() const { return state_ + "/store.json"; }
    void remember();
    void recall();
    // Why it cannot be taken.
    Result<void> check(const Value &value) const;
    void take(const Value &value, const std::function<void()> &reload);
    void take_right(const Value &value, const std::function<void()> &reload);
    void note(std::string &place, std::string what);

    WatcherOptions options_;
    std::string config_;
    std::string state_;
    std::optional<Watcher> watcher_{};
    std::string cluster_{};
    std::int64_t revision_ = 0; // the last that was looked at
    std::optional<Error> refused_{};
    bool reached_ = false;
    std::string fault_{}; // why it is not reached
    std::string doubt_{}; // why what it says is not believed
    Json told_{};
    std::chrono::steady_clock::time_point told_at_{}, started_{};
    std::vector<std::string> news_{};
};

} // namespace mps::service::store
