// SPDX-License-Identifier: MIT
#include "steered.hpp"

#include <numeric>

using namespace mps::test;

namespace
{

// Plays the kernel: in each round one of the allowed subflows, any of them, gets a burst of 64 KiB. What each path got of all;
// `paths[i]` is the path of subflow i.
std::vector<double> shares(const std::vector<std::uint32_t> &weights, const std::vector<std::uint32_t> &paths,
			   std::uint32_t seed, std::uint32_t lead_bytes = 65536)
{
	weighted_params params{.reserved = 0, .lead_bytes = lead_bytes, .lowat_bytes = 0};
	std::vector<double> given(weights.size());
	const Core &core = core_named("weighted");
	const auto subflows = static_cast<std::uint32_t>(paths.size());
	Random random(seed);
	mps_state state{};
	mps_view view{};
	constexpr int rounds = 20000;

	for (std::uint32_t i = 0; i < subflows; i++) {
		view.present |= 1u << i;
		view.sf[i].flags = MPS_SF_PRESENT | MPS_SF_USABLE | MPS_SF_STEERABLE | MPS_SF_FRESH;
		view.sf[i].ifindex = 10 + paths[i];
		view.sf[i].weight = weights[paths[i]];
		view.sf[i].bytes_acked = random() % 10000000; // from before
	}
	for (int round = 0; round < rounds; round++) {
		std::uint32_t allowed = core(view, state, &params).allowed, pick = random() % subflows;

		for (std::size_t i = 0; i < subflows; i++)
			view.sf[i].flags &= ~static_cast<std::uint32_t>(MPS_SF_FRESH);
		while (!(allowed >> pick & 1))
			pick = (pick + 1) % subflows;
		view.sf[pick].bytes_acked += 65536;
		given[paths[pick]] += 1.0 / rounds;
	}
	return given;
}

} // namespace

TEST_CASE("bytes follow the weights, whichever allowed subflow the kernel takes", "[weighted]")
{
	for (const std::vector<std::uint32_t> &weights : {std::vector<std::uint32_t>{1, 1},
							  {3, 1},
							  {1, 9},
							  {1, 1, 2},
							  {100, 250, 650},
							  {1, 1000},
							  {10000, 10000}}) {
		for (std::uint32_t lead : {1024u, 65536u, 1048576u}) {
			std::vector<std::uint32_t> paths(weights.size());
			std::iota(paths.begin(), paths.end(), 0u);
			auto got = shares(weights, paths, 42, lead);
			double sum = std::accumulate(weights.begin(), weights.end(), 0.0);

			for (std::size_t i = 0; i < weights.size(); i++) {
				INFO("weight " << weights[i] << " of " << sum << ", lead " << lead);
				CHECK(got[i] == Catch::Approx(weights[i] / sum).margin(0.005));
			}
		}
	}
}

TEST_CASE("bytes follow the weights of the paths, however many subflows each has", "[weighted]")
{
	for (const std::vector<std::uint32_t> &paths : {std::vector<std::uint32_t>{0, 0, 0, 1},
							{1, 0, 1, 1},
							{0, 1, 0, 1},
							{0, 0, 0, 0, 0, 1, 1},
							{1, 0, 0, 0, 0, 0, 0, 0}}) {
		for (const std::vector<std::uint32_t> &weights :
		     {std::vector<std::uint32_t>{1, 1}, {1, 3}, {3, 1}, {9, 1}}) {
			auto got = shares(weights, paths, 7);

			INFO("weights " << weights[0] << ":" << weights[1] << ", " << paths.size()
					<< " subflows");
			CHECK(got[0] ==
			      Catch::Approx(1.0 * weights[0] / (weights[0] + weights[1])).margin(0.005));
		}
	}
}

namespace
{

const weighted_params lead_of_64k{.reserved = 0, .lead_bytes = 65536, .lowat_bytes = 0};

} // namespace

