// SPDX-License-Identifier: MIT
#include "mpsched/sampler.hpp"

#include <bpf/bpf.h>

#include <cerrno>
#include <cstring>

#include "base/clock.hpp"
#include "base/fd.hpp"
#include "base/try.hpp"
#include "instance_impl.hpp"
#include "observe/closed.hpp"
#include "observe/dump.hpp"
#include "observe/path_attributes.hpp"
#include "observe/stats.hpp"

namespace mps {

namespace {

// Programs that are loaded after all, but run by commands, have no costs that anybody asks for.
std::vector<ProgramCost> costs_of(const Pins &pins) {
    std::vector<ProgramCost> costs;
    for (const auto &[name, fd] : pins.programs) {
        bpf_prog_info info{};
        std::uint32_t size = sizeof info;
        if (bpf_obj_get_info_by_fd(fd.get(), &info, &size) || !info.run_cnt)
            continue;
        costs.push_back({.name = name, .id = info.id, .runs = info.run_cnt, .time_ns = info.run_time_ns});
    }
    return costs;
}

Result<void> see_paths(const Pins &pins, const mps_config &config, Sample &sample) {
    const PathTable table(pins);
    const auto entries = table.entries();
    MPS_TRY(entries);
    for (const PathEntry &entry : *entries) {
        auto path = path_status(table, entry);
        MPS_TRY(path);
        path->down = is_down(entry, config);
        sample.paths.push_back(std::move(*path));
    }
    return {};
}

Result<void> see_closed(const ClosedSubflows &closed, Sample &sample) {
    const auto sums = closed.sums();
    MPS_TRY(sums);
    for (const ClosedSubflows::Sum &one : *sums) {
        // Of an interface that is gone nobody knows the name any more.
        if (std::string name = ifname_of(one.ifindex); !name.empty())
            sample.closed.push_back({.ifname = std::move(name),
                                     .sent_bytes = one.sent_bytes,
                                     .received_bytes = one.received_bytes});
    }
    return {};
}

Result<void> see_all(const InstallationPaths &where, const Pins &pins, bool programs, Sample &sample) {
    const auto config = read_config(pins);
    MPS_TRY(config);
    sample.installed = true;
    sample.followed = (config->flags & MPS_CONFIG_GUARD) != 0;
    const auto slots = Slots(where, pins).read();
    MPS_TRY(slots);
    sample.policy = policy_in_slot(*slots, default_slot(*config));
    sample.rx_policy = policy_in_slot(*slots, config->rx_slot);
    MPS_TRY(see_paths(pins, *config, sample));
    auto connections = all_connections(where, pins);
    MPS_TRY(connections);
    sample.connections = std::move(*connections);
    auto counters = read_counters(pins);
    MPS_TRY(counters);
    sample.counters = std::move(*counters);
    if (programs)
        sample.programs = costs_of(pins);
    return {};
}

} // namespace

struct [[gnu::visibility("hidden")]] Sampler::Impl {
    const Instance::Impl &instance;
    bool programs = false;
    std::optional<ClosedSubflows> closed{};
    Fd measuring{}; // BPF_ENABLE_STATS holds as long as this is open
    std::string unmeasured{};
};

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::Sampler(Sampler &&) noexcept = default;
Sampler &Sampler::operator=(Sampler &&) noexcept = default;
Sampler::~Sampler() = default;

const std::string &Sampler::unmeasured() const { return impl_->unmeasured; }

Result<Sample> Sampler::take() {
    const auto call = impl_->instance.enter();
    MPS_TRY(call);
    Sample sample{.monotonic_ns = monotonic_ns()};
    const auto where = impl_->instance.paths();
    if (!where || !impl_->instance.installed())
        return sample;
    const auto pins = impl_->instance.open_for_reading();
    if (!pins && pins.error().kind == ErrorKind::not_installed)
        return sample;
    MPS_TRY(pins);
    // Before living ones: of one that ends in between nothing may be counted twice.
    if (impl_->closed)
        MPS_TRY(see_closed(*impl_->closed, sample));
    MPS_TRY(see_all(*where, *pins, impl_->programs, sample));
    return sample;
}

Result<Sampler> start_sampler(const Instance &instance, bool programs) {
    const Instance::Impl &impl = Inside::of(instance);
    const auto call = impl.enter();
    MPS_TRY(call);
    auto made = std::make_unique<Sampler::Impl>(Sampler::Impl{.instance = impl, .programs = programs});
    if (auto closed = ClosedSubflows::start(impl.cookie))
        made->closed.emplace(std::move(*closed));
    if (programs) {
        made->measuring = Fd(bpf_enable_stats(BPF_STATS_RUN_TIME));
        if (!made->measuring)
            made->unmeasured = std::strerror(errno);
    }
    return Sampler(std::move(made));
}

} // namespace mps
