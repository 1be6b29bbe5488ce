// SPDX-License-Identifier: MIT
// The page of mpschedd for the demo's network.
#pragma once

#include <string>

#include <mpsched/lab/cleanup.hpp>
#include <mpsched/lab/process.hpp>

namespace mps::lab::cli {

/// mpschedd with a file that says nothing but where the page is served: on loopback of this machine, not of the namespace that it manages, so
/// that a browser reaches it. The destructor ends it and removes its files.
class DemoPage {
  public:
    [[nodiscard]] static Result<DemoPage> start(const std::string &netns);

    DemoPage(DemoPage &&) noexcept;
    DemoPage &operator=(DemoPage &&) = delete;
    ~DemoPage();

    /// With the token behind it.
    const std::string &url() const { return url_; }
    bool running() { return process_.running(); }

  private:
    DemoPage(std::string folder, Process process);

    std::string folder_;
    Process process_;
    CleanupGuard guard_;
    std::string url_;
};

} // namespace mps::lab::cli
