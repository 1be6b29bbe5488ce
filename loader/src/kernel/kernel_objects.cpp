// SPDX-License-Identifier: MIT
#include "kernel/kernel_objects.hpp"

#include <bpf/bpf.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

namespace mps {

namespace {

template <std::size_t Size>
std::string fixed_string(const char (&text)[Size]) {
    return {text, strnlen(text, Size)};
}

} // namespace

Result<ProgInfo> prog_info(int fd) {
    bpf_prog_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length))
        return std::unexpected(system_error(errno, "reading a BPF program"));
    ProgInfo result{
        .id = info.id, .type = info.type, .name = fixed_string(info.name), .tag = {}, .map_ids = {}};
    std::copy(std::begin(info.tag), std::end(info.tag), result.tag.begin());
    if (info.nr_map_ids) {
        result.map_ids.resize(info.nr_map_ids);
        bpf_prog_info with_maps{};
        with_maps.nr_map_ids = info.nr_map_ids;
        with_maps.map_ids = reinterpret_cast<std::uintptr_t>(result.map_ids.data());
        length = sizeof with_maps;
        if (bpf_obj_get_info_by_fd(fd, &with_maps, &length)) {
            return std::unexpected(system_error(errno, "reading the maps of a BPF program"));
        }
        result.map_ids.resize(std::min<std::size_t>(result.map_ids.size(), with_maps.nr_map_ids));
    }
    return result;
}

Result<MapInfo> map_info(int fd) {
    bpf_map_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length))
        return std::unexpected(system_error(errno, "reading a BPF map"));
    return MapInfo{.id = info.id,
                   .type = info.type,
                   .name = fixed_string(info.name),
                   .key_size = info.key_size,
                   .value_size = info.value_size,
                   .max_entries = info.max_entries,
                   .flags = info.map_flags,
                   .btf_id = info.btf_id,
                   .btf_value_type_id = info.btf_value_type_id};
}

Result<LinkInfo> link_info(int fd) {
    bpf_link_info info{};
    std::uint32_t length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length))
        return std::unexpected(system_error(errno, "reading a BPF link"));
    LinkInfo result{.id = info.id, .type = info.type, .prog_id = info.prog_id, .ifindex = 0};
    // tcx's part of the union begins with the ifindex, as XDP's does.
    if (info.type == BPF_LINK_TYPE_XDP || info.type == link_type_tcx)
        result.ifindex = info.xdp.ifindex;
    return result;
}

Result<Fd> prog_by_id(std::uint32_t id) {
    Fd fd(bpf_prog_get_fd_by_id(id));
    if (!fd)
        return std::unexpected(system_error(errno, fmt::format("opening BPF program {}", id)));
    return fd;
}

Result<Fd> map_by_id(std::uint32_t id) {
    Fd fd(bpf_map_get_fd_by_id(id));
    if (!fd)
        return std::unexpected(system_error(errno, fmt::format("opening BPF map {}", id)));
    return fd;
}

std::string prog_text(std::uint32_t id) {
    if (const auto fd = prog_by_id(id)) {
        if (const auto info = prog_info(fd->get()))
            return fmt::format("{} (id {})", info->name, id);
    }
    return fmt::format("id {}", id);
}

Result<std::optional<Fd>> open_pin(const std::string &path) {
    Fd fd(bpf_obj_get(path.c_str()));
    if (fd)
        return std::optional<Fd>(std::move(fd));
    const int err = errno;
    if (err == ENOENT)
        return std::optional<Fd>{};
    // The kernel says EACCES of everything that is no object, which is not a matter of rights.
    struct stat status{};
    if (!::lstat(path.c_str(), &status) && S_ISDIR(status.st_mode)) {
        return fail(ErrorCode::failed, fmt::format("{} is not ours: it is a directory", path),
                    "'mpsched detach --all' removes what is there");
    }
    return std::unexpected(system_error(err, fmt::format("opening pin {}", path)));
}

Result<void> pin(int fd, const std::string &path) {
    if (bpf_obj_pin(fd, path.c_str()))
        return std::unexpected(system_error(errno, fmt::format("pinning {}", path)));
    return {};
}

Result<void> unpin(const std::string &path) {
    if (::unlink(path.c_str()) && errno != ENOENT) {
        return std::unexpected(system_error(errno, fmt::format("removing pin {}", path)));
    }
    return {};
}

ObjectKind object_kind(int fd) {
    std::error_code error;
    const std::string target =
        std::filesystem::read_symlink(fmt::format("/proc/self/fd/{}", fd), error).string();
    if (target == "anon_inode:bpf-map")
        return ObjectKind::map;
    if (target == "anon_inode:bpf-prog")
        return ObjectKind::program;
    // 6.17 says "bpf-link", older kernels "bpf_link"; iterators are links too.
    if (target.starts_with("anon_inode:bpf_link") || target.starts_with("anon_inode:bpf-link"))
        return ObjectKind::link;
    return ObjectKind::other;
}

Result<std::optional<std::vector<std::byte>>> read_bytes(int map_fd, std::uint32_t key,
                                                         std::size_t value_size) {
    std::vector<std::byte> value(value_size);
    if (!bpf_map_lookup_elem(map_fd, &key, value.data()))
        return std::optional(std::move(value));
    if (errno == ENOENT)
        return std::optional<std::vector<std::byte>>{};
    return std::unexpected(system_error(errno, "reading a BPF map"));
}

Result<void> write_bytes(int map_fd, std::uint32_t key, std::span<const std::byte> value,
                         std::string_view map_name) {
    if (!bpf_map_update_elem(map_fd, &key, value.data(), BPF_ANY))
        return {};
    return std::unexpected(system_error(errno, fmt::format("writing map {}", map_name)));
}

Result<void> delete_key(int map_fd, std::uint32_t key, std::string_view map_name) {
    if (!bpf_map_delete_elem(map_fd, &key) || errno == ENOENT)
        return {};
    return std::unexpected(system_error(errno, fmt::format("clearing an entry of map {}", map_name)));
}

std::vector<std::uint32_t> all_keys(int map_fd, std::uint32_t max_entries) {
    std::vector<std::uint32_t> keys;
    std::uint32_t key = 0;
    const void *previous = nullptr;
    // A key deleted under our feet makes the kernel start over; the bound keeps that from never ending.
    while (keys.size() < max_entries && !bpf_map_get_next_key(map_fd, previous, &key)) {
        keys.push_back(key);
        previous = &key;
    }
    std::sort(keys.begin(), keys.end());
    keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
    return keys;
}

MappedValue::~MappedValue() {
    if (address_)
        ::munmap(address_, size_);
}

MappedValue MappedValue::open(int map_fd, const MapInfo &info) {
    MappedValue mapped;
    if (!(info.flags & BPF_F_MMAPABLE))
        return mapped;
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    const std::size_t size = (info.value_size + page - 1) / page * page;
    void *address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
    if (address == MAP_FAILED)
        return mapped;
    mapped.address_ = address;
    mapped.size_ = size;
    return mapped;
}

} // namespace mps
