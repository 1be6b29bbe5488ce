// SPDX-License-Identifier: MIT
//
// What haproxy says of its sessions.
#include "catch.hpp"
#include "proxy/clients.hpp"

using mps::proxy::Session, mps::proxy::sessions_of;

namespace {

// haproxy 2.6.12, "show sess all": one to a server; one that has no server yet; one of another proxy, and the one that asks.
constexpr std::string_view answer =
    R"(0x55a5d044beb0: [29/Nov/2026:22:42:33.025374] id=7 proto=tcpv4 source=192.0.2.5:34892
  flags=0x4a, conn_retries=0, conn_exp=<NEVER> conn_et=0x000 srv_conn=0x55a5d038cea0, pend_pos=(nil) waiting=0 epoch=0
  frontend=near (id=2 mode=tcp), listener=? (id=1) addr=198.51.100.1:443
  backend=near (id=2 mode=tcp) addr=198.51.100.17:56530
  server=origin (id=1) addr=198.51.100.1:443
  task=0x55a5d055cda0 (state=0x00 nice=0 calls=2 rate=2 exp=2m59s tmask=0x1 age=?)
  scf=0x55a5d0514d60 flags=0x00000000 state=EST endp=CONN,0x55a5d055ccb0,0x028c0001 sub=1
      co0=0x55a5d055ca40 ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=LISTENER:0x55a5d038cc00
      flags=0x00000300 fd=12 fd.state=21 updt=0 fd.tmask=0x1
  scb=0x55a5d04b1500 flags=0x00000001 state=EST endp=CONN,0x55a5d055d130,0x028c0001 sub=1
      co1=0x55a5d055cf10 ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=SERVER:0x55a5d038cea0
      flags=0x10000300 fd=13 fd.state=10421 updt=0 fd.tmask=0x1
  req=0x55a5d044bed0 (f=0x808000 an=0x0 pipe=0 tofwd=-1 total=0)
      an_exp=<NEVER> rex=23d23h wex=<NEVER>
      buf=0x55a5d044bed8 data=(nil) o=0 p=0 i=0 size=0
0x55a5d044bf00: [29/Nov/2026:22:42:33.125374] id=8 proto=tcpv6 source=2001:db8::5:34893
  frontend=near (id=2 mode=tcp), listener=? (id=2) addr=2001:db8::1:443
  backend=near (id=2 mode=tcp)
      co0=0x55a5d055ca41 ctrl=tcpv6 xprt=RAW mux=PASS data=STRM target=LISTENER:0x55a5d038cc00
      flags=0x00000300 fd=14 fd.state=21 updt=0 fd.tmask=0x1
0x55a5d044bf80: [29/Nov/2026:22:42:33.125374] id=9 proto=tcpv4 source=127.0.0.1:34894
  frontend=nearby (id=2 mode=tcp), listener=? (id=2) addr=127.0.0.1:443
      co0=0x55a5d055ca42 ctrl=tcpv4 xprt=RAW mux=PASS data=STRM target=LISTENER:0x55a5d038cc00
      flags=0x00000300 fd=15 fd.state=21 updt=0 fd.tmask=0x1
0x55a5d055d3b0: [29/Nov/2026:22:42:33.233413] id=10 proto=sockpair source=unix:1
  frontend=GLOBAL (id=0 mode=tcp), listener=? (id=1)
      co0=0x7f6130026420 ctrl=sockpair xprt=RAW mux=PASS data=STRM target=LISTENER:0x55a5d0387690
      flags=0x00000300 fd=16 fd.state=21 updt=1 fd.tmask=0x1

)";

} // namespace

TEST_CASE("haproxy's sessions are told with their clients and their sockets towards servers",
          "[cli][proxy]") {
    CHECK(sessions_of(answer, "near") ==
          std::vector<Session>{{7, "192.0.2.5:34892", 13}, {8, "[2001:db8::5]:34893", -1}});
    CHECK(sessions_of(answer, "far-443").empty());
}

TEST_CASE("of what haproxy does not say in this way nothing is made", "[cli][proxy]") {
    for (const std::string_view text :
         {"", "\n", "Unknown command", "0x1: id=x source=\n  frontend=near (id=2)\n",
          "0x1: source=:\n co0=\n fd=", "  frontend=near (id=2)\n co0=1\n fd=12\n"})
        for (const Session &one : sessions_of(text, "near"))
            CHECK(one.to_server == -1);
    // Cut off anywhere.
    for (std::size_t size = 0; size < answer.size(); size++)
        CHECK(sessions_of(answer.substr(0, size), "near").size() <= 2);
}
