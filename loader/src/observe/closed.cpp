// SPDX-License-Identifier: MIT
#include "observe/closed.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <mps/closed_abi.h>

#include <array>
#include <cerrno>

#include "base/fd.hpp"
#include "base/try.hpp"
#include "closed.skel.h"
#include "common/log.hpp"
#include "kernel/load_object.hpp"

namespace mps {

struct ClosedSubflows::Impl {
    closed *object = nullptr;
    Fd link{};

    Impl() = default;
    Impl(const Impl &) = delete;
    Impl &operator=(const Impl &) = delete;
    ~Impl() { closed__destroy(object); }
};

namespace {

Result<void> load(closed &object) {
    return load_object(object.obj, "loading the program that counts what ended subflows had carried",
                       [&] { return closed__load(&object); });
}

} // namespace

ClosedSubflows::ClosedSubflows(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ClosedSubflows::ClosedSubflows(ClosedSubflows &&) noexcept = default;
ClosedSubflows &ClosedSubflows::operator=(ClosedSubflows &&) noexcept = default;
ClosedSubflows::~ClosedSubflows() = default;

Result<ClosedSubflows> ClosedSubflows::start(std::uint64_t netns_cookie) {
    auto made = std::make_unique<Impl>();
    {
        const LibbpfMessages messages;
        made->object = closed__open();
    }
    if (!made->object)
        return std::unexpected(
            system_error(errno, "opening the program that counts what ended subflows had carried"));
    made->object->rodata->mps_netns_cookie = netns_cookie;
    MPS_TRY(load(*made->object));
    made->link =
        Fd(bpf_link_create(bpf_program__fd(made->object->progs.mps_at_close), 0, BPF_TRACE_RAW_TP, nullptr));
    if (!made->link)
        return std::unexpected(system_error(errno, "attaching to the end of sockets"));
    return ClosedSubflows(std::move(made));
}

Result<std::vector<ClosedSubflows::Sum>> ClosedSubflows::sums() const {
    const int map = bpf_map__fd(impl_->object->maps.mps_closed);
    std::vector<Sum> all;
    std::uint32_t key = 0;
    const std::uint32_t *before = nullptr;
    // Entries only come.
    while (!bpf_map_get_next_key(map, before, &key)) {
        std::array<std::uint64_t, MPS_CLOSED_SUMS> sums{};
        if (!bpf_map_lookup_elem(map, &key, sums.data()))
            all.push_back({.ifindex = key,
                           .sent_bytes = sums[MPS_CLOSED_SENT],
                           .received_bytes = sums[MPS_CLOSED_RECEIVED]});
        before = &key;
    }
    if (errno != ENOENT)
        return std::unexpected(system_error(errno, "reading what ended subflows had carried"));
    return all;
}

} // namespace mps
