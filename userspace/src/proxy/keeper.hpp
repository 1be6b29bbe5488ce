// SPDX-License-Identifier: MIT
//
// Keeps a proxy: its sockets, what intercepts connections, and a relay that is alive. All of it ends with its process.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "mpsched/proxy.hpp"
#include "proxy/control.hpp"
#include "proxy/relay.hpp"
#include "proxy/spec.hpp"
#include "json/documents.hpp"

namespace mps::proxy {

class Keeper {
  public:
    /// Returns when the relay answers and connections go to it.
    [[nodiscard]] static Result<std::unique_ptr<Keeper>> start(const Spec &spec, bool speaks);
    Keeper(const Keeper &) = delete;
    Keeper &operator=(const Keeper &) = delete;
    ~Keeper();

    /// Until somebody calls "stop", or `stop` is readable.
    void run(int stop);
    [[nodiscard]] Json status() const;

  private:
    using Clock = std::chrono::steady_clock;
    enum class State { starting, ready, silent, ended };

    Keeper(Spec spec, bool speaks) : spec_(std::move(spec)), speaks_(speaks) {}
    Result<void> open_sockets();
    Result<void> wait_until_ready();
    Result<void> begin_relay();
    void wait_for(int stop, std::chrono::milliseconds longest);
    void on_end();
    void on_words();
    void ask_if_alive();
    void on_answer();
    void on_time();
    void offer(bool to_relay);
    [[nodiscard]] bool answer_calls();
    void lend_relay(const Call &call) const;

    Spec spec_;
    bool speaks_; // what the relay says goes to our standard error
    Fd commands_{}, alive_{};
    std::vector<Fd> listeners_{}; // of the far end
    std::optional<Interception> interception_{};
    Relay relay_{};
    State state_ = State::ended;
    bool offered_ = false;
    Fd question_{}; // a connection to `alive_` that the relay has not closed yet
    Clock::time_point asked_{}, begun_{}, next_start_{};
    unsigned starts_ = 0, failures_ = 0;
    std::string last_words_{};
    Call stopper_{}; // waits until we are gone
};

} // namespace mps::proxy
