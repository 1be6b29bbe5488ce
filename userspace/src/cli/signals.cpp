// SPDX-License-Identifier: MIT

#include "cli/signals.hpp"

namespace mps::cli {

namespace {

volatile std::sig_atomic_t noted_signal = 0;

void note_signal(int signal) { noted_signal = signal; }

} // namespace

SignalHold::SignalHold() {
    for (std::size_t i = 0; i < held_.size(); i++) {
        sigaction(held_[i], nullptr, &before_[i]);
        if (before_[i].sa_handler == SIG_IGN)
            continue;
        struct sigaction action = {};
        action.sa_handler = note_signal;
        sigemptyset(&action.sa_mask);
        action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
        sigaction(held_[i], &action, nullptr);
    }
}

SignalHold::~SignalHold() {
    for (std::size_t i = 0; i < held_.size(); i++)
        sigaction(held_[i], &before_[i], nullptr);
}

int SignalHold::pending() { return noted_signal; }

namespace {
void (*broken_pipe_before)(int) = SIG_DFL;
}

void ignore_broken_pipes() { broken_pipe_before = std::signal(SIGPIPE, SIG_IGN); }

void restore_broken_pipes() { std::signal(SIGPIPE, broken_pipe_before); }

} // namespace mps::cli