TEST_CASE("a weight of 0 is taken as 1", "[weighted]")
{
	auto got = shares({0, 3}, {0, 1}, 1);

	CHECK(got[0] == Catch::Approx(0.25).margin(0.005));
}

TEST_CASE("the subflow that is furthest behind is allowed, the one ahead is parked", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 60000}, {}}) == (first | second)); // within lead_bytes
	CHECK(policy.allowed({{.bytes_acked = 70000}, {}}) == second);
	CHECK(policy.allowed({{.bytes_acked = 70000}, {.outstanding_bytes = 5000}}) == (first | second));
}

TEST_CASE("what waited when sharing began is forgotten once it has had time to leave", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);
	const std::uint32_t much = 500'000;

	// Two equal weights; the first subflow was filled before.
	CHECK(policy.allowed(
		      {{.fresh = true, .outstanding_bytes = much, .notsent_bytes = much}, {.fresh = true}},
		      {.now_us = 1'000'000}) == second);
	CHECK(policy.allowed({{.bytes_acked = much}, {.bytes_acked = 200'000}}, {.now_us = 1'099'999}) ==
	      second);
	CHECK(policy.allowed({{.bytes_acked = much}, {.bytes_acked = 200'000}}, {.now_us = 1'100'000}) ==
	      (first | second));
	// Once: from here on every byte counts.
	CHECK(policy.allowed({{.bytes_acked = much + 70'000}, {.bytes_acked = 200'000}},
			     {.now_us = 1'500'000}) == second);
}

TEST_CASE("an overshoot of one burst is not taken for something that waited", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true, .outstanding_bytes = 65'536, .notsent_bytes = 65'536},
			      {.fresh = true}},
			     {.now_us = 1'000'000}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 70'000}, {}}, {.now_us = 1'900'000}) == second);
}

TEST_CASE("weighted wishes the same lowat for every subflow, or none", "[weighted][levers]")
{
	weighted_params params{.reserved = 0, .lead_bytes = 65536, .lowat_bytes = 20000};
	const mps_verdict some = Steered("weighted", &params).verdict({{}, {}});
	CHECK(some.flags == MPS_VERDICT_LEVERS);
	for (const mps_lever &lever : std::span(some.lever).first<MPS_MAX_SUBFLOWS>()) {
		CHECK(lever.lowat_bytes == 20000);
		CHECK(lever.pace_bytes_s == 0);
	}
	params.lowat_bytes = 0;
	CHECK(Steered("weighted", &params).verdict({{}, {}}).flags == 0);
}

TEST_CASE("a newcomer shares from its arrival on and owes nothing for what was before", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 100000000}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 100000000}, {.fresh = true}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 100060000}, {}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 100070000}, {}}) == second);
}

TEST_CASE("after an outage a path gets its share again, not what it missed", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 50000}, {.troubled = true}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 90000000}, {.troubled = true}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 90000000}, {}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 90060000}, {}}) == (first | second));
}

TEST_CASE("new weights count from now on", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true, .weight = 1}, {.fresh = true, .weight = 1}}) ==
	      (first | second));
	CHECK(policy.allowed({{.weight = 1, .bytes_acked = 5000000},
			      {.weight = 1, .bytes_acked = 5000000}}) == (first | second));
	CHECK(policy.allowed({{.weight = 9, .bytes_acked = 5000000},
			      {.weight = 1, .bytes_acked = 5000000}}) == (first | second));
	CHECK(policy.allowed({{.weight = 9, .bytes_acked = 5000000},
			      {.weight = 1, .bytes_acked = 5100000}}) == first);
	CHECK(policy.allowed({{.weight = 9, .bytes_acked = 5900000},
			      {.weight = 1, .bytes_acked = 5100000}}) == (first | second));
}

TEST_CASE("what was under way when the policy took over counts, what was delivered before does not",
	  "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true, .bytes_acked = 9000000, .outstanding_bytes = 100000},
			      {.fresh = true, .bytes_acked = 4000000}}) == second);
}

