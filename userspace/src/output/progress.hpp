// SPDX-License-Identifier: MIT
//
// What is being done, on one line of a terminal's standard error: shown when it takes long, gone when it has ended.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>

namespace mps::output {

class Progress {
  public:
    // Nothing is shown where standard error is no terminal, or with `quiet`.
    explicit Progress(bool quiet, const std::string &what = "");
    Progress(std::FILE *stream, std::chrono::milliseconds patience);
    ~Progress();
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;

    void now(const std::string &what);

  private:
    void start(std::chrono::milliseconds patience);
    void write(const std::string &what) const;

    std::FILE *stream_ = nullptr;
    std::mutex mutex_{};
    std::condition_variable ended_{};
    std::string what_{};
    bool end_ = false;
    bool shown_ = false;
    std::thread thread_{};
};

} // namespace mps::output
