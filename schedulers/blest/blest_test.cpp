// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// Two paths of 20 and 100 ms with windows of 14000 bytes: λX is 100800 bytes at λ = 1.2.
std::uint32_t blest_with(std::uint64_t window, std::uint32_t on_slow = 0, std::uint32_t burst = 0)
{
	blest_params params{.reserved = 0,
			    .burst_bytes = burst,
			    .margin_pct = 0,
			    .lambda_least = 1200,
			    .lambda_most = 1200};

	return Steered("blest", &params)
		.allowed({{.srtt_us = 20000}, {.srtt_us = 100000, .outstanding_bytes = on_slow}},
			 {.unsent_bytes = 90000, .window_bytes = window});
}

} // namespace

TEST_CASE("a slow path is skipped if the quick one could then fill the send window", "[blest]")
{
	CHECK(blest_with(100799) == first);
	CHECK(blest_with(100800) == (first | second));
}

TEST_CASE("what the slow path holds already, and the burst it would get, take from the window", "[blest]")
{
	CHECK(blest_with(110000, 10000) == first);
	CHECK(blest_with(110800, 10000) == (first | second));
	CHECK(blest_with(166000, 0, 65536) == first);
	CHECK(blest_with(166336, 0, 65536) == (first | second));
}

TEST_CASE("what the quickest path's window holds goes there alone, whatever room there is", "[blest]")
{
	CHECK(Steered("blest").allowed({{.srtt_us = 20000}, {.srtt_us = 21000}},
				       {.unsent_bytes = 14000, .window_bytes = 1u << 30}) == first);
	CHECK(Steered("blest").allowed({{.srtt_us = 20000}, {.srtt_us = 21000}},
				       {.unsent_bytes = 14001, .window_bytes = 1u << 30}) ==
	      (first | second));
}

TEST_CASE("lambda grows while the window blocks and shrinks while it does not", "[blest]")
{
	blest_params params{
		.reserved = 0, .burst_bytes = 0, .margin_pct = 0, .lambda_least = 1000, .lambda_most = 1300};
	Steered policy("blest", &params);
	std::uint64_t now = 0;
	// λX is 84000·λ here.
	auto at = [&](std::uint64_t window) {
		return policy.allowed(
			{{.srtt_us = 20000}, {.srtt_us = 100000}},
			{.now_us = (now += 200) * ms, .unsent_bytes = 90000, .window_bytes = window});
	};

	for (int i = 0; i < 30; i++)
		at(1u << 20);
	CHECK(at(84000) == (first | second)); // 1.0
	for (int i = 0; i < 30; i++)
		at(0);
	CHECK(at(1) == first);
	CHECK(at(107000) == first); // still about 1.3
	CHECK(at(109200) == (first | second));
}

TEST_CASE("a skipped path returns only when there is room to spare", "[blest]")
{
	blest_params params{
		.reserved = 0, .burst_bytes = 0, .margin_pct = 10, .lambda_least = 1000, .lambda_most = 1000};
	Steered policy("blest", &params);
	auto at = [&](std::uint64_t now_ms, std::uint64_t window) {
		return policy.allowed({{.srtt_us = 20000}, {.srtt_us = 100000}},
				      {.now_us = now_ms * ms, .unsent_bytes = 80000, .window_bytes = window});
	};

	CHECK(at(100, 90000) == first);
	CHECK(at(200, 92400) == (first | second));
	CHECK(at(400, 85000) == (first | second));
	CHECK(at(600, 83999) == first);
}

TEST_CASE("blest gives a path without a sample something to measure", "[blest]")
{
	CHECK(Steered("blest").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 0}},
				       {.unsent_bytes = 14001}) == (first | second));
}
