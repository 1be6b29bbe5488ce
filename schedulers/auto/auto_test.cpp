// SPDX-License-Identifier: MIT
#include "steered.hpp"

#include <algorithm>

using namespace mps::test;

namespace
{

// A connection whose second path is slower: 20 and 200 ms.
std::uint32_t auto_first_decision(std::uint64_t unsent, std::uint32_t slow_us = 200000,
				  std::uint64_t window = 1u << 30)
{
	return Steered("auto").allowed({{.fresh = true, .srtt_us = 20000},
					{.fresh = true, .srtt_us = slow_us, .min_rtt_us = slow_us}},
				       {.unsent_bytes = unsent, .window_bytes = window});
}

} // namespace

TEST_CASE("auto foresees rounds of a window that doubles, the bottleneck, and what is ahead", "[auto]")
{
	// 20 ms, 1000 bytes/ms, a window of 10000 bytes that may double up to 40000.
	const auto_model idle{.rtt_us = 20000,
			      .inverse = (1000u << 20) / 1000,
			      .rate = 500,
			      .soon = 1000,
			      .window = 10000,
			      .ssthresh = 40000};
	auto us = [](const auto_model &m, std::uint64_t bytes, auto_window window = AUTO_AS_IT_IS) {
		return auto_arrival_us(&m, bytes, window);
	};

	CHECK(us(idle, 5000) == 5000 + 10000);
	CHECK(us(idle, 15000) == 20000 + 5000 + 10000); // what does not fit waits for a round trip
	CHECK(us(idle, 10000 + 20000 + 5000) == 40000 + 5000 + 10000);
	CHECK(us(idle, 10000 + 20000 + 40000 + 1000) ==
	      40000 + 40000 + 1000 + 10000); // now the bottleneck limits
	CHECK(us(idle, 35000, AUTO_GROWN) == 35000 + 10000);

	auto busy = idle;
	busy.queue = 5000;
	CHECK(us(busy, 5000) == 10000 + 10000);
	busy.head_us = 4000; // of what is ahead, so much has passed
	CHECK(us(busy, 5000) == 6000 + 10000);
	busy.most = 9000; // and no more than that is trusted to it as yet
	CHECK(us(busy, 5000) == AUTO_NEVER_US);
}

TEST_CASE("auto reckons with the held back end of a second burst, and with a limit", "[auto]")
{
	const auto_model m{.rtt_us = 20000,
			   .inverse = (1000u << 20) / 1000,
			   .rate = 1000,
			   .soon = 1000,
			   .window = 1u << 30};
	const std::uint32_t one = 65536 + 10000;

	CHECK(auto_late_us(&m, 65536, 0, 0, AUTO_AS_IT_IS) == one);
	CHECK(auto_late_us(&m, 66000, 0, 0, AUTO_AS_IT_IS) == one + 20000);
	CHECK(auto_late_us(&m, 66000, 1, 0, AUTO_AS_IT_IS) == 66000 + 10000); // bulk has no end
	CHECK(auto_late_us(&m, 60000, 0, 500, AUTO_AS_IT_IS) == 60000 + 10000 + 60000);
	CHECK(auto_late_us(&m, 60000, 0, 2000, AUTO_AS_IT_IS) == 60000 + 10000);
}

TEST_CASE("a message goes where it arrives first, whichever subflow was the first", "[auto]")
{
	CHECK(auto_first_decision(1000) == first);
	CHECK(auto_first_decision(60000) == first);
	CHECK(Steered("auto").allowed(
		      {{.fresh = true, .srtt_us = 200000, .min_rtt_us = 200000}, {.fresh = true}},
		      {.unsent_bytes = 1000}) == second);
}

TEST_CASE("a slow path is opened once its burst is not the last to arrive", "[auto]")
{
	// Windows of 14000 bytes that do not grow: 140000 bytes take ten round trips of 20 ms.
	CHECK(auto_first_decision(140000, 600000) == first);
	CHECK(auto_first_decision(140000, 100000) == (first | second));
	CHECK(auto_first_decision(1000000, 600000) == (first | second));
}

