// SPDX-License-Identifier: MIT
//
// The page that mpschedd serves: who may do what with it, over real HTTP, and what comes of it on the wire.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <sstream>
#include <thread>

#include <fmt/format.h>

#include "service_run.hpp"

using namespace mps::robust;
using namespace mps;

namespace {

constexpr std::uint16_t port = 9465;
constexpr const char *with_page =
    "version = 1\n[default]\npolicy = \"weighted\"\n[[interface]]\nname = [\"dsl\", \"lte\"]\n"
    "[web]\nlisten = \"127.0.0.1:9465\"\n";

// As the page sends it, but for what a test wants otherwise.
struct Request {
    std::string path = "/api/use";
    std::string body = R"({"policy": "ecf"})";
    std::string host = "127.0.0.1:9465";
    std::string origin = "http://127.0.0.1:9465";
    std::string site = "same-origin";
    std::string type = "application/json";
    std::string method = "POST";
};

class Page {
  public:
    Page(const Rig &rig, const Service &service) : rig_(rig) {
        const auto told = service.run({"web", "--json"});
        REQUIRE(told.exit_code == 0);
        url_ = Json::parse(told.out)["url"];
        token_ = url_.substr(url_.find('#') + 1);
        REQUIRE(token_.size() == 64);
    }
    const std::string &url() const { return url_; }
    const std::string &token() const { return token_; }

    HttpAnswer ask(const Request &request, const std::string &token) const {
        std::string text =
            fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, request.path, request.host);
        const auto add = [&](std::string_view name, const std::string &value) {
            if (!value.empty())
                text += fmt::format("{}: {}\r\n", name, value);
        };
        add("Origin", request.origin);
        add("Sec-Fetch-Site", request.site);
        add("Content-Type", request.type);
        add("X-Mpsched-Token", token);
        text += fmt::format("Content-Length: {}\r\n\r\n{}", request.body.size(), request.body);
        return http_exchange(rig_.here(), port, text);
    }
    HttpAnswer ask(const Request &request) const { return ask(request, token_); }

  private:
    const Rig &rig_;
    std::string url_;
    std::string token_;
};

Fd open_stream(const Rig &rig, const std::string &token) {
    Fd socket = connect_inside(rig.here(), port);
    REQUIRE(socket);
    const std::string text =
        fmt::format("GET /api/events HTTP/1.1\r\nHost: localhost\r\nX-Mpsched-Token: {}\r\n\r\n", token);
    REQUIRE(::send(socket.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
            static_cast<ssize_t>(text.size()));
    return socket;
}

// Until there are so many events; what came so far where the other end closes.
std::string events_of(const Fd &socket, int count) {
    std::string all;
    std::array<char, 8192> buffer;
    while (count > 0) {
        const ssize_t got = ::recv(socket.get(), buffer.data(), buffer.size(), 0);
        if (got <= 0)
            break;
        for (const char c : std::string_view(buffer.data(), static_cast<std::size_t>(got))) {
            count -= c == '\n' && all.ends_with('\n');
            all += c;
        }
    }
    return all;
}

// What dsl carries of all that is sent while `time` goes by.
double share_of_dsl(const Rig &rig, std::chrono::milliseconds time) {
    const auto before = must(lab::read_counters(rig.here()));
    std::this_thread::sleep_for(time);
    const auto sent = must(lab::read_counters(rig.here())) - before;
    const auto dsl = static_cast<double>(sent.devices.at("dsl").tx_bytes);
    return dsl / (dsl + static_cast<double>(sent.devices.at("lte").tx_bytes));
}

} // namespace

