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
