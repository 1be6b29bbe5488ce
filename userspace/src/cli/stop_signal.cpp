// SPDX-License-Identifier: MIT

#include "cli/stop_signal.hpp"

#include <initializer_list>

#include <sys/signalfd.h>
#include <unistd.h>

namespace mps::cli {

StopSignal::StopSignal() {
    sigset_t set;
    sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
        struct sigaction now = {};
        sigaction(signal, nullptr, &now);
        if (now.sa_handler != SIG_IGN)
            sigaddset(&set, signal);
    }
    sigprocmask(SIG_BLOCK, &set, &before_);
    fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

StopSignal::~StopSignal() {
    // What came is done with: it ended the command's waiting, and that is all it should.
    signalfd_siginfo info;
    while (read(fd_, &info, sizeof info) > 0) {
    }
    close(fd_);
    sigprocmask(SIG_SETMASK, &before_, nullptr);
}

} // namespace mps::cli
