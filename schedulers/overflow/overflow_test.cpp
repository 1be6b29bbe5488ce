// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// Two tiers on paths of 20 ms, whose queue is looked at every 10 ms.
class Overflowing
{
      public:
	explicit Overflowing(
		overflow_params params = {.reserved = 0, .full_ms = 100, .full_rtts = 4, .calm_ms = 1000})
	    : params_(params)
	{
	}

	std::uint32_t at(std::uint64_t now_ms, std::uint64_t unsent, std::uint32_t notsent = 0,
			 std::uint64_t window = 1u << 20)
	{
		return policy_.allowed(
			{{.priority = 0, .notsent_bytes = notsent}, {.priority = 1}},
			{.now_us = now_ms * ms, .unsent_bytes = unsent, .window_bytes = window});
	}
	// Data waits at every look from `from_ms` to `to_ms`; the last answer.
	std::uint32_t busy(std::uint64_t from_ms, std::uint64_t to_ms)
	{
		std::uint32_t last = 0;

		for (std::uint64_t now = from_ms; now <= to_ms; now += 10)
			last = at(now, 100000);
		return last;
	}

      private:
	overflow_params params_;
	Steered policy_{"overflow", &params_};
};

} // namespace

TEST_CASE("the next tier opens only after data has waited for full_ms without a break", "[overflow]")
{
	Overflowing stream;

	CHECK(stream.busy(10, 100) == first);
	CHECK(stream.busy(110, 120) == (first | second));
}

TEST_CASE("a stream whose queue empties now and then stays on the preferred path", "[overflow]")
{
	Overflowing stream;

	for (std::uint64_t now = 0; now < 10000; now += 100) {
		CHECK(stream.busy(now + 10, now + 90) == first);
		CHECK(stream.at(now + 100, 0) == first);
	}
}

TEST_CASE("what waits in the preferred subflow's own queue counts as waiting", "[overflow]")
{
	Overflowing stream;

	CHECK(stream.at(10, 0, 5000) == first);
	CHECK(stream.at(110, 0, 5000) == (first | second));
}

TEST_CASE("the end of a message that Nagle's rule holds back does not open the next tier", "[overflow]")
{
	Overflowing stream;

	for (std::uint64_t now = 10; now < 5000; now += 10)
		CHECK(stream.at(now, 0, 1399) == first); // segments have 1400 bytes
}

TEST_CASE("what the peer has no room for does not open the next tier", "[overflow]")
{
	Overflowing stream;

	for (std::uint64_t now = 10; now < 5000; now += 10)
		CHECK(stream.at(now, 100000, 0, 0) == first);
}

TEST_CASE("a path of long delay has four of its round trips before it is called full", "[overflow]")
{
	Steered policy("overflow");
	auto at = [&](std::uint64_t now_ms) {
		return policy.allowed({{.srtt_us = 100000, .priority = 0}, {.priority = 1}},
				      {.now_us = now_ms * ms, .unsent_bytes = 100000});
	};

	CHECK(at(10) == first);
	CHECK(at(400) == first);
	CHECK(at(410) == (first | second));
}

TEST_CASE("the next tier closes when the paths have not been full for calm_ms", "[overflow]")
{
	Overflowing stream;

	CHECK(stream.busy(10, 500) == (first | second));
	CHECK(stream.at(510, 0) == (first | second));
	CHECK(stream.at(1490, 0) == (first | second));
	CHECK(stream.at(1491, 100) == (first | second)); // not while something waits
	CHECK(stream.at(1501, 0) == first);
}

TEST_CASE("a bulk transfer keeps all tiers open, however long it takes", "[overflow]")
{
	Overflowing stream;
	std::uint32_t flips = 0, last = stream.busy(10, 200);

	for (std::uint64_t now = 210; now < 60000; now += 10) {
		const std::uint32_t allowed = stream.at(now, 100000);

		flips += allowed != last;
		last = allowed;
	}
	CHECK(last == (first | second));
	CHECK(flips == 0);
}

TEST_CASE("a stream between the capacities costs two flips in calm_ms and full_ms", "[overflow]")
{
	Overflowing stream;
	std::uint32_t flips = 0, last = stream.at(0, 0);

	// With both tiers nothing waits, with one something does.
	for (std::uint64_t now = 10; now < 60000; now += 10) {
		const std::uint32_t allowed = stream.at(now, last == first ? 100000 : 0);

		flips += allowed != last;
		last = allowed;
	}
	CHECK(flips > 50);
	CHECK(flips < 120);
}

