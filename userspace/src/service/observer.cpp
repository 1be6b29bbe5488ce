// SPDX-License-Identifier: MIT

#include "service/observer.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>

#include "mpsched/instance.hpp"
#include "mpsched/links.hpp"
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
// A link takes several questions to its driver, and changes less often than what it carries.
constexpr std::chrono::seconds links_interval(5);

// Of this thread: on a busy machine a look takes longer, but costs no more.
double cpu_s() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::vector<metrics::Rate> rates_of(const std::vector<watch::Flow> &flows, const Sample &before,
                                    const Sample &now) {
    const bool known = before.monotonic_ns && before.installed;
    const double seconds = static_cast<double>(now.monotonic_ns - before.monotonic_ns) / 1e9;
    const auto rate = [&](std::uint64_t bytes) {
        return known && seconds > 0 ? static_cast<std::uint64_t>(static_cast<double>(bytes) / seconds) : 0;
    };
    std::vector<metrics::Rate> rates;
    rates.reserve(flows.size());
    for (const watch::Flow &flow : flows)
        rates.push_back({.sent = rate(flow.sent_bytes), .received = rate(flow.received_bytes)});
    return rates;
}

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

std::pair<std::shared_ptr<const metrics::Look>, metrics::Facts> Observer::last() const {
    const std::lock_guard lock(mutex_);
    return {look_, facts_};
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
        const auto flows = watch::flows_between(before->sample.connections, sample->connections);
        totals_.take(before->sample, *sample, flows);
        look->rates = rates_of(flows, before->sample, *sample);
        look->sample = std::move(*sample);
        look->paths = totals_.paths();
        if (linked_ + links_interval <= begun || before->links.empty()) {
            look->links = links(eyes->instance).value_or(std::vector<Link>{});
            linked_ = begun;
        } else {
            look->links = before->links;
        }
        look->took_s = since(begun);
        look->ended_s =
            std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
    } else {
        look->sample = before->sample;
        look->rates = before->rates;
        look->paths = before->paths;
        look->links = before->links;
        look->took_s = before->took_s;
        look->ended_s = before->ended_s;
    }
    const std::lock_guard lock(mutex_);
    look_ = std::move(look);
}

void Observer::run(bool programs) {
    std::unique_ptr<Eyes> eyes;
    bool first = true; // it may have the kernel verify what later ones find there
    double used_s = 0;
    do {
        if (!eyes)
            eyes = Eyes::open(netns_, programs);
        const double before_s = cpu_s();
        take(eyes.get());
        used_s = first ? 0 : cpu_s() - before_s;
        first = false;
    } while (wait(std::max(interval_s, used_s / most_of_a_core)));
}

} // namespace mps::service
