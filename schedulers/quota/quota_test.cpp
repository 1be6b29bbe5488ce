// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

TEST_CASE("a path that has carried its quota is left, whatever its priority", "[quota]")
{
	CHECK(Steered("quota").allowed({{.priority = 1}, {.quota_left_bytes = 0}}) == first);
	CHECK(Steered("quota").allowed({{.priority = 1}, {.quota_left_bytes = 65536}}) == first);
	CHECK(Steered("quota").allowed({{.priority = 1}, {.quota_left_bytes = 65537}}) == second);
	CHECK(Steered("quota").allowed({{.priority = 1}, {}}) == second);
}

TEST_CASE("what is left is for when the preferred path is full, and no longer than it lasts", "[quota]")
{
	Steered policy("quota");
	auto at = [&](std::uint64_t now_ms, std::uint64_t left) {
		return policy.allowed({{}, {.priority = 1, .quota_left_bytes = left}},
				      {.now_us = now_ms * ms, .unsent_bytes = 100000});
	};

	CHECK(at(10, 10000000) == first);
	CHECK(at(200, 10000000) == (first | second));
	CHECK(at(300, 70000) == (first | second));
	CHECK(at(310, 60000) == first);
	CHECK(at(5000, 0) == first);
	// A new period.
	CHECK(at(5010, 10000000) == (first | second));
}

TEST_CASE("a path without quota left is used when nothing else is alive", "[quota]")
{
	CHECK(Steered("quota").allowed({{.usable = false}, {.priority = 1, .quota_left_bytes = 0}}) ==
	      second);
	CHECK(Steered("quota").allowed({{.troubled = true}, {.priority = 1, .quota_left_bytes = 0}}) ==
	      second);
	CHECK(Steered("quota").allowed({{.quota_left_bytes = 0}, {.quota_left_bytes = 0}}) ==
	      (first | second));
}

TEST_CASE("a larger reserve stops earlier", "[quota]")
{
	quota_params params = quota_defaults;

	params.reserve_bytes = 1000000;
	CHECK(Steered("quota", &params).allowed({{.priority = 1}, {.quota_left_bytes = 1000000}}) == first);
	CHECK(Steered("quota", &params).allowed({{.priority = 1}, {.quota_left_bytes = 1000001}}) == second);
}

TEST_CASE("of a download's quota two round trips are kept for what the peer has queued", "[quota]")
{
	Steered policy("quota");
	// 1 MB/s with 100 ms: 200 KB beside the reserve.
	auto at = [&](std::uint64_t now_ms, std::uint64_t left) {
		return policy.allowed({{.priority = 1}, {.quota_left_bytes = left, .receive_rtt_us = 100000}},
				      {.now_us = now_ms * ms, .receives = true});
	};

	for (std::uint64_t now = 1000; now < 2000; now += 10)
		CHECK(at(now, 2280000 - now * 1000) == second);
	CHECK(at(2000, 280000) == second);
	CHECK(at(2010, 265000) == first);
	// Nothing comes any more: what is left stays for when nothing else works.
	CHECK(at(5000, 100000) == first);
	CHECK(at(9000, 100000) == first);
	// A new period.
	CHECK(at(9010, 2000000) == (first | second));
}

TEST_CASE("how quickly a quota is used up is counted over all connections", "[quota]")
{
	Steered policy("quota");
	// This one receives nothing.
	auto at = [&](std::uint64_t now_ms, std::uint64_t left) {
		return policy.allowed({{.priority = 1}, {.quota_left_bytes = left, .rate = 0}},
				      {.now_us = now_ms * ms, .receives = true});
	};

	CHECK(at(1000, 5000000) == second);
	CHECK(at(1100, 4000000) == second);
	CHECK(at(1110, 500000) == second);
	CHECK(at(1160, 450000) == first);
}