TEST_CASE("a slow path stays closed if its burst would close the receive window", "[auto]")
{
	CHECK(auto_first_decision(1000000, 600000, 1u << 30) == (first | second));
	CHECK(auto_first_decision(1000000, 600000, 200000) == first);
}

TEST_CASE("a path is not closed for what the receive window does not take yet", "[auto]")
{
	Steered policy("auto");
	auto with_window = [&](std::uint64_t free, std::uint64_t unsent, bool fresh = false) {
		return policy.allowed(
			{{.fresh = fresh, .srtt_us = 10000, .cwnd_segs = 250, .outstanding_bytes = 350000},
			 {.fresh = fresh,
			  .srtt_us = 40000,
			  .min_rtt_us = 40000,
			  .cwnd_segs = 200,
			  .outstanding_bytes = 280000}},
			{.unsent_bytes = unsent, .window_bytes = free, .unacked_bytes = 2100000});
	};

	CHECK(with_window(1u << 30, 3600000, true) == (first | second));
	// 3.7 MB wait, but the kernel can hand out only what the window opens for, a burst at a time. It has arrived on the slower path
	// in 60 ms, when the quick one will have sent as much as the window holds; 1.5 MB would take 200 ms.
	CHECK(with_window(0, 3700000) == (first | second));
}

TEST_CASE("a path that is about as quick stays open between transfers, a slow one does not", "[auto]")
{
	CHECK(Steered("auto").allowed({{.fresh = true, .srtt_us = 20000},
				       {.fresh = true, .srtt_us = 21000}}) == (first | second));
	CHECK(auto_first_decision(0) == first);
	// Nothing tells yet whether it is slow.
	CHECK(Steered("auto").allowed({{.fresh = true}, {.fresh = true, .srtt_us = 0, .min_rtt_us = 0}}) ==
	      (first | second));
}

TEST_CASE("a path that was never used is judged by its handshake", "[auto]")
{
	CHECK(Steered("auto").allowed(
		      {{.fresh = true, .srtt_us = 50000}, {.fresh = true, .srtt_us = 0, .min_rtt_us = 10000}},
		      {.unsent_bytes = 1000}) == second);
}

TEST_CASE("a subflow that should have answered long ago is left out", "[auto]")
{
	Steered policy("auto");
	auto at = [&](std::uint64_t now_ms) {
		return policy.allowed({{.fresh = now_ms == 100, .outstanding_bytes = 1000},
				       {.fresh = now_ms == 100, .srtt_us = 90000, .min_rtt_us = 90000}},
				      {.now_us = now_ms * ms, .unsent_bytes = 1000, .self = 1});
	};

	CHECK(at(100) == first);
	CHECK(at(139) == first);
	CHECK(at(141) == second); // 1.5 round trips and 10 ms
}

TEST_CASE("a slow path whose window is full is judged by when it opens", "[auto]")
{
	Steered policy("auto");
	// 560 bytes a millisecond over the quick path, 80000 are on it and 60000 wait: 250 ms. The slow one's window of 56000 bytes is
	// nearly full: a round trip of 380 ms until the rest can leave, and half of one.
	auto at = [&](std::uint64_t since_ms) {
		mps_view view = view_of({{.fresh = since_ms == 0,
					  .srtt_us = 10000,
					  .min_rtt_us = 10000,
					  .cwnd_segs = 4,
					  .outstanding_bytes = 80000},
					 {.fresh = since_ms == 0,
					  .srtt_us = 380000,
					  .min_rtt_us = 380000,
					  .cwnd_segs = 40,
					  .outstanding_bytes = 54000}},
					{.now_us = (1000 + since_ms) * ms, .unsent_bytes = 60000});
		view.sf[1].ssthresh_segs = 1000;
		return policy.allowed(view);
	};

	CHECK(at(0) == first);
	CHECK(at(300) == first);
	CHECK((at(370) & second) == second);
}

