// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// Two paths as they answer a policy: each takes what it is allowed at its own capacity, the slower one of a share
// holds up the other.
class Sharing
{
      public:
	Sharing(double first_rate, double second_rate) : rate_{first_rate, second_rate}
	{
	}

	void capacity(double first_rate, double second_rate)
	{
		rate_[0] = first_rate;
		rate_[1] = second_rate;
	}

	// One millisecond; bytes delivered by both.
	double step()
	{
		mps_view view = view_of({{.srtt_us = 10000, .cwnd_segs = 20, .bytes_acked = acked(0)},
					 {.srtt_us = 10000, .cwnd_segs = 20, .bytes_acked = acked(1)}},
					{.now_us = now_us_ += ms, .unsent_bytes = 1000000});
		const std::uint32_t allowed = policy_.allowed(view);
		double sum = 0;
		for (std::uint32_t i = 0; i < 2; i++) {
			if (!(allowed >> i & 1))
				continue;
			acked_[i] += rate_[i];
			sum += rate_[i];
		}
		return sum;
	}

	double mean(int steps)
	{
		double sum = 0;
		for (int i = 0; i < steps; i++)
			sum += step();
		return sum / steps;
	}

      private:
	std::uint64_t acked(int i) const
	{
		return static_cast<std::uint64_t>(acked_[i]);
	}

	Steered policy_{"ratio-probe"};
	double rate_[2];
	double acked_[2] = {0, 0};
	std::uint64_t now_us_ = 0;
};

} // namespace

TEST_CASE("the ratio of the rates is found although windows and delays tell of another", "[ratio-probe]")
{
	Sharing paths(5000, 1000);

	// By the windows both would carry the same, so the slower one would set the pace: 2000 a millisecond.
	CHECK(paths.mean(200) < 4000);
	paths.mean(10000);
	CHECK(paths.mean(3000) > 5000);
}

TEST_CASE("rates that change are found again", "[ratio-probe]")
{
	Sharing paths(5000, 1000);

	paths.mean(10000);
	paths.capacity(1000, 5000);
	paths.mean(10000);
	CHECK(paths.mean(3000) > 5000);
}

TEST_CASE("who leads when a period ends still leads when the next one begins", "[ratio-probe]")
{
	Steered policy("ratio-probe");
	auto at = [&](std::uint64_t now_ms, std::uint64_t given) {
		return policy.allowed({{.bytes_acked = given}, {}},
				      {.now_us = now_ms * ms, .unsent_bytes = 1000000});
	};

	CHECK(at(1000, 0) == (first | second));
	CHECK(at(1099, 300000) == second);
	CHECK(at(1101, 300000) == second);
}

TEST_CASE("a subflow that is silent with data in flight is left before its timer runs out", "[ratio-probe]")
{
	Steered policy("ratio-probe");
	auto heard = [&](std::uint32_t age_us, std::uint32_t in_flight) {
		return policy.allowed(
			{{.srtt_us = 4000, .in_flight_segs = in_flight, .last_rcv_age_us = age_us},
			 {.last_rcv_age_us = 0}});
	};

	CHECK(heard(1000, 10) == (first | second));
	CHECK(heard(40000, 10) == second);
	CHECK(heard(0, 10) == (first | second));    // back with its first packet
	CHECK(heard(40000, 0) == (first | second)); // idle is not silent
}
