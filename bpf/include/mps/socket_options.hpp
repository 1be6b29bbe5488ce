// SPDX-License-Identifier: GPL-2.0-only OR MIT
//
// mps/socket_options.h for C++: what an application may say about its own MPTCP sockets. Header only; needs neither libmpsched nor
// mpsched: where nobody steers, or an application may not choose, each call says so and nothing is changed.
#pragma once

#include <mps/socket_options.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <net/if.h>
#include <sys/socket.h>

namespace mps::app
{

// An empty one is success. std::errc::no_protocol_option: the kernel answered, nobody steers this socket.
using Error = std::error_code;

enum class Direction { both = MPSCHED_BOTH, send = MPSCHED_SEND, receive = MPSCHED_RECEIVE };
enum class Preference {
	nothing = MPSCHED_PREFER_NOTHING,
	latency = MPSCHED_PREFER_LATENCY,
	throughput = MPSCHED_PREFER_THROUGHPUT,
	cost = MPSCHED_PREFER_COST,
	energy = MPSCHED_PREFER_ENERGY,
};

namespace inside
{

template <class Value>
Error set(int fd, int option, const Value &value)
{
	if (::setsockopt(fd, MPSCHED_SOL_MPTCP, option, &value, sizeof value))
		return {errno, std::system_category()};
	return {};
}

inline Error set_number(int fd, int option, std::optional<std::uint64_t> value)
{
	return set(fd, option, mpsched_number{.value = value.value_or(MPSCHED_NONE)});
}

template <class Value>
std::optional<Value> get(int fd, int option)
{
	Value value{};
	socklen_t length = sizeof value;
	if (::getsockopt(fd, MPSCHED_SOL_MPTCP, option, &value, &length))
		return std::nullopt;
	return value;
}

} // namespace inside

// By which policy, of those in info(); "": as everybody's.
inline Error choose_policy(int fd, std::string_view name, Direction direction = Direction::both)
{
	mpsched_policy wish{};
	if (name.size() >= sizeof wish.name)
		return std::make_error_code(std::errc::no_such_file_or_directory);
	wish.direction = static_cast<__u32>(direction);
	name.copy(wish.name, name.size());
	return inside::set(fd, MPSCHED_POLICY, wish);
}

inline Error prefer(int fd, Preference what)
{
	return inside::set_number(fd, MPSCHED_PREFER, static_cast<std::uint64_t>(what));
}

// All interfaces that are not to be used; none: all may.
inline Error avoid(int fd, std::span<const unsigned> interfaces)
{
	mpsched_avoid wish{};
	if (interfaces.size() > MPSCHED_MAX_AVOIDED)
		return std::make_error_code(std::errc::invalid_argument);
	for (const unsigned ifindex : interfaces)
		wish.ifindex[wish.count++] = ifindex;
	return inside::set(fd, MPSCHED_AVOID, wish);
}
// A name that there is none of is ENODEV.
inline Error avoid(int fd, std::initializer_list<const char *> interfaces)
{
	std::vector<unsigned> indices;
	for (const char *name : interfaces)
		indices.push_back(::if_nametoindex(name));
	return avoid(fd, indices);
}

// nullopt takes each of these back.
inline Error limit_cost(int fd, std::optional<std::uint32_t> cost)
{
	return inside::set_number(fd, MPSCHED_COST_LIMIT, cost);
}
// Within which each message should be delivered.
inline Error set_deadline(int fd, std::optional<std::chrono::microseconds> time)
{
	if (!time)
		return inside::set_number(fd, MPSCHED_DEADLINE, std::nullopt);
	return inside::set_number(fd, MPSCHED_DEADLINE, static_cast<std::uint64_t>(time->count()));
}
// How large the next message is.
inline Error set_size(int fd, std::optional<std::uint64_t> bytes)
{
	return inside::set_number(fd, MPSCHED_SIZE, bytes);
}

// nullopt: nobody answers, see errno.
inline std::optional<mpsched_info> info(int fd)
{
	return inside::get<mpsched_info>(fd, MPSCHED_INFO);
}
inline std::optional<mpsched_state> state(int fd)
{
	return inside::get<mpsched_state>(fd, MPSCHED_STATE);
}
inline std::optional<std::vector<mpsched_subflow>> subflows(int fd)
{
	const auto all = inside::get<mpsched_subflows>(fd, MPSCHED_SUBFLOWS);
	if (!all)
		return std::nullopt;
	return std::vector<mpsched_subflow>(all->subflow, all->subflow + all->filled);
}

} // namespace mps::app
