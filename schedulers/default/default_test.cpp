// SPDX-License-Identifier: MIT
#include "steered.hpp"

using namespace mps::test;

TEST_CASE("default asks for pass-through whatever the subflows are like", "[default]")
{
	Steered policy("default");

	for (mps_verdict v : {policy.verdict({{}, {}}), policy.verdict({{.usable = false}, {}}),
			      policy.verdict({{.troubled = true}, {.peer_backup = true}})}) {
		CHECK(v.flags == MPS_VERDICT_PASS);
		CHECK(v.allowed == (first | second));
	}
}