TEST_CASE("auto says why a subflow is open or not", "[auto]")
{
	auto why = [](std::uint32_t slow_us, Connection connection, bool peer_backup = false) {
		mps_state state{};

		return core_named("auto")(view_of({{.fresh = true},
						   {.fresh = true,
						    .peer_backup = peer_backup,
						    .srtt_us = slow_us,
						    .min_rtt_us = slow_us}},
						  connection),
					  state);
	};
	// 14000 bytes are under way for half a round trip: 10 and 50 ms.
	const auto late = why(100000, {.unsent_bytes = 14000});
	const auto helps = why(100000, {.unsent_bytes = 1000000, .window_bytes = 1u << 30});
	const auto blocks = why(600000, {.unsent_bytes = 1000000, .window_bytes = 200000});

	CHECK(late.reasoned == (first | second));
	CHECK(late.reason[0].code == MPS_REASON_EARLIEST);
	CHECK(late.reason[0].number / 1000 == 10);
	CHECK(late.reason[1].code == MPS_REASON_LATER);
	CHECK(late.reason[1].number / 1000 == 40);
	CHECK(late.reason[1].other == 1);
	CHECK(helps.reason[1].code == MPS_REASON_HELPS);
	CHECK(helps.reason[1].flags == 0);
	CHECK(blocks.reason[1].code == MPS_REASON_WINDOW);
	CHECK(blocks.reason[1].number > 0);
	CHECK(why(100000, {.unsent_bytes = 14000}, true).reason[1].code == MPS_REASON_PEER_BACKUP);
}

TEST_CASE("a path in trouble is left out", "[auto]")
{
	CHECK(Steered("auto").allowed({{.troubled = true}, {.srtt_us = 200000}}, {.unsent_bytes = 1000}) ==
	      second);
}

namespace
{

/*
 * An upload over a path of 10 Mbit/s and 4 ms with a full send buffer and the queue that makes, beside a second path of 100 ms that has carried nothing
 * and whose handshake waited for ARP: 200 ms. The writer is woken when a third of the buffer is free and comes `late_ms` after that.
 * Returns at what part of the decisions behind the first 2 MB the second path was open.
 */
double upload_with_second_open(std::uint64_t buffer, std::uint32_t segs_an_ack, double late_ms)
{
	constexpr double bytes_a_ms = 1190;
	constexpr std::uint64_t whole = 16'000'000;
	Steered policy("auto");
	std::uint64_t acked = 0, on_it = 0;
	double now_ms = 2000, wake_ms = 0;
	int decisions = 0, open = 0;
	auto opened = [&](bool fresh) {
		const auto in_flight = std::min<std::uint64_t>(on_it, 120 * 1400);
		Subflow quick{.fresh = fresh,
			      .srtt_us = static_cast<std::uint32_t>(4000 + 1000 * static_cast<double>(on_it) /
										   bytes_a_ms),
			      .min_rtt_us = 4000,
			      .cwnd_segs = 120,
			      .bytes_acked = acked,
			      .outstanding_bytes = static_cast<std::uint32_t>(on_it),
			      .notsent_bytes = static_cast<std::uint32_t>(on_it - in_flight)};
		Subflow slow{.fresh = fresh, .srtt_us = 200000, .rttvar_us = 100000, .min_rtt_us = 200000};
		auto view = view_of({quick, slow}, {.now_us = static_cast<std::uint64_t>(now_ms * 1000),
						    .window_bytes = 300000,
						    .unacked_bytes = on_it});
		view.sf[0].ssthresh_segs = 70;
		view.sf[1].ssthresh_segs = 0x7fffffff;
		return (policy.allowed(view) & second) != 0;
	};

	opened(true);
	for (on_it = buffer; acked < whole;) {
		const auto got = std::min<std::uint64_t>(on_it, std::uint64_t{1400} * segs_an_ack);
		acked += got;
		on_it -= got;
		now_ms += static_cast<double>(got + !got) / bytes_a_ms;
		const bool now_open = opened(false);
		if (acked > 2'000'000) {
			++decisions;
			open += now_open;
		}
		if (!wake_ms && on_it <= buffer * 2 / 3)
			wake_ms = now_ms + late_ms;
		if (wake_ms && now_ms >= wake_ms) {
			on_it = buffer;
			wake_ms = 0;
		}
	}
	return static_cast<double>(open) / decisions;
}

} // namespace

