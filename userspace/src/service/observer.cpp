// SPDX-License-Identifier: MIT

#include "service/observer.hpp"

#include <algorithm>
#include <chrono>

#include "mpsched/instance.hpp"
#include "mpsched/sampler.hpp"
#include "watch/flows.hpp"

namespace mps::service {

using Steady = std::chrono::steady_clock;

// An object of its own: one thread at a time may use one.
struct Observer::Eyes {
    Instance instance;
    Sampler sampler;

    static std::unique_ptr<Eyes> open(const std::string &netns, bool programs) {
        auto instance = Instance::open({.netns = netns});
        if (!instance)
            return nullptr;
        auto sampler = start_sampler(*instance, programs);
        if (!sampler)
            return nullptr;
        return std::make_unique<Eyes>(std::move(*instance), std::move(*sampler));
    }
};

namespace {

// With many connections a look takes longer, and comes less often: it never takes more of a core than this.
constexpr double interval_s = 1;
constexpr double most_of_a_core = 0.05;

double since(Steady::time_point begun) {
    return std::chrono::duration<double>(Steady::now() - begun).count();
}

} // namespace

void Observer::want(bool looks, bool programs) {
    if (thread_ && (!looks || programs != programs_)) {
        {
            const std::lock_guard lock(mutex_);
            ends_ = true;
        }
        changed_.notify_all();
        thread_->join();
        thread_.reset();
        ends_ = false;
    }
    if (!looks || thread_)
        return;
    programs_ = programs;
    thread_.emplace([this, programs] { run(programs); });
}

void Observer::tell(metrics::Facts facts) {
    const std::lock_guard lock(mutex_);
    facts_ = std::move(facts);
}

std::string Observer::text() const {
    std::shared_ptr<const metrics::Look> look;
    metrics::Facts facts;
    {
        const std::lock_guard lock(mutex_);
        look = look_;
        facts = facts_;
    }
    return metrics::exposition(*look, facts);
}

bool Observer::wait(double seconds) {
    std::unique_lock lock(mutex_);
    return !changed_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return ends_; });
}

void Observer::take(Eyes *eyes) {
    const auto begun = Steady::now();
    auto sample = eyes ? eyes->sampler.take() : Result<Sample>(std::unexpected(Error{}));
    // Only this thread changes it.
    const std::shared_ptr<const metrics::Look> before = look_;
    auto look = std::make_shared<metrics::Look>();
    look->good = before->good + (sample ? 1 : 0);
    look->failed = before->failed + (sample ? 0 : 1);
    if (sample) {
        totals_.take(before->sample, *sample,
                     watch::flows_between(before->sample.connections, sample->connections));
        look->sample = std::move(*sample);
        look->paths = totals_.paths();
        look->took_s = since(begun);
        look->ended_s =
            std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    } else {
        look->sample = before->sample;
        look->paths = before->paths;
        look->took_s = before->took_s;
        look->ended_s = before->ended_s;
    }
    const std::lock_guard lock(mutex_);
    look_ = std::move(look);
}

void Observer::run(bool programs) {
    std::unique_ptr<Eyes> eyes;
    do {
        if (!eyes)
            eyes = Eyes::open(netns_, programs);
        take(eyes.get());
    } while (wait(std::max(interval_s, look_->took_s / most_of_a_core)));
}

} // namespace mps::service
