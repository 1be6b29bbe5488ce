// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

TEST_CASE("a burst goes where it arrives first, although the window there is full", "[otias]")
{
	// 20/2 + one round of 20 is earlier than 100/2.
	CHECK(Steered("otias").allowed({{.srtt_us = 20000, .in_flight_segs = 20}, {.srtt_us = 100000}}) ==
	      first);
	CHECK(Steered("otias").allowed({{.srtt_us = 20000, .in_flight_segs = 10, .notsent_bytes = 42000},
					{.srtt_us = 100000}}) == second);
}

TEST_CASE("bursts that wait are placed one after the other", "[otias]")
{
	otias_params params{.reserved = 0, .burst_bytes = 14000, .margin_pct = 0};
	auto with = [&](std::uint64_t unsent) {
		return Steered("otias", &params)
			.allowed({{.srtt_us = 20000}, {.srtt_us = 100000}}, {.unsent_bytes = unsent});
	};

	// On the quick one they arrive after 10, 10, 30, 50, 70 ms; on the other after 50.
	CHECK(with(14000) == first);
	CHECK(with(14000 * 4) == first);
	CHECK(with(14000 * 5) == (first | second));
}

TEST_CASE("the first choice changes only for an arrival that is earlier by the margin", "[otias]")
{
	Steered policy("otias");

	CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 30000}}) == first);
	CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 19000}}) == first);
	CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 17000}}) == second);
}

TEST_CASE("one without a sample counts as a path of 100 ms", "[otias]")
{
	CHECK(Steered("otias").allowed({{.srtt_us = 99000}, {.srtt_us = 0, .min_rtt_us = 0}}) == first);
	CHECK(Steered("otias").allowed({{.srtt_us = 101000}, {.srtt_us = 0, .min_rtt_us = 0}}) == second);
}
