// SPDX-License-Identifier: MIT
// Copyright mpsched contributors
#include "fake_cli.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>

#include "catch.hpp"
#include "config/keys.hpp"

namespace mps::test {

Outcome fake(Words words, const RunOptions &options) {
    words.insert(words.begin(), MPS_FAKE_CLI);
    return run(words, options);
}
FakeService::FakeService() {
    ::setenv("MPS_RUN_DIR", folder_.path().c_str(), 1);
    ::setenv("MPS_CONFIG", folder_.path("mpsched.toml").c_str(), 1);
    ::setenv("EDITOR", "true", 1);
    ::unsetenv("VISUAL");
    std::ofstream(folder_.path("mpsched.toml")) << config::example();
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    folder_.path("7.sock").copy(address.sun_path, sizeof address.sun_path - 1);
    socket_ = Fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(socket_.get(), reinterpret_cast<const sockaddr *>(&address), sizeof address) == 0);
    REQUIRE(::listen(socket_.get(), 8) == 0);
    thread_ = std::thread([this] { serve(); });
}

FakeService::~FakeService() {
    ::shutdown(socket_.get(), SHUT_RDWR);
    thread_.join();
    for (const char *name : {"MPS_RUN_DIR", "MPS_CONFIG", "EDITOR"})
        ::unsetenv(name);
}

void FakeService::serve() const {
    constexpr std::string_view answer =
        R"({"pid": 9, "file": "/etc/x.toml", "revision": "abc", "files": ["/etc/x.toml"], "objects": [)"
        R"({"object": "interface wan0", "state": "in force"},)"
        R"({"object": "rule rport=1", "state": "waits", "why": "no"}]})";
    constexpr std::string_view page = R"({"url": "http://127.0.0.1:9465/#0123"})";
    for (int client = 0; (client = ::accept(socket_.get(), nullptr, nullptr)) >= 0; ::close(client)) {
        char request[256];
        const ssize_t got = ::read(client, request, sizeof request);
        const std::string_view asked(request, static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
        const std::string_view said = asked.contains("\"web\"") ? page : answer;
        if (got > 0 && ::write(client, said.data(), said.size()) < 0)
            std::perror("answering");
    }
}

Json document(const Outcome &outcome) {
    INFO("stdout: " << outcome.out);
    INFO("stderr: " << outcome.err);
    const Json parsed = Json::parse(outcome.out, nullptr, false);
    REQUIRE_FALSE(parsed.is_discarded());
    CHECK(outcome.out.ends_with('\n'));
    return parsed;
}

Json described() { return Json::parse(file_text(MPS_JSON_SCHEMA)); }

} // namespace mps::test
