// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

TEST_CASE("what the quickest path can hold goes there alone", "[smallest-delay]")
{
	CHECK(Steered("smallest-delay")
		      .allowed({{.srtt_us = 40000}, {.srtt_us = 10000}, {.srtt_us = 20000}}) == second);
	CHECK(Steered("smallest-delay")
		      .allowed({{.srtt_us = 10000}, {.srtt_us = 40000}}, {.unsent_bytes = 14000}) == first);
}

TEST_CASE("further paths join in the order of their delay for what the quicker ones cannot hold",
	  "[smallest-delay]")
{
	// Each window takes 10 segments of 1400 octets.
	auto allowed = [](std::uint64_t unsent) {
		return Steered("smallest-delay")
			.allowed({{.srtt_us = 40000}, {.srtt_us = 10000}, {.srtt_us = 20000}},
				 {.unsent_bytes = unsent});
	};

	CHECK(allowed(14000) == second);
	CHECK(allowed(14001) == (second | third));
	CHECK(allowed(28000) == (second | third));
	CHECK(allowed(28001) == (first | second | third));
	CHECK(allowed(100000000) == (first | second | third));
}

TEST_CASE("a window that is full lets the next path in", "[smallest-delay]")
{
	CHECK(Steered("smallest-delay")
		      .allowed({{.srtt_us = 10000, .in_flight_segs = 10}, {.srtt_us = 20000}},
			       {.unsent_bytes = 1}) == (first | second));
}

TEST_CASE("the preferred path changes only for one that is quicker by the margin", "[smallest-delay]")
{
	Steered policy("smallest-delay"); // margin 10 %

	CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 30000}}) == first);
	CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 19000}}) == first);
	CHECK(policy.allowed({{.srtt_us = 20000}, {.srtt_us = 17000}}) == second);
	CHECK(policy.allowed({{.srtt_us = 17000}, {.srtt_us = 18000}}) == second);
}

TEST_CASE("jitter wider than the margin does not make traffic jump", "[smallest-delay]")
{
	Steered policy("smallest-delay");

	CHECK(policy.allowed({{.srtt_us = 20000, .rttvar_us = 8000}, {.srtt_us = 30000}}) == first);
	CHECK(policy.allowed({{.srtt_us = 20000, .rttvar_us = 8000}, {.srtt_us = 13000}}) == first);
	CHECK(policy.allowed({{.srtt_us = 20000, .rttvar_us = 8000}, {.srtt_us = 11000}}) == second);
}

TEST_CASE("a path without an RTT sample takes its delay from the handshake", "[smallest-delay]")
{
	CHECK(Steered("smallest-delay").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 5000}}) ==
	      second);
	CHECK(Steered("smallest-delay").allowed({{.srtt_us = 20000}, {.srtt_us = 0, .min_rtt_us = 0}}) ==
	      first);
}

TEST_CASE("a path in trouble is left at once, whatever its delay was", "[smallest-delay]")
{
	Steered policy("smallest-delay");

	CHECK(policy.allowed({{.srtt_us = 10000}, {.srtt_us = 90000}}) == first);
	CHECK(policy.allowed({{.troubled = true, .srtt_us = 10000}, {.srtt_us = 90000}}) == second);
}

TEST_CASE("the preference does not pass to another subflow that took over the index", "[smallest-delay]")
{
	Steered policy("smallest-delay");

	CHECK(policy.allowed({{.srtt_us = 10000}, {.srtt_us = 20000}}) == first);
	CHECK(policy.allowed({{.fresh = true, .srtt_us = 20500}, {.srtt_us = 20000}}) == second);
}
