// SPDX-License-Identifier: MIT
//
// Takes out of texts what tells whose they are: addresses, link-layer addresses, names of the host. The same always becomes the same, so that
// who reads it still sees what belongs together.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace mps::report {

class Masker {
  public:
    // Names that are to go: of the host, of its domain. Empty ones are ignored.
    explicit Masker(std::vector<std::string> names = {});

    // IPv4 addresses become those of 198.18.0.0/15 (RFC 2544), one /24 for each /24; IPv6 ones those of 2001:db8::/32 (RFC 3849), one /64 for each;
    // link-local ones stay so. What is the same for everybody (loopback, any, multicast, a prefix's length) stays.
    [[nodiscard]] std::string mask(std::string_view text);

  private:
    [[nodiscard]] std::string masked_word(std::string_view word);
    [[nodiscard]] std::string address4(const std::array<std::uint8_t, 4> &address);
    [[nodiscard]] std::string address6(const std::array<std::uint8_t, 16> &address);
    [[nodiscard]] std::string link_address(std::string_view text);
    [[nodiscard]] std::string without_names(std::string text) const;

    std::vector<std::string> names_;
    // What each network, and each host in it, became: numbers from 1.
    std::map<std::string, std::uint32_t> networks4_{}, networks6_{}, links_{};
    std::map<std::string, std::map<std::string, std::uint32_t>> hosts_{};
};

} // namespace mps::report
