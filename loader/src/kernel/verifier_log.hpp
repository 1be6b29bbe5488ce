// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

namespace mps {

// Room for one program's log. Half a million instructions fit; from 6.4 on the kernel keeps the end of
// longer ones.
inline constexpr std::size_t verifier_log_size = std::size_t{16} << 20;

// A buffer for one log: untouched pages cost nothing, and mostly none is touched.
class VerifierLogBuffer {
  public:
    VerifierLogBuffer() : text_(static_cast<char *>(std::calloc(verifier_log_size, 1))) {}
    [[nodiscard]] char *data() { return text_.get(); }
    [[nodiscard]] std::size_t size() const { return text_ ? verifier_log_size : 0; }
    [[nodiscard]] std::string_view text() const {
        return text_ ? std::string_view(text_.get()) : std::string_view{};
    }

  private:
    struct Free {
        void operator()(char *text) const { std::free(text); }
    };
    std::unique_ptr<char, Free> text_;
};

// What a person needs of a verifier log.
struct VerifierExcerpt {
    std::string reason{};  // the one line that says why, "" if the log is empty
    std::string excerpt{}; // the last meaningful lines, and how many were left out
    std::string hint{};    // "" if the reason is none of the known ones
};

// Cuts a log to its last `lines` meaningful lines: the verifier's statistics at the end are none, nor are
// empty lines.
[[nodiscard]] VerifierExcerpt verifier_excerpt(std::string_view log, std::size_t lines = 4);

} // namespace mps
