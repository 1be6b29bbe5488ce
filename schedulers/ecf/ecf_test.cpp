// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// Windows of 14000 bytes, unless told otherwise; the first path is the quick one.
std::uint32_t ecf_first(std::uint32_t slow_us, std::uint64_t unsent, std::uint32_t slow_cwnd = 10,
			std::uint32_t burst_bytes = 0)
{
	ecf_params params{.reserved = 0, .beta_pct = 25, .burst_bytes = burst_bytes};

	return Steered("ecf", &params)
		.allowed({{.srtt_us = 20000},
			  {.srtt_us = slow_us, .cwnd_segs = slow_cwnd, .last_rcv_age_us = 1000}},
			 {.unsent_bytes = unsent});
}

} // namespace

TEST_CASE("what the quickest path's window holds goes there alone", "[ecf]")
{
	CHECK(ecf_first(20001, 0) == first);
	CHECK(ecf_first(20001, 14000) == first);
	CHECK(Steered("ecf").allowed({{.srtt_us = 50000}, {.srtt_us = 10000}}, {.unsent_bytes = 14000}) ==
	      second);
}

TEST_CASE("a slow path is used once waiting would take longer", "[ecf]")
{
	// (1 + k/14000)·20 ms against 100 ms: four windows.
	CHECK(ecf_first(100000, 55000) == first);
	CHECK(ecf_first(100000, 56001) == (first | second));
	// Two paths alike: at once.
	CHECK(ecf_first(21000, 14001) == (first | second));
}

TEST_CASE("a slow path is used if what waits fits there in twice the quick path's round trip", "[ecf]")
{
	// One round of 39 ms for it all; waiting takes 20·(1 + 14001/14000) ms, 40.
	CHECK(ecf_first(39000, 14001, 100) == (first | second));
	CHECK(ecf_first(41000, 14001, 100) == first);
}

TEST_CASE("what a burst takes on the slow path is counted in its present windows", "[ecf]")
{
	// 70000 bytes are five rounds there, so 500 ms and not 100.
	CHECK(ecf_first(100000, 70000, 10, 0) == (first | second));
	CHECK(ecf_first(100000, 70000, 10, 65536) == first);
	CHECK(ecf_first(100000, 70000, 100, 65536) == (first | second));
	CHECK(ecf_first(100000, 1000000, 10, 65536) == (first | second));
}

TEST_CASE("one that is being waited out stays so until waiting looks worse by beta", "[ecf]")
{
	ecf_params params{.reserved = 0, .beta_pct = 25, .burst_bytes = 0};
	Steered policy("ecf", &params);
	auto at = [&](std::uint64_t unsent) {
		return policy.allowed({{.srtt_us = 20000}, {.srtt_us = 100000}}, {.unsent_bytes = unsent});
	};

	CHECK(at(50000) == first);
	CHECK(at(60000) == first); // 105.7 ms against 100, but below 125
	CHECK(at(73000) == first);
	CHECK(at(73501) == (first | second));
}

TEST_CASE("a subflow that was needed stays open for a round trip, but not beyond the end", "[ecf]")
{
	Steered policy("ecf");
	auto at = [&](std::uint64_t now_ms, std::uint64_t unsent, std::uint32_t outstanding) {
		return policy.allowed(
			{{.srtt_us = 20000, .outstanding_bytes = outstanding}, {.srtt_us = 30000}},
			{.now_us = now_ms * ms, .unsent_bytes = unsent});
	};

	CHECK(at(100, 900000, 1000) == (first | second));
	CHECK(at(120, 100, 1000) == (first | second));
	CHECK(at(130, 100, 1000) == first);
	CHECK(at(140, 900000, 1000) == (first | second));
	CHECK(at(141, 0, 0) == first);
}

TEST_CASE("a path that never had a sample is given something to measure", "[ecf]")
{
	CHECK(Steered("ecf").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 0}},
				     {.unsent_bytes = 14001}) == (first | second));
	CHECK(Steered("ecf").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 900000}},
				     {.unsent_bytes = 14001}) == first);
}

TEST_CASE("the window of an idle subflow counts as the ten segments it restarts with", "[ecf]")
{
	auto at = [](std::uint32_t age_us) {
		return Steered("ecf").allowed(
			{{.srtt_us = 20000},
			 {.srtt_us = 100000, .cwnd_segs = 100, .last_rcv_age_us = age_us}},
			{.unsent_bytes = 70000});
	};

	CHECK(at(1000) == (first | second));
	CHECK(at(400000) == first);
}
