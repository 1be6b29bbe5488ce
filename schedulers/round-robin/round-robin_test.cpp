// SPDX-License-Identifier: MIT
#include "steered.hpp"

#include <array>

using namespace mps::test;

TEST_CASE("the turn passes after turn_bytes, in the order of the subflows", "[round-robin]")
{
	round_robin_params params{.reserved = 0, .turn_bytes = 100000, .patience_ms = 200};
	Steered policy("round-robin", &params);

	CHECK(policy.allowed({{}, {}, {}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 50000, .outstanding_bytes = 49999}, {}, {}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 50000, .outstanding_bytes = 50000}, {}, {}}) == second);
	CHECK(policy.allowed({{.bytes_acked = 100000}, {.outstanding_bytes = 100000}, {}}) == third);
	CHECK(policy.allowed({{.bytes_acked = 100000}, {.bytes_acked = 100000}, {.bytes_acked = 100000}}) ==
	      first);
}

TEST_CASE("what a subflow had beyond its turn is taken off its next ones", "[round-robin]")
{
	// Plays the kernel: the one that is allowed gets what its send buffer takes.
	constexpr std::array<std::uint64_t, 3> buffer{1000000, 64000, 300000};
	Random random(7);
	mps_state state{};
	mps_view view = view_of({{}, {}, {}});
	const Core &core = core_named("round-robin");
	std::uint32_t flips = 0, last = 0;
	constexpr int rounds = 20000;

	for (int round = 0; round < rounds; round++) {
		const std::uint32_t allowed = core(view, state).allowed;

		REQUIRE((allowed == first || allowed == second || allowed == third));
		flips += allowed != last;
		last = allowed;
		const std::size_t i = allowed == first ? 0 : allowed == second ? 1 : 2;
		view.sf[i].bytes_acked += buffer[i] / 2 + random() % (buffer[i] / 2);
	}
	const auto sum =
		static_cast<double>(view.sf[0].bytes_acked + view.sf[1].bytes_acked + view.sf[2].bytes_acked);
	for (std::size_t i = 0; i < 3; i++)
		CHECK(static_cast<double>(view.sf[i].bytes_acked) / sum ==
		      Catch::Approx(1.0 / 3).margin(0.005));
	CHECK(flips > 100);
}

TEST_CASE("what a subflow still gets after its turn, until it is parked, is taken off its next ones",
	  "[round-robin]")
{
	round_robin_params params{.reserved = 0, .turn_bytes = 100000, .patience_ms = 200};
	Steered policy("round-robin", &params);

	CHECK(policy.allowed({{}, {}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 100000}, {}}) == second);
	CHECK(policy.allowed({{.bytes_acked = 220000}, {.bytes_acked = 100000}}) == second); // skips one
	CHECK(policy.allowed({{.bytes_acked = 220000}, {.bytes_acked = 200000}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 299999}, {.bytes_acked = 200000}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 300000}, {.bytes_acked = 200000}}) == second);
}

TEST_CASE("one that takes nothing although data waits loses its turn after patience_ms", "[round-robin]")
{
	Steered policy("round-robin");
	auto at = [&](std::uint64_t now_ms, std::uint64_t unsent) {
		return policy.allowed({{}, {}}, {.now_us = now_ms * ms, .unsent_bytes = unsent});
	};

	CHECK(at(10, 100) == first);
	CHECK(at(20, 100) == first);
	CHECK(at(210, 0) == first); // it did take what waited
	CHECK(at(1000, 100) == first);
	CHECK(at(1199, 100) == first);
	CHECK(at(1200, 100) == second);
}

TEST_CASE("without data the turn stays where it is", "[round-robin]")
{
	Steered policy("round-robin");

	for (std::uint64_t now = 0; now < 100; now++)
		CHECK(policy.allowed({{}, {}}, {.now_us = now * 1000 * ms}) == first);
}

TEST_CASE("a turn ends with its subflow", "[round-robin]")
{
	Steered policy("round-robin");

	CHECK(policy.allowed({{}, {}}) == first);
	CHECK(policy.allowed({{.troubled = true}, {}}) == second);
	CHECK(policy.allowed({{}, {}}) == second);
	CHECK(policy.allowed({{}, {.usable = false}}) == first);
	// Another subflow at the same index starts with a turn of its own, without debts.
	CHECK(policy.allowed({{.fresh = true}, {}}) == second);
}
