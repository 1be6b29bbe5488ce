// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

TEST_CASE("the path with the lowest priority value is used alone", "[active-standby]")
{
	CHECK(Steered("active-standby").allowed({{.priority = 2}, {.priority = 1}, {.priority = 3}}) ==
	      second);
	CHECK(Steered("active-standby").allowed({{.priority = 0}, {.priority = 255}}) == first);
}

TEST_CASE("paths of equal priority share a tier", "[active-standby]")
{
	CHECK(Steered("active-standby").allowed({{.priority = 1}, {.priority = 2}, {.priority = 1}}) ==
	      (first | third));
	CHECK(Steered("active-standby").allowed({{}, {}, {}}) == (first | second | third));
}

TEST_CASE("the next tier takes over at once when the better one has nothing usable", "[active-standby]")
{
	Steered policy("active-standby");

	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}, {.priority = 2}}) == first);
	CHECK(policy.allowed({{.usable = false, .priority = 0}, {.priority = 1}, {.priority = 2}}) == second);
	CHECK(policy.allowed({{.usable = false, .priority = 0},
			      {.usable = false, .priority = 1},
			      {.priority = 2}}) == third);
}

TEST_CASE("a path in trouble counts as gone while another one is healthy", "[active-standby]")
{
	Steered policy("active-standby");

	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}) == first);
	CHECK(policy.allowed({{.troubled = true, .priority = 0}, {.priority = 1}}) == second);
	// With all of them in trouble the order is as ever.
	CHECK(Steered("active-standby")
		      .allowed({{.troubled = true, .priority = 0}, {.troubled = true, .priority = 1}}) ==
	      first);
}

TEST_CASE("traffic returns to a better tier only after it held for hold_ms", "[active-standby]")
{
	active_standby_params params{.reserved = 0, .hold_ms = 500};
	Steered policy("active-standby", &params);
	auto at = [&](std::uint64_t now_ms, bool better_usable) {
		return policy.allowed({{.usable = better_usable, .priority = 0}, {.priority = 1}},
				      {.now_us = now_ms * ms});
	};

	CHECK(at(0, true) == first);
	CHECK(at(100, false) == second);
	CHECK(at(200, true) == second); // back, the hold begins
	CHECK(at(699, true) == second);
	CHECK(at(701, true) == first);
}

TEST_CASE("a flap during the hold starts it over", "[active-standby]")
{
	active_standby_params params{.reserved = 0, .hold_ms = 500};
	Steered policy("active-standby", &params);
	auto at = [&](std::uint64_t now_ms, bool better_usable) {
		return policy.allowed({{.usable = better_usable, .priority = 0}, {.priority = 1}},
				      {.now_us = now_ms * ms});
	};

	CHECK(at(1000, true) == first);
	CHECK(at(1100, false) == second);
	CHECK(at(1200, true) == second);
	CHECK(at(1600, false) == second);
	CHECK(at(1650, true) == second);
	CHECK(at(1750, true) == second); // 550 ms after the first return, 100 ms after the second
	CHECK(at(2200, true) == first);
}

TEST_CASE("a path that flaps more slowly than the hold is returned to once and not each time",
	  "[active-standby]")
{
	active_standby_params params{.reserved = 0, .hold_ms = 500};
	Steered policy("active-standby", &params);
	int switches = 0;
	auto last = first;

	// Away for a second, there for a second; decided on every 100 ms.
	for (std::uint64_t now_ms = 1000; now_ms < 11'000; now_ms += 100) {
		const auto now = policy.allowed(
			{{.usable = now_ms / 1000 % 2 == 0 || now_ms < 2000, .priority = 0}, {.priority = 1}},
			{.now_us = now_ms * ms});
		switches += now != last;
		last = now;
	}
	CHECK(switches == 3); // four flaps: away, back, and away for good
	// Four times as long is enough.
	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 11'000 * ms}) == second);
	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 13'100 * ms}) == first);
}

TEST_CASE("with hold_ms 0 traffic returns at once", "[active-standby]")
{
	active_standby_params params{.reserved = 0, .hold_ms = 0};
	Steered policy("active-standby", &params);

	CHECK(policy.allowed({{.usable = false, .priority = 0}, {.priority = 1}}, {.now_us = 1}) == second);
	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}, {.now_us = 2}) == first);
}

TEST_CASE("what the peer or the local endpoint calls a backup ranks behind its equals", "[active-standby]")
{
	CHECK(Steered("active-standby").allowed({{.peer_backup = true}, {}}) == second);
	CHECK(Steered("active-standby").allowed({{}, {.local_backup = true}}) == first);
	CHECK(Steered("active-standby").allowed({{.peer_backup = true, .priority = 0}, {.priority = 1}}) ==
	      first);
}

TEST_CASE("a priority that the user changes moves traffic", "[active-standby]")
{
	active_standby_params params{.reserved = 0, .hold_ms = 0};
	Steered policy("active-standby", &params);

	CHECK(policy.allowed({{.priority = 0}, {.priority = 1}}) == first);
	CHECK(policy.allowed({{.priority = 2}, {.priority = 1}}) == second);
}
