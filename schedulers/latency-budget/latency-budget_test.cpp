// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// The first path has the given RTT, the second keeps 20 ms; packets arrive on both.
class Budgeted
{
      public:
	explicit Budgeted(latency_budget_params params = {.reserved = 0,
							  .budget_ms = 50,
							  .hold_ms = 500,
							  .retry_s = 10})
	    : params_(params)
	{
	}

	std::uint32_t at(std::uint64_t now_ms, std::uint32_t first_us, std::uint32_t second_us = 20000)
	{
		return policy_.allowed({{.srtt_us = first_us, .last_rcv_age_us = 1000},
					{.srtt_us = second_us, .last_rcv_age_us = 1000}},
				       {.now_us = now_ms * ms});
	}

      private:
	latency_budget_params params_;
	Steered policy_{"latency-budget", &params_};
};

} // namespace

TEST_CASE("all paths within the budget are used", "[latency-budget]")
{
	CHECK(Budgeted().at(1, 49999, 1) == (first | second));
	CHECK(Budgeted().at(1, 50000, 50000) == (first | second));
}

TEST_CASE("a path is left only after it broke the budget for hold_ms without a break", "[latency-budget]")
{
	Budgeted voice;

	CHECK(voice.at(100, 60000) == (first | second));
	CHECK(voice.at(500, 60000) == (first | second));
	CHECK(voice.at(550, 40000) == (first | second));
	CHECK(voice.at(600, 60000) == (first | second));
	CHECK(voice.at(1099, 60000) == (first | second));
	CHECK(voice.at(1100, 60000) == second);
}

TEST_CASE("jitter that returns into the budget within hold_ms causes no switch", "[latency-budget]")
{
	Budgeted voice;
	Random random(3);
	std::uint32_t flips = 0;

	for (std::uint64_t now = 1; now < 600000; now += 20)
		flips += voice.at(now, now % 400 < 20 ? 20000 : 20000 + random() % 60000) != (first | second);
	CHECK(flips == 0);
}

TEST_CASE(
	"a parked path is tried again after retry_s, whatever its old samples say, and twice as late after each failure",
	"[latency-budget]")
{
	Budgeted voice;
	std::uint64_t now = 0;
	auto until = [&](std::uint32_t answer) {
		const std::uint64_t start = now;

		while (voice.at(now, 60000) != answer && now < start + 1000000)
			now += 100;
		return now - start;
	};

	until(second);
	CHECK(until(first | second) == 10000);
	CHECK(until(second) <= 600);
	CHECK(until(first | second) == 20000);
	until(second);
	CHECK(until(first | second) == 40000);
	for (int i = 0; i < 5; i++) {
		until(second);
		CHECK(until(first | second) <= 160000);
	}
	// Within the budget for retry_s: forgiven.
	CHECK(voice.at(now += 100, 30000) == (first | second));
	CHECK(voice.at(now += 10000, 30000) == (first | second));
	until(second);
	CHECK(until(first | second) == 10000);
}

TEST_CASE("an RTT without traffic parks nobody", "[latency-budget]")
{
	Steered policy("latency-budget");

	for (std::uint64_t now = 1; now < 20000; now += 100)
		CHECK(policy.allowed({{.srtt_us = 900000, .last_rcv_age_us = 5000000}, {}},
				     {.now_us = now * ms}) == (first | second));
	CHECK(policy.allowed({{.srtt_us = 0, .min_rtt_us = 0, .last_rcv_age_us = 0}, {}},
			     {.now_us = 30000 * ms}) == (first | second));
}

TEST_CASE("if no path keeps the budget the quickest is used alone", "[latency-budget]")
{
	Budgeted voice;

	CHECK(voice.at(100, 90000, 70000) == (first | second));
	CHECK(voice.at(600, 90000, 70000) == second);
	CHECK(voice.at(700, 68000, 70000) == second); // not quicker by a tenth
	CHECK(voice.at(800, 60000, 70000) == first);
}

TEST_CASE("of a download that comes without a pause the receiver's round trip counts", "[latency-budget]")
{
	Steered policy("latency-budget");
	std::uint32_t allowed = first | second;
	std::uint64_t now = 1000;

	for (; now < 1700; now += 10)
		allowed = policy.allowed(
			{{.last_rcv_age_us = 1000}, {.last_rcv_age_us = 1000, .receive_rtt_us = 150000}},
			{.now_us = now * ms, .receives = true});
	CHECK(allowed == (first | second)); // steady since 1200, over the budget for 500 ms since then
	for (; now < 1800; now += 10)
		allowed = policy.allowed(
			{{.last_rcv_age_us = 1000}, {.last_rcv_age_us = 1000, .receive_rtt_us = 150000}},
			{.now_us = now * ms, .receives = true});
	CHECK(allowed == first);
}

TEST_CASE("a sender's pauses are no delay of a download", "[latency-budget]")
{
	Steered policy("latency-budget");

	// Contents for 100 ms, then none for 400: the kernel's estimate has the pause in it.
	for (std::uint64_t now = 1000; now < 20000; now += 10)
		CHECK(policy.allowed({{.last_rcv_age_us = 1000},
				      {.last_rcv_age_us = static_cast<std::uint32_t>(
					       now % 500 < 100 ? 1000 : (now % 500 - 99) * ms),
				       .receive_rtt_us = 400000}},
				     {.now_us = now * ms, .receives = true}) == (first | second));
}

TEST_CASE("of a download a path whose own segments are slow is parked as well", "[latency-budget]")
{
	Steered policy("latency-budget");
	std::uint32_t allowed = 0;

	for (std::uint64_t now = 1000; now < 1600; now += 10)
		allowed = policy.allowed(
			{{.last_rcv_age_us = 1000}, {.srtt_us = 200000, .last_rcv_age_us = 1000}},
			{.now_us = now * ms, .receives = true});
	CHECK(allowed == first);
}