TEST_CASE("tiers open one after the other, and the last one closes first", "[overflow]")
{
	overflow_params params{.reserved = 0, .full_ms = 100, .full_rtts = 0, .calm_ms = 1000};
	Steered policy("overflow", &params);
	auto at = [&](std::uint64_t now_ms, std::uint64_t unsent) {
		return policy.allowed({{.priority = 5}, {.priority = 0}, {.priority = 2}},
				      {.now_us = now_ms * ms, .unsent_bytes = unsent});
	};

	CHECK(at(10, 1) == second);
	CHECK(at(110, 1) == (second | third));
	CHECK(at(120, 1) == (second | third));
	CHECK(at(220, 1) == (first | second | third));
	CHECK(at(1220, 0) == (second | third));
	CHECK(at(2220, 0) == second);
}

TEST_CASE("when the preferred path dies the next tier takes over, and goes when it is back", "[overflow]")
{
	overflow_params params{.reserved = 0, .full_ms = 100, .full_rtts = 4, .calm_ms = 1000};
	Steered policy("overflow", &params);

	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 10 * ms}) == first);
	CHECK(policy.allowed({{.troubled = true, .priority = 0}, {.priority = 1}}, {.now_us = 20 * ms}) ==
	      second);
	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 30 * ms}) == (first | second));
	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 1020 * ms}) == first);
}

TEST_CASE("when the preferred path joins late the standby path is left at once", "[overflow]")
{
	Steered policy("overflow");

	CHECK(policy.allowed({{.priority = 1}, {.usable = false, .fresh = true, .priority = 0}}) == first);
	CHECK(policy.allowed({{.priority = 1}, {.fresh = true, .priority = 0}}) == second);
	CHECK(policy.allowed({{.priority = 1}, {.priority = 0}}) == second);
}

TEST_CASE("paths of equal priority are one tier, and a peer's backup ranks behind them", "[overflow]")
{
	CHECK(Steered("overflow").allowed({{}, {}, {}}) == (first | second | third));
	CHECK(Steered("overflow").allowed({{.peer_backup = true}, {}, {.local_backup = true}}) == second);
}

namespace
{

// What the peer sends, over two tiers of which each carries 1 MB/s: `offered` bytes/s, looked at every 10 ms.
class Download
{
      public:
	std::uint32_t run(std::uint64_t until_ms, std::uint64_t offered)
	{
		for (; now_ms_ < until_ms; now_ms_ += 10) {
			const bool both = last_ == (first | second);
			const std::uint64_t capacity = both ? 2000000 : 1000000;
			const std::uint64_t rate = offered < capacity ? offered : capacity;
			const std::uint32_t queue_us = offered > capacity ? 30000 : 0;
			const std::uint32_t before = last_;

			one_ += rate / 100 / (both ? 2 : 1);
			two_ += both ? rate / 200 : 0;
			last_ = policy_.allowed({{.priority = 0, .bytes_acked = one_, .queue_us = queue_us},
						 {.priority = 1, .bytes_acked = two_}},
						{.now_us = now_ms_ * ms, .receives = true});
			flips += last_ != before;
			open_ms += last_ == (first | second) ? 10 : 0;
		}
		return last_;
	}
	int flips = 0;
	std::uint64_t open_ms = 0;

      private:
	Steered policy_{"overflow"};
	std::uint64_t now_ms_ = 1000, one_ = 0, two_ = 0;
	std::uint32_t last_ = first;
};

} // namespace

TEST_CASE("a download that the first tier carries stays there", "[overflow]")
{
	Download within;

	CHECK(within.run(60000, 900000) == first);
	CHECK(within.flips == 0);
}

TEST_CASE("a download opens the next tier after a queue has stood for four round trips and full_ms",
	  "[overflow]")
{
	Download bulk;

	CHECK(bulk.run(1100, 3000000) == first);
	CHECK(bulk.run(1120, 3000000) == (first | second));
}

TEST_CASE("a long download keeps all tiers but for a few tries that become rare", "[overflow]")
{
	Download bulk;

	bulk.run(301000, 3000000);
	CHECK(bulk.flips < 12);
	CHECK(bulk.open_ms > 298000);
}

TEST_CASE("the next tier closes when a download has come down to what the first one carries", "[overflow]")
{
	Download falling;

	CHECK(falling.run(5000, 3000000) == (first | second));
	CHECK(falling.run(10000, 500000) == first);
	CHECK(falling.run(60000, 500000) == first);
	CHECK(falling.flips == 2);
}

TEST_CASE("a download between the capacities keeps the next tier", "[overflow]")
{
	Download between;

	between.run(301000, 1500000);
	CHECK(between.flips < 12);
	CHECK(between.open_ms > 298000);
}