TEST_CASE("a long upload tries a second path, however small its send buffer and late its writer are",
	  "[auto]")
{
	for (std::uint64_t buffer : {87040u, 174080u, 400000u}) {
		for (std::uint32_t segs : {2u, 8u, 20u}) {
			for (double late_ms : {0.0, 10.0}) {
				INFO("buffer " << buffer << ", " << segs << " segments an ACK, writer "
					       << late_ms << " ms late");
				CHECK(upload_with_second_open(buffer, segs, late_ms) > 0.8);
			}
		}
	}
}

namespace
{

constexpr std::uint32_t far_bytes_a_ms = 2500, far_ms = 400;

// A long upload over 20 Mbit/s and a second path as quick, of 400 ms instead of 8. Each round trip in which it was used makes its window twice as
// large, to `most_segs`, and, the first `growths` times, the receive window, `room` octets at first, half as large again; the send buffer is four times that.
// Until a burst has arrived over it, that is what can be sent over the other one, as everything behind the burst waits for it.
struct UploadWithFarPath {
	std::uint32_t growths;
	std::uint64_t room = 300'000;
	std::uint32_t most_segs = 800;

	std::uint64_t acked[2]{}, behind = 0;
	std::uint32_t near = 200'000, far = 0, far_segs = 10, far_since_ms = 0;
	bool heard = false;

	// Another millisecond. Does the far path answer?
	bool pass(std::uint32_t at_ms, bool allowed_far)
	{
		const bool answers = far && at_ms - far_since_ms >= far_ms;

		if (answers) {
			arrive();
		} else if (allowed_far && !far) {
			far = std::min<std::uint32_t>(far_segs * 1400, 65536);
			far_since_ms = at_ms;
			behind = 0;
		}
		acked[0] += std::min(near, far_bytes_a_ms);
		near -= std::min(near, far_bytes_a_ms);
		if (near <= room / 2) {
			auto more = room * 3 / 4 - near;

			if (far)
				more = std::min(more, room - under_way());
			behind += more;
			near += static_cast<std::uint32_t>(more);
		}
		return answers;
	}

	mps_view view(std::uint32_t at_ms, bool far_answers) const
	{
		auto view = view_of({{.fresh = at_ms == 0,
				      .srtt_us = 8000 + near * 1000 / far_bytes_a_ms,
				      .min_rtt_us = 8000,
				      .cwnd_segs = 200,
				      .bytes_acked = acked[0],
				      .outstanding_bytes = near,
				      .notsent_bytes = near > 280'000 ? near - 280'000 : 0},
				     {.fresh = at_ms == 0,
				      .srtt_us = far_ms * 1000,
				      .min_rtt_us = far_ms * 1000,
				      .cwnd_segs = far_segs,
				      .bytes_acked = acked[1],
				      .outstanding_bytes = far}},
				    {.now_us = (1000 + at_ms) * ms,
				     .unsent_bytes = 4 * room - under_way(),
				     .self = far_answers ? 1u : 0u,
				     .window_bytes = room - under_way(),
				     .unacked_bytes = under_way()});
		view.sf[0].ssthresh_segs = 100;
		view.sf[1].ssthresh_segs = 0x7fffffff;
		return view;
	}

