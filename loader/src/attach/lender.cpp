// SPDX-License-Identifier: MIT
#include "attach/lender.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>

#include <algorithm>
#include <vector>

namespace mps {

namespace {

using Frame = std::vector<std::uint8_t>;

// One's complement sum of what stands there, in network order.
std::uint32_t sum_of(const Frame &frame, std::size_t from, std::size_t to) {
    std::uint32_t sum = 0;
    for (std::size_t i = from; i < to; i += 2)
        sum += static_cast<std::uint32_t>(frame[i] << 8 | frame[i + 1]);
    return sum;
}

void put_checksum(Frame &frame, std::size_t at, std::uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    frame[at] = static_cast<std::uint8_t>(~sum >> 8);
    frame[at + 1] = static_cast<std::uint8_t>(~sum);
}

// Lends its body to what is sent: a TCP header with room for timestamps and MP_PRIO between no addresses. Its checksums are right, since the
// programs only change them.
Frame lender(bool ipv6) {
    constexpr std::size_t ethernet = 14, tcp_len = 36;
    const std::size_t ip_len = ipv6 ? 40 : 20, tcp = ethernet + ip_len;
    Frame frame(tcp + tcp_len);
    frame[12] = ipv6 ? 0x86 : 0x08;
    frame[13] = ipv6 ? 0xdd : 0x00;
    frame[ethernet] = ipv6 ? 0x60 : 0x45;
    frame[ethernet + (ipv6 ? 5 : 3)] = static_cast<std::uint8_t>(ipv6 ? tcp_len : ip_len + tcp_len);
    frame[ethernet + (ipv6 ? 6 : 9)] = 6;  // TCP
    frame[ethernet + (ipv6 ? 7 : 8)] = 64; // hops
    if (!ipv6)
        put_checksum(frame, ethernet + 10, sum_of(frame, ethernet, tcp));
    frame[tcp + 12] = tcp_len / 4 << 4;
    frame[tcp + 13] = 0x10; // ACK
    std::fill(frame.begin() + static_cast<std::ptrdiff_t>(tcp) + 20, frame.end(), 1);
    put_checksum(frame, tcp + 16, sum_of(frame, tcp, frame.size()) + 6 + tcp_len);
    return frame;
}

} // namespace

Result<std::uint32_t> lend(int program, bool ipv6, std::uint32_t token, std::uint32_t subflows) {
    const Frame frame = lender(ipv6);
    __sk_buff context{};
    context.cb[0] = token;
    context.cb[1] = subflows;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                .data_size_in = static_cast<__u32>(frame.size()), .ctx_in = &context,
                .ctx_size_in = sizeof context);
    if (const int err = bpf_prog_test_run_opts(program, &options))
        return std::unexpected(system_error(err, "telling hosts in each other's name"));
    return options.retval;
}

} // namespace mps
