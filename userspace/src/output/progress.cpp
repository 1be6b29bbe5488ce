// SPDX-License-Identifier: MIT
#include "output/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "output/text.hpp"

namespace mps::output {

namespace {

// People take less for "at once".
constexpr std::chrono::milliseconds patience{500};

} // namespace

Progress::Progress(bool quiet, const std::string &what)
    : stream_(!quiet && isatty(STDERR_FILENO) ? stderr : nullptr), what_(what) {
    if (stream_)
        start(patience);
}

Progress::Progress(std::FILE *stream, std::chrono::milliseconds patience) : stream_(stream) {
    start(patience);
}

Progress::~Progress() {
    if (!thread_.joinable())
        return;
    {
        const std::lock_guard lock(mutex_);
        end_ = true;
    }
    ended_.notify_one();
    thread_.join();
    if (shown_)
        write("");
}

void Progress::now(const std::string &what) {
    const std::lock_guard lock(mutex_);
    what_ = what;
    if (shown_)
        write(what_);
}

void Progress::start(std::chrono::milliseconds patience) {
    thread_ = std::thread([this, patience] {
        std::unique_lock lock(mutex_);
        if (ended_.wait_for(lock, patience, [this] { return end_; }))
            return;
        shown_ = true;
        write(what_);
    });
}

void Progress::write(const std::string &what) const {
    fmt::print(stream_, "\r\033[K{}{}", text::printable(what), what.empty() ? "" : " …");
    std::fflush(stream_);
}

} // namespace mps::output
