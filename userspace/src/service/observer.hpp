// SPDX-License-Identifier: MIT
//
// Looks at paths and connections again and again, in a thread of its own, for those that the service tells of them. Who asks gets
// what was seen last, and so costs nothing; and a service with many connections follows its paths as quickly as ever.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "metrics/exposition.hpp"

namespace mps::service {

class Observer {
  public:
    explicit Observer(std::string netns) : netns_(std::move(netns)) {}
    Observer(const Observer &) = delete;
    Observer &operator=(const Observer &) = delete;
    ~Observer() { want(false, false); }

    // `programs`: has the kernel measure what BPF programs cost.
    void want(bool looks, bool programs);
    // From now on these are told.
    void tell(metrics::Facts facts);
    [[nodiscard]] std::pair<std::shared_ptr<const metrics::Look>, metrics::Facts> last() const;

  private:
    struct Eyes;
    void run(bool programs);
    // One look; nullptr: it cannot be had.
    void take(Eyes *eyes);
    // False: it is to end.
    bool wait(double seconds);

    const std::string netns_;
    std::optional<std::thread> thread_{};
    bool programs_ = false; // as the thread has it
    watch::PathTotals totals_{};
    std::chrono::steady_clock::time_point linked_{}; // when links were looked at last
    mutable std::mutex mutex_{};
    // Of these:
    std::condition_variable changed_{};
    bool ends_ = false;
    metrics::Facts facts_{};
    std::shared_ptr<const metrics::Look> look_ = std::make_shared<metrics::Look>();
};

} // namespace mps::service
