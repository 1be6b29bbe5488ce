// SPDX-License-Identifier: MIT
//
// The requests to a store, by libcurl.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "mpsched/error.hpp"

namespace mps::service::store {

// Files of certificates, as curl's --cacert, --cert and --key; "": the system's authorities, and no certificate of our own.
struct Tls {
    std::string authority{};
    std::string certificate{};
    std::string key{};
};

// Larger answers are refused: a value has at most 1 MiB.
inline constexpr std::size_t most_answer_bytes = 3 << 20;

class Http {
  public:
    explicit Http(Tls tls);
    ~Http();
    Http(const Http &) = delete;
    Http &operator=(const Http &) = delete;

    // The header "Authorization"; "": none.
    void authorize(std::string token);
    // Posts JSON and waits for the whole answer, 30 s at most.
    [[nodiscard]] Result<std::string> post(const std::string &url, const std::string &body);

    // Called with each line of the answer, as it comes; an error ends it.
    using Take = std::function<Result<void>(std::string_view line)>;
    // Posts JSON and hands on what comes until the answer ends, `age_s` have passed, or something is readable at `other`, for which
    // `call` is called.
    [[nodiscard]] Result<void> stream(const std::string &url, const std::string &body, const Take &take,
                                      long age_s, int other, const std::function<Result<void>()> &call);

  private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace mps::service::store
