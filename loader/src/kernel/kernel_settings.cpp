// SPDX-License-Identifier: MIT
#include "mpsched/kernel_settings.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include <fmt/format.h>

#include "base/try.hpp"
#include "instance_impl.hpp"

namespace mps {

namespace {

Result<Fd> open_setting(const std::string &name, int flags) {
    std::string path = name;
    std::ranges::replace(path, '.', '/');
    Fd file(::open(("/proc/sys/" + path).c_str(), flags | O_CLOEXEC));
    if (file)
        return file;
    if (errno == ENOENT)
        return fail(ErrorCode::unsupported, fmt::format("this kernel has no setting {}", name));
    if (errno == EROFS)
        return fail(ErrorCode::not_permitted,
                    fmt::format("{} can only be read: /proc/sys is read-only", name),
                    "under systemd: 'systemctl edit mpschedd', [Service], ProtectKernelTunables=no");
    return std::unexpected(system_error(errno, fmt::format("opening the setting {}", name)));
}

} // namespace

Result<std::string> read_kernel_setting(const Instance &instance, const std::string &name) {
    const auto call = Inside::of(instance).enter();
    MPS_TRY(call);
    const auto file = open_setting(name, O_RDONLY);
    MPS_TRY(file);
    std::array<char, 256> text{};
    const ssize_t length = ::read(file->get(), text.data(), text.size());
    if (length < 0)
        return std::unexpected(system_error(errno, fmt::format("reading the setting {}", name)));
    std::string value(text.data(), static_cast<std::size_t>(length));
    while (value.ends_with('\n'))
        value.pop_back();
    return value;
}

Result<void> write_kernel_setting(const Instance &instance, const std::string &name,
                                  const std::string &value) {
    const auto call = Inside::of(instance).enter();
    MPS_TRY(call);
    const auto file = open_setting(name, O_WRONLY);
    MPS_TRY(file);
    if (::write(file->get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
        return std::unexpected(system_error(errno, fmt::format("setting {} to {}", name, value)));
    return {};
}

} // namespace mps
