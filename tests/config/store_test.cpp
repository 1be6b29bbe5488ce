// SPDX-License-Identifier: MIT
//
// Addresses of stores, and what etcd says, without one. The texts are what etcd 3.4 answered.
#include "catch.hpp"

#include <fmt/format.h>

#include "service/store/address.hpp"
#include "service/store/etcd.hpp"

using namespace mps;
using namespace mps::service::store;

TEST_CASE("an address of a store is its members and a key", "[store]") {
    const auto one = parse_address("etcd:https://192.0.2.1:2379/mpsched/branch");
    REQUIRE(one);
    CHECK(one->endpoints == std::vector<std::string>{"https://192.0.2.1:2379"});
    CHECK(one->key == "mpsched/branch");
    CHECK(report_key(*one, "gw1") == "mpsched/branch/nodes/gw1");
    const auto several = parse_address("etcd:https://a.example,https://[2001:db8::1]:2379/k");
    REQUIRE(several);
    CHECK(several->endpoints == std::vector<std::string>{"https://a.example", "https://[2001:db8::1]:2379"});
    for (const char *here :
         {"etcd:http://127.0.0.1:2379/k", "etcd:http://[::1]:2379/k", "etcd:http://localhost/k"})
        CHECK(parse_address(here));
}

TEST_CASE("an address that is none is refused with what is wrong about it", "[store]") {
    const auto why = [](const char *text) {
        const auto address = parse_address(text);
        REQUIRE_FALSE(address);
        CHECK(address.error().kind == ErrorKind::usage);
        CHECK_FALSE(address.error().hint.empty());
        return address.error().what;
    };
    CHECK(why("consul:https://192.0.2.1/k").find("no store that mpschedd knows") != std::string::npos);
    CHECK(why("etcd:https://192.0.2.1:2379").find("names no key") != std::string::npos);
    CHECK(why("etcd:https://192.0.2.1:2379/").find("names no key") != std::string::npos);
    CHECK(why("etcd:https://192.0.2.1:2379/k/").find("names no key") != std::string::npos);
    CHECK(why("etcd:192.0.2.1:2379/k").find("names no key") != std::string::npos);
    CHECK(why("etcd:ftp://192.0.2.1/k").find("does not begin with https://") != std::string::npos);
    CHECK(why("etcd:https:///k").find("no address") != std::string::npos);
    CHECK(why("etcd:https://a:b@192.0.2.1/k").find("no address") != std::string::npos);
    CHECK(why("etcd:http://192.0.2.1:2379/k").find("without TLS") != std::string::npos);
    CHECK(why("etcd:http://localhost.example/k").find("without TLS") != std::string::npos);
}

TEST_CASE("what etcd has of a key is read, and what is no answer is refused", "[store]") {
    const auto there = read_range(
        R"({"header":{"cluster_id":"14841639068965178418","member_id":"1","revision":"7","raft_term":"2"},)"
        R"("kvs":[{"key":"aw==","create_revision":"2","mod_revision":"5","version":"3","value":"YWIK"}],"count":"1"})");
    REQUIRE(there);
    CHECK(there->store_revision == 7);
    CHECK(there->value.revision == 5);
    CHECK(there->value.cluster == "14841639068965178418");
    CHECK(there->value.contents == "ab\n");
    const auto absent = read_range(R"({"header":{"cluster_id":"1","revision":"7"}})");
    REQUIRE(absent);
    CHECK_FALSE(absent->value.contents);
    for (const char *text : {"", "{", "[]", "7", "{}", R"({"header":{"revision":"-1"}})", R"({"header":[]})",
                             R"({"header":{"revision":"7"},"kvs":[{"value":"*"}]})",
                             R"({"header":{"revision":"7"},"kvs":[{"value":"YWI"}]})",
                             R"({"error":"etcdserver: permission denied","message":"x","code":7})"})
        CHECK_FALSE(read_range(text));
    CHECK(read_range(R"({"error":"etcdserver: permission denied","code":7})").error().what ==
          "the store refuses: etcdserver: permission denied");
}

TEST_CASE("every length of a value comes back as it was", "[store]") {
    std::string value;
    for (int i = 0; i < 70; i++) {
        const std::string put = put_body("k", value);
        const auto at = put.find(R"("value":")") + 9;
        const std::string encoded = put.substr(at, put.find('"', at) - at);
        const auto back = read_range(fmt::format(
            R"({{"header":{{"revision":"1"}},"kvs":[{{"mod_revision":"1","value":"{}"}}]}})", encoded));
        REQUIRE(back);
        CHECK(back->value.contents == value);
        value += static_cast<char>(255 - i * 3);
    }
}

TEST_CASE("of a watch the last change counts, and its end is an error", "[store]") {
    const auto created =
        read_watch(R"({"result":{"header":{"cluster_id":"1","revision":"3"},"created":true}})");
    REQUIRE(created);
    CHECK_FALSE(*created);
    const auto changed = read_watch(
        R"({"result":{"header":{"cluster_id":"1","revision":"5"},"events":[)"
        R"({"kv":{"key":"aw==","mod_revision":"4","value":"YQ=="}},{"kv":{"key":"aw==","mod_revision":"5","value":"Yg=="}}]}})");
    REQUIRE(changed);
    REQUIRE(*changed);
    CHECK((**changed).revision == 5);
    CHECK((**changed).contents == "b");
    const auto gone = read_watch(
        R"({"result":{"header":{"cluster_id":"1","revision":"6"},"events":[{"type":"DELETE","kv":{"mod_revision":"6"}}]}})");
    REQUIRE(gone);
    REQUIRE(*gone);
    CHECK((**gone).revision == 6);
    CHECK_FALSE((**gone).contents);
    CHECK_FALSE(read_watch(R"({"result":{"header":{},"canceled":true,"compact_revision":"9"}})"));
    CHECK_FALSE(read_watch(
        R"({"error":{"grpc_code":11,"message":"etcdserver: mvcc: required revision has been compacted"}})"));
    CHECK_FALSE(read_watch("<html>"));
}

TEST_CASE("a token that would end the header is refused", "[store]") {
    CHECK(read_token(R"({"header":{},"token":"abc.12"})") == "abc.12");
    CHECK_FALSE(read_token(R"({"token":"a\r\nX: y"})"));
    CHECK_FALSE(read_token(R"({"token":""})"));
    CHECK_FALSE(read_token(R"({"error":"etcdserver: authentication failed, invalid user ID or password"})"));
}
