// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// Windows of 14000 bytes that double up to 56000; the first path takes 20 ms.
std::uint32_t sttf_first(std::uint32_t slow_us, std::uint64_t unsent, std::uint32_t outstanding = 0)
{
	auto view =
		view_of({{.outstanding_bytes = outstanding}, {.srtt_us = slow_us, .last_rcv_age_us = 1000}},
			{.unsent_bytes = unsent});

	view.sf[0].ssthresh_segs = view.sf[1].ssthresh_segs = 40;
	return Steered("sttf").allowed(view);
}

} // namespace

TEST_CASE("sttf starts on the path with the least delay", "[sttf]")
{
	CHECK(sttf_first(21000, 0) == first);
	CHECK(sttf_first(19000, 0) == second);
	CHECK(sttf_first(20000, 0) == (first | second));
}

TEST_CASE("sttf opens a slow path once its burst is there before the rest", "[sttf]")
{
	// 64 KiB are three windows (14000, 28000, the rest), so two round trips and a half: 375 ms over a path of 150 ms.
	// 1,000,000 bytes over the quick one are 19 and a half: 390 ms.
	CHECK(sttf_first(150000, 60000) == first);
	CHECK(sttf_first(150000, 1000000) == (first | second));
	CHECK(sttf_first(160000, 1000000) == first);
}

TEST_CASE("sttf counts what is under way", "[sttf]")
{
	// 14000 bytes fit its window: half of 40 ms. Behind as many, they leave after a round trip of the quick one: 30 ms.
	CHECK(sttf_first(40000, 14000, 0) == first);
	CHECK(sttf_first(40000, 14000, 14000) == second);
}
