// SPDX-License-Identifier: MIT
#include "attach/forged_ack.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include <fmt/format.h>

#include "base/addresses.hpp"
#include "kernel/netlink.hpp"

namespace mps {

namespace {

class FrameWriter {
  public:
    void u8(unsigned value) { bytes_.push_back(static_cast<std::uint8_t>(value)); }
    void be16(unsigned value) {
        u8(value >> 8);
        u8(value);
    }
    void be32(std::uint32_t value) {
        be16(value >> 16);
        be16(value & 0xffff);
    }
    void raw(std::span<const std::uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }
    void patch16(std::size_t at, unsigned value) {
        bytes_[at] = static_cast<std::uint8_t>(value >> 8);
        bytes_[at + 1] = static_cast<std::uint8_t>(value);
    }
    [[nodiscard]] std::size_t size() const { return bytes_.size(); }
    [[nodiscard]] std::span<const std::uint8_t> from(std::size_t offset) const {
        return std::span(bytes_).subspan(offset);
    }
    [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

  private:
    std::vector<std::uint8_t> bytes_;
};

// RFC 1071, over an even number of bytes.
std::uint32_t add_words(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2)
        sum += static_cast<std::uint32_t>(bytes[i] << 8 | bytes[i + 1]);
    return sum;
}
unsigned fold(std::uint32_t sum) {
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return ~sum & 0xffff;
}

constexpr unsigned prio_size = 4;

unsigned tcp_size_of(const mps_subflow_record &record) {
    constexpr unsigned timestamps_size = 12;
    return 20 + (record.has_tstamp ? timestamps_size : 0) + prio_size;
}

void write_ethernet(FrameWriter &frame, const KnownSubflow &subflow, const std::array<std::uint8_t, 6> &mac,
                    bool with_vlans, bool ipv4) {
    frame.raw(mac);
    // A locally administered sender that no device has.
    frame.raw(std::array<std::uint8_t, 6>{0x02, 'm', 'p', 's', 0, 1});
    if (with_vlans && subflow.known) {
        for (unsigned i = 0; i < std::min<unsigned>(subflow.known->nr_vlans, MPS_MAX_VLANS); i++) {
            frame.be16(ntohs(subflow.known->vlan_proto[i]));
            frame.be16(subflow.known->vlan_tci[i]);
        }
    }
    frame.be16(ipv4 ? ETH_P_IP : ETH_P_IPV6);
}

// From the peer to this host.
void write_ip(FrameWriter &frame, const mps_subflow_record &record, bool ipv4) {
    const std::size_t ip = frame.size();
    const std::span<const std::uint8_t, 16> local(record.local);
    const std::span<const std::uint8_t, 16> remote(record.remote);
    if (ipv4) {
        frame.u8(0x45);
        frame.u8(0);
        frame.be16(20 + tcp_size_of(record));
        frame.be16(0);
        frame.be16(0x4000); // do not fragment
        frame.u8(64);
        frame.u8(IPPROTO_TCP);
        frame.be16(0);
        frame.raw(remote.subspan<12>());
        frame.raw(local.subspan<12>());
        frame.patch16(ip + 10, fold(add_words(frame.from(ip))));
    } else {
        frame.be32(0x60000000);
        frame.be16(tcp_size_of(record));
        frame.u8(IPPROTO_TCP);
        frame.u8(64);
        frame.raw(remote);
        frame.raw(local);
    }
}

void write_tcp(FrameWriter &frame, const mps_subflow_record &record, bool backup, bool ipv4) {
    const unsigned size = tcp_size_of(record);
    const std::size_t tcp = frame.size();
    frame.be16(record.remote_port);
    frame.be16(record.local_port);
    // In window, and acknowledging nothing new.
    frame.be32(record.rcv_nxt);
    frame.be32(record.snd_una);
    frame.be16(size / 4 << 12 | 0x10); // ACK
    frame.be16(std::min<std::uint32_t>(record.window, 0xffff));
    frame.be16(0);
    frame.be16(0);
    if (record.has_tstamp) {
        frame.u8(1);
        frame.u8(1);
        frame.u8(8);
        frame.u8(10);
        frame.be32(record.tsval);
        frame.be32(record.tsecr);
    }
    // MP_PRIO (RFC 8684 3.3.8): kind 30, length 3, subtype 5 and the B bit; then NOP.
    frame.u8(30);
    frame.u8(3);
    frame.u8(0x50u | backup);
    frame.u8(1);
    const std::size_t address = ipv4 ? 12 : 0;
    std::uint32_t sum = add_words(std::span(record.remote).subspan(address));
    sum = add_words(std::span(record.local).subspan(address), sum);
    frame.patch16(tcp + 16, fold(add_words(frame.from(tcp), sum + IPPROTO_TCP + size)));
}

} // namespace

std::vector<std::uint8_t> forged_ack(const KnownSubflow &subflow, bool backup,
                                     const std::array<std::uint8_t, 6> &mac, bool with_vlans) {
    // A dual-stack socket is an IPv6 one, but its mapped addresses travel in IPv4 packets.
    const bool ipv4 = is_ipv4_mapped(subflow.record.local);
    FrameWriter frame;
    write_ethernet(frame, subflow, mac, with_vlans, ipv4);
    write_ip(frame, subflow.record, ipv4);
    write_tcp(frame, subflow.record, backup, ipv4);
    return frame.take();
}

Result<void> inject(const Pins &pins, std::span<const std::uint8_t> frame, std::uint32_t ifindex,
                    std::string_view what) {
    xdp_md context{};
    context.data_end = static_cast<std::uint32_t>(frame.size());
    context.ingress_ifindex = ifindex;
    LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
                .data_size_in = static_cast<std::uint32_t>(frame.size()), .ctx_in = &context,
                .ctx_size_in = sizeof context, .repeat = 1, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
    if (const int err = bpf_prog_test_run_opts(pins.program("mps_inject"), &options))
        return std::unexpected(system_error(err, fmt::format("handing {} to the stack", what)));
    return {};
}

Result<void> inject_backup(const Pins &pins, const KnownSubflow &subflow, bool backup) {
    // The device at which IP saw the subflow last (a VLAN's own device, a bridge) needs no tags; before the
    // first packet there is only the attached one.
    const bool through_ip_device = subflow.record.rx_ifindex != 0;
    const auto device = net_device(through_ip_device ? subflow.record.rx_ifindex : subflow.ifindex());
    if (!device)
        return fail(ErrorCode::failed, fmt::format("the interface of {} is gone", subflow.text()));
    return inject(pins, forged_ack(subflow, backup, device->mac, !through_ip_device), device->ifindex,
                  fmt::format("an ACK for {}", subflow.text()));
}

} // namespace mps
