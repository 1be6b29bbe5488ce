// SPDX-License-Identifier: MIT
// Contents that are another for each seed, and their digest: what a Transfer sends. Private to lab/src.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

struct evp_md_ctx_st;

namespace mps::lab::traffic {

using Digest = std::array<std::uint8_t, 32>;

/// SHA-256 by libcrypto.
class Sha256 {
  public:
    Sha256();
    void update(std::span<const std::uint8_t> data);
    Digest finish();

  private:
    std::unique_ptr<evp_md_ctx_st, void (*)(evp_md_ctx_st *)> context_;
};

/// Reproducible contents (splitmix64).
class Contents {
  public:
    explicit Contents(std::uint64_t seed) : state_(seed) {}
    void fill(std::span<std::uint8_t> into);

  private:
    std::uint64_t state_;
};

} // namespace mps::lab::traffic
