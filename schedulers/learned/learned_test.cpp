// SPDX-License-Identifier: MIT
#include "steered.hpp"

#include <deque>

using namespace mps::test;

namespace
{

// A connection whose slower path either helps or blocks: what is delivered follows from what was allowed `late` looks (of 5 ms)
// before.
double waited_share(bool slow_helps, int epochs, std::size_t late = 0)
{
	Steered policy("learned");
	std::uint64_t acked = 0, now_us = 0;
	std::deque<std::uint32_t> before(late, first | second);
	int waits = 0, counted = 0;

	for (int i = 0; i < epochs * 20; i++) {
		const std::uint32_t allowed = policy.allowed(
			{{.srtt_us = 10000,
			  .cwnd_segs = 10,
			  .in_flight_segs = 10,
			  .bytes_acked = acked,
			  .outstanding_bytes = 14000},
			 {.srtt_us = 100000, .cwnd_segs = 50, .outstanding_bytes = 10000}},
			{.now_us = now_us += 5 * ms, .unsent_bytes = 1000000, .unacked_bytes = 24000});

		// 5 ms: the quick one alone carries 7,000 bytes; with the slow one 10,500, or hardly any when that blocks.
		before.push_back(allowed);
		acked += before.front() == first ? 7000 : slow_helps ? 10500 : 1500;
		before.pop_front();
		if (i < epochs * 10)
			continue;
		counted++;
		waits += allowed == first;
	}
	return static_cast<double>(waits) / counted;
}

} // namespace

TEST_CASE("a slow subflow that blocks is learned to be waited out, one that helps to be used", "[learned]")
{
	const double blocking = waited_share(false, 200), helping = waited_share(true, 200);

	INFO("waits: " << blocking << " when it blocks, " << helping << " when it helps");
	CHECK(blocking > 0.8);
	CHECK(helping < 0.2);
}

TEST_CASE("what is delivered a round trip late is learned from all the same", "[learned]")
{
	const double blocking = waited_share(false, 600, 20), helping = waited_share(true, 600, 20);

	INFO("waits: " << blocking << " when it blocks, " << helping << " when it helps");
	CHECK(blocking > 0.8);
	CHECK(helping < 0.2);
}

TEST_CASE("the quickest subflow is used alone while it has room, and at the end of a transfer", "[learned]")
{
	CHECK(Steered("learned").allowed({{.srtt_us = 10000}, {.srtt_us = 100000}}, {.unsent_bytes = 1000}) ==
	      first);
	CHECK(Steered("learned").allowed({{.srtt_us = 100000}, {.srtt_us = 10000}}) == second);
}