TEST_CASE("a count of bytes that goes back for a moment parks nobody for ever", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true, .bytes_acked = 5000}, {.fresh = true, .bytes_acked = 5000}}) ==
	      (first | second));
	CHECK(policy.allowed({{.bytes_acked = 4999}, {.bytes_acked = 5000}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 4999}, {.bytes_acked = 4999}}) == (first | second));
}

TEST_CASE("all subflows of a path are parked and allowed together", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true, .ifindex = 5},
			      {.fresh = true, .ifindex = 5},
			      {.fresh = true, .ifindex = 6}}) == (first | second | third));
	CHECK(policy.allowed({{.bytes_acked = 40000, .ifindex = 5},
			      {.bytes_acked = 40000, .ifindex = 5},
			      {.ifindex = 6}}) == third);
	CHECK(policy.allowed({{.bytes_acked = 40000, .ifindex = 5},
			      {.bytes_acked = 40000, .ifindex = 5},
			      {.bytes_acked = 150000, .ifindex = 6}}) == (first | second));
}

TEST_CASE("a subflow that joins a path takes over its account, one that goes leaves it behind", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true, .ifindex = 5}, {.fresh = true, .ifindex = 6}}) ==
	      (first | second));
	CHECK(policy.allowed({{.bytes_acked = 100000, .ifindex = 5}, {.ifindex = 6}}) == second);
	CHECK(policy.allowed({{.bytes_acked = 100000, .ifindex = 5},
			      {.ifindex = 6},
			      {.fresh = true, .ifindex = 5}}) == second);
	CHECK(policy.allowed({{.usable = false, .ifindex = 5}, {.ifindex = 6}, {.ifindex = 5}}) == second);
	CHECK(policy.allowed({{.usable = false, .ifindex = 5},
			      {.bytes_acked = 50000, .ifindex = 6},
			      {.ifindex = 5}}) == (second | third));
}

TEST_CASE("what a path carried while its interface was not attached is not made up for", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 30000}, {.bytes_acked = 30000}}) == (first | second));
	// Detached: nobody holds it back, and the other one need not wait for it either.
	CHECK((policy.allowed({{.bytes_acked = 60000}, {.bytes_acked = 9000000, .steerable = false}}) &
	       first) == first);
	CHECK((policy.allowed({{.bytes_acked = 8000000}, {.bytes_acked = 9000000, .steerable = false}}) &
	       first) == first);
	CHECK((policy.allowed({{.bytes_acked = 8000000}, {.bytes_acked = 30000000, .steerable = false}}) &
	       first) == first);
	// Attached again: from now on every byte counts.
	CHECK(policy.allowed({{.bytes_acked = 8100000}, {.bytes_acked = 30100000}}) == (first | second));
	CHECK(policy.allowed({{.bytes_acked = 8100000}, {.bytes_acked = 30170000}}) == first);
	CHECK(policy.allowed({{.bytes_acked = 8200000}, {.bytes_acked = 30170000}}) == (first | second));
}

TEST_CASE("gigabytes that the only path carried meanwhile are nobody's debt", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true}, {.fresh = true}}) == (first | second));
	// One subflow left: nothing is decided until the second is back, as a new one.
	for (std::uint64_t carried : {3'000'000'000ull, 4'290'000'000ull, 7'000'000'000ull}) {
		CHECK(policy.allowed({{.bytes_acked = carried}, {.fresh = true}}) == (first | second));
		CHECK(policy.allowed({{.bytes_acked = carried + 70000}, {}}) == second);
	}
}

TEST_CASE("dead paths take no part in the shares", "[weighted]")
{
	Steered policy("weighted", &lead_of_64k);

	CHECK(policy.allowed({{.fresh = true}, {.fresh = true}, {.usable = false, .fresh = true}}) ==
	      (first | second));
	CHECK(policy.allowed({{.bytes_acked = 9000000}, {.bytes_acked = 9000000}, {.usable = false}}) ==
	      (first | second));
}
