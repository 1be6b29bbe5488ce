// SPDX-License-Identifier: MIT
//
// Thin, typed access to BPF programs, maps and links by descriptor, id or pin. Everything read from the
// kernel is checked against the size it must have before it is used: a pin may be anybody's.
#pragma once

#include <linux/bpf.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/fd.hpp"
#include "mpsched/error.hpp"

namespace mps {

// Newer than Debian 12's headers: 6.6 (e420bed02507 "bpf: Add fd-based tcx multi-prog infra").
inline constexpr int attach_type_tcx_ingress = 46;
inline constexpr int attach_type_tcx_egress = 47;
inline constexpr std::uint32_t link_type_tcx = 11;

struct ProgInfo {
    std::uint32_t id = 0;
    std::uint32_t type = 0;                       // enum bpf_prog_type
    std::string name{};                           // at most 15 characters
    std::array<std::uint8_t, BPF_TAG_SIZE> tag{}; // hash of the instructions
    std::vector<std::uint32_t> map_ids{};
};

struct MapInfo {
    std::uint32_t id = 0;
    std::uint32_t type = 0; // enum bpf_map_type
    std::string name{};     // at most 15 characters
    std::uint32_t key_size = 0;
    std::uint32_t value_size = 0;
    std::uint32_t max_entries = 0;
    std::uint32_t flags = 0;
    std::uint32_t btf_id = 0;
    std::uint32_t btf_value_type_id = 0;
};

struct LinkInfo {
    std::uint32_t id = 0;
    std::uint32_t type = 0; // enum bpf_link_type
    std::uint32_t prog_id = 0;
    std::uint32_t ifindex = 0; // XDP and tcx; 0: the interface is gone or the link was detached
};

[[nodiscard]] Result<ProgInfo> prog_info(int fd);
[[nodiscard]] Result<MapInfo> map_info(int fd);
[[nodiscard]] Result<LinkInfo> link_info(int fd);

[[nodiscard]] Result<Fd> prog_by_id(std::uint32_t id);
[[nodiscard]] Result<Fd> map_by_id(std::uint32_t id);

// "name (id 12)", or "id 12" if the program cannot be opened any more.
[[nodiscard]] std::string prog_text(std::uint32_t id);

// Opens a pin of any kind; no pin is an empty optional, not an error.
[[nodiscard]] Result<std::optional<Fd>> open_pin(const std::string &path);
[[nodiscard]] Result<void> pin(int fd, const std::string &path);
// No pin there is fine.
[[nodiscard]] Result<void> unpin(const std::string &path);

enum class ObjectKind { map, program, link, other };
// What a descriptor is: BPF_OBJ_GET opens all three kinds.
[[nodiscard]] ObjectKind object_kind(int fd);

// The map's whole value at `key` (array and hash maps that are not per CPU). nullopt: no such key.
// `value_size` must be the map's.
[[nodiscard]] Result<std::optional<std::vector<std::byte>>> read_bytes(int map_fd, std::uint32_t key,
                                                                       std::size_t value_size);

template <class T>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] Result<std::optional<T>> read_value(int map_fd, std::uint32_t key) {
    auto bytes = read_bytes(map_fd, key, sizeof(T));
    if (!bytes)
        return std::unexpected(bytes.error());
    if (!*bytes)
        return std::optional<T>{};
    T value;
    __builtin_memcpy(&value, (*bytes)->data(), sizeof(T));
    return std::optional<T>{value};
}

// `value` must be as long as the map's value_size.
[[nodiscard]] Result<void> write_bytes(int map_fd, std::uint32_t key, std::span<const std::byte> value,
                                       std::string_view map_name);

template <class T>
    requires std::is_trivially_copyable_v<T>
[[nodiscard]] Result<void> write_value(int map_fd, std::uint32_t key, const T &value,
                                       std::string_view map_name) {
    return write_bytes(map_fd, key, std::as_bytes(std::span(&value, 1)), map_name);
}

// No such key is fine.
[[nodiscard]] Result<void> delete_key(int map_fd, std::uint32_t key, std::string_view map_name);

// All keys of a hash map with 32-bit keys, as far as they could be read while it changes.
[[nodiscard]] std::vector<std::uint32_t> all_keys(int map_fd, std::uint32_t max_entries);

// The first value of an array map that was created with BPF_F_MMAPABLE, in our address space, so that a
// 64-bit word of it can be written in one store. Empty if the map does not allow it.
class MappedValue {
  public:
    MappedValue() = default;
    MappedValue(MappedValue &&other) noexcept
        : address_(std::exchange(other.address_, nullptr)), size_(other.size_) {}
    MappedValue &operator=(MappedValue &&other) noexcept {
        std::swap(address_, other.address_);
        std::swap(size_, other.size_);
        return *this;
    }
    MappedValue(const MappedValue &) = delete;
    MappedValue &operator=(const MappedValue &) = delete;
    ~MappedValue();

    // `info` is that of the map: its value_size bounds every access.
    [[nodiscard]] static MappedValue open(int map_fd, const MapInfo &info);

    [[nodiscard]] explicit operator bool() const { return address_ != nullptr; }
    [[nodiscard]] void *data() const { return address_; }

  private:
    void *address_ = nullptr;
    std::size_t size_ = 0;
};

} // namespace mps