      private:
	std::uint64_t under_way() const
	{
		return far ? std::min(room, far + behind) : near;
	}

	void arrive()
	{
		const auto got = std::min(far, far_bytes_a_ms);

		acked[1] += got;
		far -= got;
		if (far)
			return;
		far_segs = std::min(far_segs * 2, most_segs);
		heard = true;
		if (growths) {
			room = std::min<std::uint64_t>(room * 3 / 2, 6'000'000);
			--growths;
		}
	}
};

struct FarPath {
	double open;            // part of the decisions of the second half with which it was open
	std::uint32_t tried_ms; // how long it was open in a row once it had been heard of
};

FarPath go_on(UploadWithFarPath upload)
{
	constexpr std::uint32_t rounds_ms = 40000;
	Steered policy("auto");
	std::uint32_t decisions = 0, open = 0, row_ms = 0, tried_ms = 0;
	bool allowed_far = false;

	for (std::uint32_t at_ms = 0; at_ms < rounds_ms; ++at_ms) {
		const bool far_answers = upload.pass(at_ms, allowed_far);

		allowed_far = (policy.allowed(upload.view(at_ms, far_answers)) & second) != 0;
		row_ms = allowed_far && upload.heard ? row_ms + 1 : 0;
		tried_ms = std::max(tried_ms, row_ms);
		decisions += at_ms > rounds_ms / 2;
		open += at_ms > rounds_ms / 2 && allowed_far;
	}
	return {static_cast<double>(open) / decisions, tried_ms};
}

} // namespace

TEST_CASE("a long upload goes on trying a far path where the buffers grow by it, and not where they do not",
	  "[auto]")
{
	CHECK(go_on({.growths = ~0u}).open > 0.5);
	CHECK(go_on({.growths = 0}).open < 0.1);
}

TEST_CASE("a far path that was thought to block, and is seen not to, stays open", "[auto]")
{
	// 400 ms of the near path are a megabyte.
	CHECK(go_on({.growths = 0, .room = 1'100'000, .most_segs = 80}).open > 0.5);
}

TEST_CASE("an application that refills the send buffer is thought to have as much more to send", "[auto]")
{
	Steered policy("auto");
	// 200 kB are under way at each look, 2 MB a second are acknowledged; nothing waits above the subflows.
	auto at = [&](std::uint64_t round, std::uint64_t written) {
		const std::uint64_t acked = round * 10000;

		return policy.allowed({{.fresh = round == 0,
					.cwnd_segs = 100,
					.bytes_acked = acked,
					.outstanding_bytes = static_cast<std::uint32_t>(written - acked)},
				       {.fresh = round == 0, .srtt_us = 100000, .min_rtt_us = 100000}},
				      {.now_us = (1000 + 5 * round) * ms, .unacked_bytes = written - acked});
	};

	CHECK(at(0, 200000) == first);
	CHECK(at(1, 200000) == first);
	for (std::uint64_t round = 2; round < 200; ++round)
		at(round, 200000 + 10000 * round);
	CHECK((at(200, 2200000) & second) == second);
	// It has stopped: half of what was under way is acknowledged and nothing came after.
	for (std::uint64_t round = 201; round < 211; ++round)
		at(round, 2200000);
	CHECK((at(219, 2200000) & first) == first);
}

TEST_CASE("a far path that is tried in a long upload has two round trips to show what it can carry", "[auto]")
{
	const auto tried_ms = go_on({.growths = 1}).tried_ms;

	CHECK(tried_ms >= 700);
	CHECK(tried_ms < 1000);
}

namespace
{

// Messages over paths of 20 ms that carry 2400 and 600 bytes a millisecond, acknowledged without a pause. The kernel divides by
// pacing rates, 1.2 windows a round trip.
class Messages
{
      public:
	Messages(std::uint64_t first_pace, std::uint64_t second_pace) : pace_{first_pace, second_pace}
	{
	}