TEST_CASE("who has no token, comes from another page or by another name learns nothing and changes nothing",
          "[robust][web]") {
    Rig rig;
    Service service(rig, with_page, true);
    const Page page(rig, service);
    const auto refused = [&](const Request &request, int status) {
        INFO(request.method << " " << request.path << " " << request.host << " " << request.origin << " "
                            << request.site << " " << request.body);
        CHECK(page.ask(request).status == status);
    };
    // The token is with root alone, and a new one each time.
    CHECK_FALSE(service.state().dump().contains(page.token()));
    CHECK_FALSE(service.run({"status", "--json"}).out.contains(page.token()));
    for (const std::string &token :
         {std::string(), std::string(64, '0'), page.token() + "0", page.token().substr(1), std::string("\t")})
        for (const char *path : {"/api/use", "/api/path"})
            CHECK(page.ask({.path = path}, token).status == 403);
    for (const char *path : {"/api/events", "/api/policies"})
        CHECK(page.ask({.path = path, .body = "", .method = "GET"}, "").status == 403);

    refused({.origin = "http://evil.example"}, 403);
    refused({.origin = "null"}, 403);
    refused({.origin = "https://127.0.0.1:9465"}, 403);
    refused({.origin = "http://127.0.0.1:9464"}, 403);
    refused({.origin = "", .site = "cross-site"}, 403);
    refused({.origin = "", .site = "same-site"}, 403);
    // A name that was made to lead here: what the browser then sends agrees with itself.
    refused({.host = "evil.example:9465", .origin = "http://evil.example:9465"}, 421);
    refused({.host = "", .origin = ""}, 421);
    // What a form of another page could send without being asked for leave.
    refused({.type = "text/plain"}, 400);
    refused({.type = "application/x-www-form-urlencoded"}, 400);
    refused({.type = ""}, 400);
    refused({.method = "GET"}, 404);
    refused({.method = "PUT"}, 405);
    refused({.method = "OPTIONS"}, 405);
    for (const char *body :
         {"", "{", "[]", "{\"policy\": 1}", R"({"policy": "nosuch"})", R"({"policy": "/tmp/x.o"})",
          R"({"policy": "x.o"})", R"({"policy": "../x"})", R"({"policy": ""})"})
        refused({.body = body}, 400);
    for (const char *body :
         {R"({"interface": "dsl"})", R"({"interface": "dsl", "weight": 0})",
          R"({"interface": "dsl", "weight": -1})", R"({"interface": "dsl", "weight": "2"})",
          R"({"interface": "dsl", "weight": 99999999999})", R"({"interface": "nosuch", "weight": 2})",
          R"({"interface": 3, "weight": 2})"})
        refused({.path = "/api/path", .body = body}, 400);
    CHECK(rig.json({"path"}).size() == 2);
    CHECK(rig.status()["default_policy"] == "weighted");
    CHECK(rig.json({"path", "dsl"})["weight"] == 1);
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("the page itself tells nothing, and what it asks for is done with the token of this start alone",
          "[robust][web]") {
    Rig rig;
    Service service(rig, with_page, true);
    const Page page(rig, service);
    // The page itself is for everybody, and tells nothing; only what came with it runs in it.
    const auto first = http_get(rig.here(), port, "/");
    const auto second = http_get(rig.here(), port, "/");
    CHECK(first.status == 200);
    CHECK(first.head.contains("Content-Security-Policy: default-src 'none'; script-src 'nonce-"));
    CHECK(first.head.contains("frame-ancestors 'none'"));
    CHECK_FALSE(first.head.contains("unsafe"));
    CHECK_FALSE(first.body.contains("@NONCE@"));
    CHECK_FALSE(first.body.contains(page.token()));
    CHECK(first.body != second.body);
    CHECK_FALSE(first.body.contains("https://"));
    CHECK(http_get(rig.here(), port, "/etc/passwd").status == 404);
    CHECK(http_exchange(rig.here(), port, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").status == 421);

    // The page's own request does it.
    CHECK(page.ask({}).status == 200);
    CHECK(rig.status()["default_policy"] == "ecf");
    CHECK(page.ask({.path = "/api/path", .body = R"({"interface": "dsl", "weight": 7})"}).status == 200);
    CHECK(rig.json({"path", "dsl"})["weight"] == 7);
    service.kill();
    service.start();
    CHECK(page.ask({}).status == 403);
    service.write("version = 1\n");
    CHECK(service.run({"reload"}).exit_code == 0);
    CHECK(service.run({"web"}).err.contains("mpschedd serves no page"));
    CHECK(page.ask({}).status == 0);
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("a policy and a weight that the page sets change the shares on the wire, and its events show them",
          "[robust][web]") {
    Rig rig(two_paths(20));
    Service service(rig, with_page, true);
    const Page page(rig, service);
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {.verify = false});
    REQUIRE(eventually(
        [&] {
            const double share = share_of_dsl(rig, 500ms);
            return share > 0.4 && share < 0.6;
        },
        20s));
    CHECK(page.ask({.path = "/api/path", .body = R"({"interface": "dsl", "weight": 9})"}).status == 200);
    CHECK(eventually([&] { return share_of_dsl(rig, 1s) > 0.8; }, 20s));
    // Both paths can do the same, and the kernel's scheduler fills both.
    CHECK(page.ask({.body = R"({"policy": "default"})"}).status == 200);
    CHECK(eventually([&] { return share_of_dsl(rig, 1s) < 0.65; }, 20s));

    const Fd stream = open_stream(rig, page.token());
    const std::string text = events_of(stream, 3);
    // Each is one line, with an empty one behind it.
    Json event;
    std::istringstream lines(text.substr(text.find("\r\n\r\n") + 4));
    int count = 0;
    for (std::string line, empty; std::getline(lines, line) && std::getline(lines, empty); count++) {
        REQUIRE(line.starts_with("data: "));
        REQUIRE(empty.empty());
        event = Json::parse(line.substr(6), nullptr, false);
        REQUIRE(event.is_object());
    }
    REQUIRE(count >= 3);
    CHECK(event["policy"] == "default");
    CHECK(event["connections"] == 1);
    REQUIRE(event["paths"].size() == 2);
    for (const Json &path : event["paths"]) {
        INFO(path.dump());
        CHECK(path["weight"] == (path["name"] == "dsl" ? 9 : 1));
        CHECK(path["sent_bytes_s"] > 100'000);
        CHECK(path["sent_bytes_s"] < 5'000'000);
    }
    CHECK(event["busiest"][0]["subflows"].size() == 2);

    // So many pages at a time; one that is closed makes room.
    std::vector<Fd> streams;
    for (int i = 0; i < 7; i++)
        streams.push_back(open_stream(rig, page.token()));
    for (const Fd &one : streams)
        CHECK(events_of(one, 1).contains("data: "));
    CHECK(page.ask({.path = "/api/events", .body = "", .method = "GET"}).status == 503);
    streams.clear();
    CHECK(eventually([&] { return events_of(open_stream(rig, page.token()), 1).contains("data: "); }));
    transfer.stop();
    (void)transfer.wait();
    service.end();
    rig.ok({"detach", "--all"});
}

TEST_CASE("in a browser the page shows paths and connections, and a click chooses another policy",
          "[robust][web]") {
    if (!std::filesystem::exists("/usr/bin/chromium"))
        mps::test::skip("there is no chromium here");
    Rig rig(two_paths(20));
    Service service(rig, with_page, true);
    const Page page(rig, service);
    rig.ok({"path", "lte", "quota=5GB", "priority=1"});
    const auto server = e2e::serve(rig.network());
    auto transfer = rig.transfer(server, {.connections = 3, .verify = false});
    const e2e::TemporaryFolder folder;
    const char *pictures = std::getenv("MPS_SCREENSHOTS");
    // Pictures are worth a look only where there is some time to be seen in them.
    const auto driven =
        must(lab::run_process({"python3", MPS_SOURCE_DIR "/tests/e2e/drive-page", page.url(),
                               pictures ? pictures : folder.path(), pictures ? "45" : "2"},
                              {.netns_fd = rig.here().fd(), .timeout = pictures ? 200s : 90s}));
    INFO(driven.out << driven.err);
    CHECK(driven.exit_code == 0);
    CHECK(rig.status()["default_policy"] == "round-robin");
    CHECK(rig.json({"path", "dsl"})["weight"] == 3);
    transfer.stop();
    (void)transfer.wait();
    service.end();
    rig.ok({"detach", "--all"});
}
