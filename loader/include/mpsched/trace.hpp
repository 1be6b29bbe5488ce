// SPDX-License-Identifier: MIT
//
// Tells of packets with MPTCP options and of decisions as they happen. The programs that tell are attached as long as the object lives, beside
// those of the data path; when its process ends, however it does, the kernel takes them off.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "mpsched/error.hpp"
#include "mpsched/export.h"
#include "mpsched/instance.hpp"

namespace mps {

struct TraceRequest {
    std::vector<std::string> interfaces{}; // none: all that are attached
    // Only this connection, by its token as `conns` has it. Handshakes of connections that are not known yet are told as well.
    std::optional<std::uint32_t> token{};
    std::uint32_t buffer_bytes = 4 << 20; // a power of two of at least a page
};

struct TracePacket {
    enum class Ours {
        nothing,
        inserted,  // mpsched has written an MP_PRIO into it
        rewritten, // it has changed the B bit of the peer's MP_PRIO
        wake,      // it has made the packet: an ACK with MP_PRIO for a silent subflow
    };
    std::uint64_t time_ns = 0; // since 1970
    std::uint32_t ifindex = 0;
    std::string interface{};
    bool outgoing = false;
    std::optional<std::uint32_t> token{};   // of its connection here, if there is one
    std::optional<std::uint32_t> subflow{}; // its id, where mpsched steers it
    Ours ours = Ours::nothing;
    std::uint32_t wire_bytes = 0;           // of the IP packet
    std::span<const std::uint8_t> octets{}; // its beginning; valid during the call
};
[[nodiscard]] MPS_API std::string_view to_string(TracePacket::Ours ours);

struct TraceVerdict {
    struct Subflow {
        std::uint32_t id = 0;
        std::uint32_t ifindex = 0;
        std::string interface{};
        bool allowed = true;
        bool peer_backup = false;
        // What the kernel was told since the last verdict of this connection: the new value of the backup bit, and how.
        std::optional<bool> told_backup{};
        bool by_wake = false;
        std::optional<SubflowReason> reason{};
    };
    std::uint64_t time_ns = 0;
    std::uint32_t token = 0;
    std::string policy{};
    bool left_alone = false; // the kernel decides, by what the peer asked for
    std::vector<Subflow> subflows{};
};

struct TraceHandlers {
    std::function<void(const TracePacket &)> packet;
    std::function<void(const TraceVerdict &)> verdict;
};

// Valid as long as the Instance that made it.
class MPS_API Trace {
  public:
    Trace(Trace &&) noexcept;
    Trace &operator=(Trace &&) noexcept;
    ~Trace();

    // Readable when there is something to tell.
    [[nodiscard]] int fd() const;
    // Tells all that there is, in order. Never waits.
    [[nodiscard]] Result<void> read(const TraceHandlers &handlers);
    // What found no room in the buffer since the beginning: packets and verdicts.
    [[nodiscard]] Result<std::uint64_t> lost() const;
    [[nodiscard]] const std::vector<std::string> &interfaces() const;

    struct Impl;
    explicit Trace(std::unique_ptr<Impl> impl);

  private:
    std::unique_ptr<Impl> impl_;
};

// Needs tcx (kernel 6.6): its links end with the process, so that nothing stays behind. Without an installation packets alone are told, of interfaces
// that are named.
[[nodiscard]] MPS_API Result<Trace> start_trace(const Instance &instance, const TraceRequest &request);

} // namespace mps