	// The verdict with everything acknowledged: what the next message will find.
	mps_verdict message(std::uint32_t on_first, std::uint32_t on_second)
	{
		left_[0] = on_first;
		left_[1] = on_second;
		mps_verdict verdict = ack(0, 0);
		while (left_[0] || left_[1]) {
			now_ += 5 * ms;
			ack(0, 12000);
			verdict = ack(1, 3000);
		}
		return verdict;
	}

      private:
	mps_verdict ack(std::uint32_t self, std::uint32_t bytes)
	{
		const std::uint32_t got = std::min(bytes, left_[self]);
		left_[self] -= got;
		acked_[self] += got;
		auto subflow = [&](std::uint32_t i) {
			return Subflow{.fresh = now_ == 1000 * ms,
				       .cwnd_segs = static_cast<std::uint32_t>(pace_[i] * 20 / 1200 / 1400),
				       .bytes_acked = acked_[i],
				       .outstanding_bytes = left_[i]};
		};
		mps_view view = view_of({subflow(0), subflow(1)}, {.now_us = now_, .self = self});
		for (std::uint32_t i = 0; i < 2; ++i) {
			view.sf[i].pacing_rate = pace_[i];
			view.sf[i].ssthresh_segs = 10;
		}
		const mps_verdict verdict = core_(view, state_);
		now_ += 1;
		return verdict;
	}

	const Core &core_ = core_named("auto");
	mps_state state_{};
	std::uint64_t now_ = 1000 * ms;
	std::uint64_t pace_[2];
	std::uint64_t acked_[2]{};
	std::uint32_t left_[2]{};
};

} // namespace

TEST_CASE("a subflow that would get more of a message than it can carry is paced", "[auto][levers]")
{
	// As if both carried as much: half of a megabyte on the second would take 0.8 s, a fifth is right.
	Messages messages(5'000'000, 5'000'000);
	mps_verdict verdict{};
	for (int i = 0; i < 3; ++i)
		verdict = messages.message(800'000, 200'000);

	CHECK(verdict.allowed == (first | second));
	REQUIRE((verdict.flags & MPS_VERDICT_LEVERS));
	CHECK(verdict.lever[0].pace_bytes_s == 0);
	// In the ratio of two or three bursts to the rest, of 1.2 times 2400 bytes a millisecond.
	CHECK(verdict.lever[1].pace_bytes_s > 350'000);
	CHECK(verdict.lever[1].pace_bytes_s < 800'000);
	CHECK(verdict.lever[1].lowat_bytes == 0);
}

TEST_CASE("a subflow that gets what it can carry is not paced", "[auto][levers]")
{
	Messages messages(2'880'000, 720'000);

	for (int i = 0; i < 3; ++i)
		CHECK_FALSE((messages.message(800'000, 200'000).flags & MPS_VERDICT_LEVERS));
}

TEST_CASE("auto has answers come by the quick path, and by the slow one as well when they last", "[auto]")
{
	auto_policy_state st{};
	std::uint64_t now_us = 1000000, received = 0;
	// 10 and 200 ms; data arrives over the first until `until_us`.
	auto allowed_after = [&](std::uint64_t lasting_us) {
		mps_verdict out{};

		for (const std::uint64_t end_us = now_us + lasting_us; now_us < end_us; now_us += 5000) {
			received += 10000;
			auto v = view_of({{.srtt_us = 10000, .bytes_acked = received}, {.srtt_us = 200000}},
					 {.now_us = now_us});
			v.direction = MPS_DIRECTION_RX;
			auto_policy_decide(&v, &out, &auto_policy_defaults, &st);
		}
		return out.allowed;
	};

	CHECK(allowed_after(20000) == 1);
	CHECK(allowed_after(400000) == 1);
	CHECK(allowed_after(400000) == 3);
	now_us += 100000; // that was all of it; the next one
	CHECK(allowed_after(20000) == 1);
}
