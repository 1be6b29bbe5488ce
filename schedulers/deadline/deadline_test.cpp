// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

namespace
{

// A cheap path of 1 MB/s by its window, and a costly one; deadline 4 s, of which 3.6 are aimed at.
class Due
{
      public:
	explicit Due(std::uint32_t message_bytes = 0)
	    : params_{.reserved = 0,
		      .deadline_ms = 4000,
		      .message_bytes = message_bytes,
		      .alpha_pct = 90,
		      .margin_pct = 10}
	{
	}

	std::uint32_t at(std::uint64_t now_ms, std::uint64_t unsent, std::uint64_t acked = 0)
	{
		return policy_.allowed({{.srtt_us = 14000, .bytes_acked = acked, .cost = 1}, {.cost = 10}},
				       {.now_us = now_ms * ms, .unsent_bytes = unsent});
	}

      private:
	deadline_params params_;
	Steered policy_{"deadline", &params_};
};

} // namespace

TEST_CASE("the costly path stays off while the cheap one is in time", "[deadline]")
{
	CHECK(Due().at(1000, 3580000) == first);
	CHECK(Due().at(1000, 3600000) == (first | second));
}

TEST_CASE("time that passes without progress brings the costly path in", "[deadline]")
{
	Due message;

	CHECK(message.at(1000, 3000000) == first);
	CHECK(message.at(1400, 3000000) == (first | second));
}

TEST_CASE("the measured rate counts, not the window", "[deadline]")
{
	Due message;
	std::uint64_t acked = 0;
	std::uint32_t last = 0;

	CHECK(message.at(1000, 1500000) == first);
	// A quarter of what the window promises.
	for (std::uint64_t now = 1050; now < 1400; now += 50) {
		last = message.at(now, 1500000 - acked, acked);
		acked += 12500;
	}
	CHECK(last == (first | second));
}

TEST_CASE("the costly path goes when the cheap one is in time by the margin", "[deadline]")
{
	Due message;

	CHECK(message.at(1000, 4000000) == (first | second));
	CHECK(message.at(1001, 3300000) == (first | second));
	CHECK(message.at(1002, 3200000) == first);
}

TEST_CASE("late is late: all paths until the message is through", "[deadline]")
{
	Due message;

	CHECK(message.at(1000, 1000) == first);
	CHECK(message.at(4600, 1000) == (first | second));
	CHECK(message.at(4700, 0) == first);
	CHECK(message.at(9000, 1000) == first); // another message
}

TEST_CASE("a size that is known counts from the first byte on", "[deadline]")
{
	Due message(5000000);

	CHECK(message.at(1000, 100000) == (first | second));
	CHECK(message.at(1010, 100000, 3000000) == first);
}

TEST_CASE("paths of one cost are all cheap", "[deadline]")
{
	CHECK(Steered("deadline").allowed({{}, {}, {.cost = 1}}, {.unsent_bytes = 1}) == (first | second));
	CHECK(Steered("deadline").allowed({{.troubled = true}, {.cost = 5}}, {.unsent_bytes = 1}) == second);
}

namespace
{

// What the peer sends by the cheap path, 1 MB/s, looked at every 10 ms.
class Answers
{
      public:
	explicit Answers(deadline_params params) : params_(params)
	{
	}

	// How long the dear path was open while so much came.
	std::uint64_t receive(std::uint64_t bytes)
	{
		std::uint64_t open_ms = 0;

		for (const std::uint64_t end = received_ + bytes; received_ < end; now_ms_ += 10) {
			received_ += 10000;
			open_ms += look() == (first | second) ? 10 : 0;
		}
		return open_ms;
	}
	void pause(std::uint64_t for_ms)
	{
		now_ms_ += for_ms;
		look();
	}

      private:
	std::uint32_t look()
	{
		return policy_.allowed({{.bytes_acked = received_}, {.cost = 10}},
				       {.now_us = now_ms_ * ms, .receives = true});
	}
	deadline_params params_;
	Steered policy_{"deadline", &params_};
	std::uint64_t now_ms_ = 1000, received_ = 0;
};

deadline_params within_ms(std::uint32_t deadline, std::uint32_t message = 0)
{
	deadline_params params = deadline_defaults;

	params.deadline_ms = deadline;
	params.message_bytes = message;
	return params;
}

} // namespace

TEST_CASE("answers that the cheap path brings in time come by it alone, however many", "[deadline]")
{
	Answers answers(within_ms(2000));

	for (int i = 0; i < 20; i++) {
		CHECK(answers.receive(500000) == 0);
		answers.pause(300);
	}
}

TEST_CASE("an answer as large as the one before has the dear path from the start if it would be late",
	  "[deadline]")
{
	Answers answers(within_ms(2000));

	// Nobody knows how large the first one is: half of it has come when it is late.
	CHECK(answers.receive(4000000) < 3300);
	answers.pause(300);
	CHECK(answers.receive(4000000) > 3500);
}

TEST_CASE("the size of answers that is known counts at once", "[deadline]")
{
	Answers large(within_ms(2000, 4000000)), small(within_ms(2000, 500000));

	CHECK(large.receive(1000000) > 800);
	CHECK(small.receive(400000) == 0);
}

TEST_CASE("what the application says of its messages goes before the parameters", "[deadline]")
{
	const deadline_params params{
		.reserved = 0, .deadline_ms = 4000, .message_bytes = 0, .alpha_pct = 90, .margin_pct = 10};
	Steered quiet("deadline", &params), hurried("deadline", &params), large("deadline", &params);
	mps_view view = view_of({{.srtt_us = 14000, .cost = 1}, {.cost = 10}}, {.unsent_bytes = 1000000});

	CHECK(quiet.allowed(view) == first);
	view.message.deadline_us = 1000000; // 0.9 s for 1 MB at 1 MB/s
	CHECK(hurried.allowed(view) == (first | second));
	view.message.deadline_us = 2000000;
	CHECK(Steered("deadline", &params).allowed(view) == first);
	view.message.bytes = 2000000; // of which half is not written yet
	CHECK(large.allowed(view) == (first | second));
}
