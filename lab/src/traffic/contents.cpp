// SPDX-License-Identifier: MIT
#include "contents.hpp"

#include <algorithm>
#include <cstring>

#include <openssl/evp.h>

namespace mps::lab::traffic {

Sha256::Sha256() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
}

void Sha256::update(std::span<const std::uint8_t> data) {
    EVP_DigestUpdate(context_.get(), data.data(), data.size());
}

Digest Sha256::finish() {
    Digest digest{};
    EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr);
    return digest;
}

void Contents::fill(std::span<std::uint8_t> into) {
    while (!into.empty()) {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        z ^= z >> 31;
        const auto n = std::min(into.size(), sizeof(z));
        std::memcpy(into.data(), &z, n);
        into = into.subspan(n);
    }
}

} // namespace mps::lab::traffic
