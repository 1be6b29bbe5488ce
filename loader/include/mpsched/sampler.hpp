// SPDX-License-Identifier: MIT
//
// All that changes while traffic is steered, in one look: for who looks again and again.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "mpsched/instance.hpp"

namespace mps {

// What a BPF program has cost since somebody has had the kernel measure (kernel.bpf_stats_enabled, or a Sampler).
struct ProgramCost {
    std::string name{};
    std::uint32_t id = 0;
    std::uint64_t runs = 0;
    std::uint64_t time_ns = 0; // with the policies that it calls
};

// What subflows had carried in all that ended since the sampler was started; what belongs to living ones is in `connections`.
struct ClosedBytes {
    std::string ifname{};
    std::uint64_t sent_bytes = 0, received_bytes = 0;
};

struct Sample {
    std::uint64_t monotonic_ns = 0;
    bool installed = false; // if not, all else is empty
    bool followed = false;  // mpschedd or `attach --follow` runs
    std::string policy{}, rx_policy{};
    std::vector<PathStatus> paths{};
    std::vector<ConnectionStatus> connections{}; // sorted by token; throughputs are left out, see rates.hpp
    std::vector<ClosedBytes>
        closed{}; // read before `connections`; empty where the kernel allows no program for it
    std::vector<CounterValue> counters{};
    std::vector<ProgramCost> programs{};
};

// Valid as long as the Instance that made it.
class MPS_API Sampler {
  public:
    Sampler(Sampler &&) noexcept;
    Sampler &operator=(Sampler &&) noexcept;
    ~Sampler();

    [[nodiscard]] Result<Sample> take();
    // Why the kernel does not measure what programs cost; "" if it does.
    [[nodiscard]] const std::string &unmeasured() const;

    struct Impl;
    explicit Sampler(std::unique_ptr<Impl> impl);

  private:
    std::unique_ptr<Impl> impl_;
};

// There need not be an installation yet. `programs`: the kernel measures what its BPF programs cost, all of them, as long as the object
// lives: two readings of the clock for each run.
[[nodiscard]] MPS_API Result<Sampler> start_sampler(const Instance &instance, bool programs);

} // namespace mps
