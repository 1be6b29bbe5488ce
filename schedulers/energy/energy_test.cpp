// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

constexpr std::uint32_t asleep = 60000000, awake = 1000;

// WiFi of 8 and LTE of 12 Mbit/s, as their windows say.
mps_view wifi_and_lte(std::uint64_t moved, std::uint32_t lte_age_us, std::uint64_t unsent = 10000)
{
	return view_of({{.srtt_us = 14000,
			 .bytes_acked = moved,
			 .energy_class = MPS_ENERGY_WIFI,
			 .last_rcv_age_us = awake},
			{.srtt_us = 9333, .energy_class = MPS_ENERGY_LTE, .last_rcv_age_us = lte_age_us}},
		       {.unsent_bytes = unsent});
}

energy_params energy_with(std::uint32_t device_mw)
{
	energy_params params = energy_defaults;

	params.device_mw = device_mw;
	return params;
}

} // namespace

TEST_CASE("a small message does not wake a radio with a long tail, although it is quicker", "[energy]")
{
	for (std::uint64_t unsent : {0, 1400, 10000, 1000000})
		CHECK(Steered("energy").allowed(wifi_and_lte(0, asleep, unsent)) == first);
}

TEST_CASE("a radio that is awake is cheap enough to help where a sleeping one is not", "[energy]")
{
	const auto params = energy_with(5000);

	CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, asleep, 100000)) == first);
	CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, awake, 100000)) == (first | second));
}

TEST_CASE("a transfer that turns out long gets the second radio once that pays, and keeps it", "[energy]")
{
	const auto params = energy_with(5000);
	Steered policy("energy", &params);

	CHECK(policy.allowed(wifi_and_lte(0, asleep)) == first);
	CHECK(policy.allowed(wifi_and_lte(5000000, asleep)) == first);
	CHECK(policy.allowed(wifi_and_lte(20000000, asleep)) == (first | second));
	CHECK(policy.allowed(wifi_and_lte(20100000, awake)) == (first | second));
	// The next one is thought to be small again.
	CHECK(policy.allowed(wifi_and_lte(20200000, asleep, 0)) == first);
	CHECK(policy.allowed(wifi_and_lte(20210000, asleep)) == first);
}

TEST_CASE("without the device's own power the least power for each byte is all that counts", "[energy]")
{
	const auto params = energy_with(0);
	Steered policy("energy", &params);

	CHECK(policy.allowed(wifi_and_lte(0, awake)) == first);
	CHECK(policy.allowed(wifi_and_lte(1000000000, awake)) == first);
}

TEST_CASE("a path on mains costs nothing", "[energy]")
{
	CHECK(Steered("energy").allowed({{.energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake}, {}}) ==
	      second);
}

TEST_CASE("a radio is paid for once, however many subflows are on it", "[energy]")
{
	const Subflow wifi{.energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = awake, .ifindex = 5};
	const Subflow lte{.energy_class = MPS_ENERGY_LTE, .last_rcv_age_us = asleep, .ifindex = 6};

	// A second subflow only adds to the rate, unless the second one wakes a second radio.
	CHECK(Steered("energy").allowed({wifi, lte, wifi}, {.unsent_bytes = 100000}) == (first | third));
	// The radio is awake when the other subflow on it is.
	auto talking = lte;
	talking.last_rcv_age_us = awake;
	const auto params = energy_with(5000);
	CHECK(Steered("energy", &params).allowed({wifi, lte}, {.unsent_bytes = 100000}) == first);
	CHECK(Steered("energy", &params).allowed({wifi, lte, talking}, {.unsent_bytes = 100000}) ==
	      (first | second | third));
}

TEST_CASE("the user's own numbers decide", "[energy]")
{
	auto params = energy_with(0);
	params.wifi_up_mw = 5000;

	CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, asleep, 20000000)) == second);
	params.lte_tail_ms = 60000;
	params.lte_tail_mw = 100000;
	CHECK(Steered("energy", &params).allowed(wifi_and_lte(0, asleep, 20000000)) == first);
}

TEST_CASE("rates that change a little do not change the set", "[energy]")
{
	auto params = energy_with(0);
	auto after_swap = [&] {
		Steered policy("energy", &params);
		auto at = [&](std::uint32_t first_us, std::uint32_t second_us) {
			return policy.allowed({{.srtt_us = first_us,
						.energy_class = MPS_ENERGY_WIFI,
						.last_rcv_age_us = awake},
					       {.srtt_us = second_us,
						.energy_class = MPS_ENERGY_WIFI,
						.last_rcv_age_us = awake}},
					      {.unsent_bytes = 10000});
		};

		CHECK(at(20000, 21000) == first);
		return at(21000, 20000);
	};

	CHECK(after_swap() == first);
	params.margin_pct = 0;
	CHECK(after_swap() == second);
}

TEST_CASE("of a download the power of receiving counts, and the rate at which a path last brought something",
	  "[energy]")
{
	Steered policy("energy");
	// WiFi brings 1 MB/s: LTE takes less for each bit, but has to be woken first.
	auto at = [&](std::uint64_t now_ms, std::uint64_t received) {
		return policy.allowed(
			{{.bytes_acked = received, .energy_class = MPS_ENERGY_WIFI, .last_rcv_age_us = 1000},
			 {.bytes_acked = 0, .energy_class = MPS_ENERGY_LTE, .rate = 0}},
			{.now_us = now_ms * ms, .receives = true});
	};

	for (std::uint64_t now = 1000; now < 4000; now += 10)
		CHECK(at(now, now * 1000) == first);
}

TEST_CASE("a download that begins after a pause is expected to be short again", "[energy]")
{
	Steered policy("energy");
	// Nothing wakes LTE, and that what it takes for each bit is paid for by the time that it saves takes a long transfer.
	auto at = [&](std::uint64_t now_ms, std::uint64_t received) {
		return policy.allowed({{.srtt_us = 200000,
					.bytes_acked = received,
					.energy_class = MPS_ENERGY_NONE,
					.last_rcv_age_us = 1000,
					.rate = 100000},
				       {.bytes_acked = 0, .energy_class = MPS_ENERGY_LTE, .rate = 0}},
				      {.now_us = now_ms * ms, .receives = true});
	};
	std::uint32_t allowed = 0;

	for (std::uint64_t now = 1000; now < 61000; now += 10)
		allowed = at(now, now * 100);
	CHECK(allowed == (first | second));
	for (std::uint64_t now = 62000; now < 63000; now += 10)
		allowed = at(now, 6100000 + (now - 62000) * 100);
	CHECK(allowed == first);
}
