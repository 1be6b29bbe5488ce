// SPDX-License-Identifier: MIT
#include "kernel/iterator.hpp"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "base/fd.hpp"

namespace mps {

Result<void> run_iterator(int program_fd, const char *what,
                          const std::function<void(std::span<const char>)> &take) {
    const Fd link(bpf_link_create(program_fd, 0, BPF_TRACE_ITER, nullptr));
    if (!link)
        return std::unexpected(system_error(errno, what));
    const Fd iterator(bpf_iter_create(link.get()));
    if (!iterator)
        return std::unexpected(system_error(errno, what));

    std::vector<char> bytes(64 * 1024);
    for (;;) {
        const ssize_t length = ::read(iterator.get(), bytes.data(), bytes.size());
        // EAGAIN: the iterator gives way after a million sockets without output (bpf_seq_read).
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            continue;
        if (length < 0)
            return std::unexpected(system_error(errno, what));
        if (length == 0)
            return {};
        take(std::span<const char>(bytes).first(static_cast<std::size_t>(length)));
    }
}

} // namespace mps
