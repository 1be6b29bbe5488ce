// SPDX-License-Identifier: MIT
#include "demo_page.hpp"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <tuple>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/try.hpp"
#include "run.hpp"

namespace mps::lab::cli {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr std::uint16_t usual_port = 9465; // of docs/service.md
constexpr auto patience = 20s;

/// `wanted` on loopback if nobody has it, else one that the kernel chooses; 0 if there is none.
std::uint16_t free_port(std::uint16_t wanted) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    // As a server does it: what a run before has left in TIME_WAIT is nobody's.
    const int on = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::uint16_t got = 0;
    for (const std::uint16_t port : {wanted, std::uint16_t{0}}) {
        address.sin_port = htons(port);
        socklen_t length = sizeof(address);
        if (::bind(fd, reinterpret_cast<const sockaddr *>(&address), length) == 0 && ::listen(fd, 1) == 0 &&
            ::getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length) == 0) {
            got = ntohs(address.sin_port);
            break;
        }
    }
    ::close(fd);
    return got;
}

/// A folder with mpsched.toml in it.
Result<std::string> make_folder() {
    std::string folder = (fs::temp_directory_path() / "mpsched-demo-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr) {
        return os_error("make", folder, errno);
    }
    const std::string file = folder + "/mpsched.toml";
    std::ofstream(file) << fmt::format("version = 1\n[web]\nlisten = \"127.0.0.1:{}\"\n",
                                       free_port(usual_port));
    // Which mpschedd wants whatever the umask is.
    if (::chmod(file.c_str(), 0644) != 0) {
        return os_error("write", file, errno);
    }
    return folder;
}

std::vector<std::pair<std::string, std::string>> environment(const std::string &folder) {
    return {{"MPS_RUN_DIR", folder + "/run"}, {"MPS_CONFIG", folder + "/mpsched.toml"}};
}

void remove_folder(const std::string &folder) {
    std::error_code ignored;
    fs::remove_all(folder, ignored);
}

/// What `mpsched web` tells; empty as long as nobody answers it.
std::string ask_for_url(const std::string &netns, const std::string &folder) {
    const auto told = run_process({mpsched_path(), "--netns", netns, "web", "--json"},
                                  {.environment = environment(folder), .timeout = patience});
    if (!told || !told->ok()) {
        return "";
    }
    const auto document = nlohmann::json::parse(told->out, nullptr, false);
    return document.is_object() ? document.value("url", "") : "";
}

} // namespace

DemoPage::DemoPage(std::string folder, Process process)
    : folder_(std::move(folder)),
      process_(std::move(process)),
      guard_([folder = folder_] { remove_folder(folder); }) {}

DemoPage::DemoPage(DemoPage &&other) noexcept
    : folder_(std::exchange(other.folder_, "")),
      process_(std::move(other.process_)),
      guard_(std::move(other.guard_)),
      url_(std::move(other.url_)) {}

DemoPage::~DemoPage() {
    if (folder_.empty()) {
        return;
    }
    std::ignore = process_.signal(SIGTERM);
    std::ignore = process_.wait(5s);
    remove_folder(folder_);
}

Result<DemoPage> DemoPage::start(const std::string &netns) {
    const auto binary = (fs::path(mpsched_path()).parent_path() / "mpschedd").string();
    if (::access(binary.c_str(), X_OK) != 0) {
        return os_error("use", binary, errno, "the page is served by mpschedd: ./run build");
    }
    const auto folder = make_folder();
    MPS_TRY(folder);
    auto process = Process::start({binary, "--netns", netns, "--state", *folder + "/state"},
                                  {.environment = environment(*folder)});
    if (!process) {
        remove_folder(*folder);
        return std::unexpected(process.error());
    }
    DemoPage page(*folder, std::move(*process));
    for (auto waited = 0ms; waited < patience && page.running(); waited += 100ms) {
        page.url_ = ask_for_url(netns, page.folder_);
        if (!page.url_.empty()) {
            return page;
        }
        if (!sleep_unless_stopped(100ms)) {
            return std::unexpected(Error{"stopped by a signal", "", EINTR});
        }
    }
    std::ignore = page.process_.signal(SIGTERM);
    const auto ended = page.process_.wait(5s);
    remove_folder(std::exchange(page.folder_, ""));
    return fail(fmt::format("mpschedd serves no page{}", ended ? ": " + ended->err : ""));
}

} // namespace mps::lab::cli
