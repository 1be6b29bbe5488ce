// SPDX-License-Identifier: MIT
//
// Programs from outside, built and run against an installed copy in a prefix of their own.
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <sys/stat.h>

#include "catch.hpp"
#include "temporary_folder.hpp"
#include "traffic.hpp"

using namespace mps::lab;
using namespace mps::e2e;

namespace {

ProcessResult run(std::vector<std::string> argv,
                  const std::vector<std::pair<std::string, std::string>> &environment = {}) {
    auto options = Cli::options();
    options.timeout = 60s;
    options.environment.insert(options.environment.end(), environment.begin(), environment.end());
    auto result = must(run_process(std::move(argv), std::move(options)));
    INFO(result.out << result.err);
    CHECK(result.exit_code == 0);
    return result;
}

// Installed once for all cases of the binary.
const std::string &prefix() {
    static const TemporaryFolder folder;
    static const std::string path = [] {
        run({MPS_CMAKE, "--install", MPS_BUILD_DIR, "--prefix", folder / "prefix"});
        return folder / "prefix";
    }();
    return path;
}

std::string sanitizer_flags() {
    const std::string sanitizers = MPS_SANITIZE;
    return sanitizers.empty() ? "" : "-fsanitize=" + sanitizers;
}

// libmpsched built with sanitizers wants their runtime to come first, which Python's interpreter does not bring.
std::vector<std::pair<std::string, std::string>> python_environment() {
    std::vector<std::pair<std::string, std::string>> all{{"PYTHONPATH", prefix() + "/" + MPS_PYTHON_DIR},
                                                         {"PYTHONDONTWRITEBYTECODE", "1"}};
    if (!sanitizer_flags().empty()) {
        std::string runtime = run({MPS_CC, "-print-file-name=libasan.so"}).out;
        all.emplace_back("LD_PRELOAD", runtime.substr(0, runtime.find('\n')));
        all.emplace_back("ASAN_OPTIONS", "detect_leaks=0");
    }
    return all;
}

struct Steered {
    Network network = must(Network::create({.paths = {{.name = "dsl", .rate_mbit = path_rate(20)},
                                                      {.name = "lte", .rate_mbit = path_rate(20)}}}));
    Server server = serve(network);
    Attachment attachment{network.a(), network.devices()};
    Cli mpsched{network.a(), prefix() + "/bin/mpsched"};
    Transfer transfer = upload(network, server, {.connections = 1});

    Steered() {
        mpsched("path lte priority=1");
        mpsched("use default");
        CHECK(wait_until([&] { return kernel_subflows(network.a()).size() == 2; }, 5s) >= 0);
    }
    // As the kernel has it.
    bool lte_is_backup() const {
        const std::string address = network.address(Side::a, 1);
        for (const KernelSubflow &one : kernel_subflows(network.a())) {
            if (one.local.contains(address))
                return one.backup;
        }
        return false;
    }
};

void check_shows_both_paths(const std::string &out) {
    INFO(out);
    CHECK(out.contains("default\n"));
    CHECK(out.contains("  dsl allowed\n"));
    CHECK(out.contains("  lte allowed\n"));
    CHECK(out.contains("default -> active-standby\n"));
}

} // namespace

TEST_CASE("a program built with find_package lists connections and swaps their policy", "[install]") {
    const TemporaryFolder build;
    const std::string example = MPS_SOURCE_DIR "/examples/cpp";
    run({MPS_CMAKE, "-S", example, "-B", build.path(), "-DCMAKE_PREFIX_PATH=" + prefix(),
         std::string("-DCMAKE_CXX_COMPILER=") + MPS_CXX, "-DCMAKE_CXX_FLAGS=" + sanitizer_flags()});
    run({MPS_CMAKE, "--build", build.path()});
    CHECK(run({"ldd", build / "swap"}).out.contains("=> " + prefix() + "/" MPS_LIBDIR "/libmpsched.so."));

    Steered steered;
    CHECK_FALSE(steered.lte_is_backup());
    check_shows_both_paths(run({build / "swap", "active-standby", steered.network.a().name()}).out);
    CHECK(wait_until([&] { return steered.lte_is_backup(); }, 3s) >= 0);

    SECTION("and decides by the kind of an error") {
        steered.attachment.detach();
        const auto refused =
            must(run_process({build / "swap", "auto", steered.network.a().name()}, Cli::options()));
        CHECK(refused.exit_code == 1);
        CHECK(refused.err.contains("this program only swaps"));
    }
}

TEST_CASE("ten lines of Python list connections and swap their policy", "[install]") {
    Steered steered;
    const std::string example = MPS_SOURCE_DIR "/examples/python/swap.py";
    check_shows_both_paths(
        run({"python3", example, "active-standby", steered.network.a().name()}, python_environment()).out);
    CHECK(wait_until([&] { return steered.lte_is_backup(); }, 3s) >= 0);
}

TEST_CASE("Python is told what changes, and the kind of an error", "[install]") {
    Steered steered;
    const std::string script = R"(
import sys, mpsched
with mpsched.Instance(sys.argv[1]) as m:
    changes = m.watch(0.05)
    m.use("active-standby")
    for change in changes:
        if change["kind"] == "verdict":
            print(change["interface"], change["now"])
            break
    m.path("lte", weight=3)
    print(m.path("lte")["weight"], m.stats()["decided"] > 0)
    m.detach("lte")
    m.attach("lte", role="gateway")
    print(*sorted((i["name"], i["role"]) for i in m.status()["interfaces"]))
    for call in (lambda: m.use("no-such"), lambda: m.path("lte", weight=0), lambda: m.path("nosuch0"),
                 lambda: m.attach("lte", role="router"), lambda: m.attach("lte")):
        try:
            call()
        except mpsched.Error as error:
            print(error.kind, error.code)
    m.detach()
    try:
        m.connections()
    except mpsched.Error as error:
        print(error.kind, error.code)
)";
    const auto out = run({"python3", "-c", script, steered.network.a().name()}, python_environment()).out;
    CHECK(out == "lte parked\n3 True\n('dsl', 'host') ('lte', 'gateway')\n"
                 "no-such-policy 2\nusage 2\nno-such-interface 2\nusage 2\nin-use 1\nnot-installed 1\n");
    CHECK_FALSE(steered.lte_is_backup());
}

TEST_CASE("a program in C is built with pkg-config, and sees the version", "[install]") {
    const TemporaryFolder build;
    std::ofstream(build / "version.c") << "#include <stdio.h>\n#include <mpsched/mpsched.h>\n"
                                          "int main(void) { return puts(mpsched_version()) < 0; }\n";
    run({"sh", "-c",
         fmt::format(
             "PKG_CONFIG_PATH={0}/{1}/pkgconfig; export PKG_CONFIG_PATH; {2} -Wall -Wextra -Werror {3} "
             "$(pkg-config --cflags mpsched) -o {4} {5} $(pkg-config --libs mpsched)",
             prefix(), MPS_LIBDIR, MPS_CC, sanitizer_flags(), build / "version", build / "version.c")});
    CHECK(run({build / "version"}, {{"LD_LIBRARY_PATH", prefix() + "/" MPS_LIBDIR}}).out == MPS_VERSION "\n");
}

TEST_CASE("the library shows what its headers declare and nothing else", "[install]") {
    const auto shown = run({"nm", "-DC", "--defined-only", prefix() + "/" MPS_LIBDIR "/libmpsched.so"}).out;
    CHECK(shown.contains(" mps::Instance::open(mps::OpenOptions)"));
    CHECK(shown.contains(" mpsched_open"));
    for (const char *hidden :
         {"mps::open_netns", "_begin", "datapath", "fmt::", "nlohmann", "mps::parse_selector",
          "mps::builtin_policies", "Impl::", "mps::status_json"}) {
        INFO(hidden);
        CHECK_FALSE(shown.contains(hidden));
    }
}

TEST_CASE("all that is installed bears the version of CMakeLists.txt, and the changelog knows it",
          "[install]") {
    const auto read = mps::test::file_text;
    const std::string version = MPS_VERSION;
    CHECK(run({prefix() + "/bin/mpsched", "version"}).out.starts_with("mpsched " + version + " "));
    CHECK(read(prefix() + "/share/man/man1/mpsched.1").contains(version));
    CHECK(run({"pkg-config", "--modversion", "mpsched"},
              {{"PKG_CONFIG_PATH", prefix() + "/" MPS_LIBDIR "/pkgconfig"}})
              .out == version + "\n");
    CHECK(run({"python3", "-c", "import mpsched; print(mpsched.__version__, mpsched.version())"},
              python_environment())
              .out == version + " " + version + "\n");
    CHECK(std::filesystem::exists(prefix() + "/" MPS_LIBDIR "/libmpsched.so." + version));
    CHECK(read(MPS_SOURCE_DIR "/CHANGELOG.md").contains("\n## " + version + "\n"));
}

TEST_CASE("a policy's object is the same in whatever folder it is built", "[install]") {
    const TemporaryFolder one;
    const TemporaryFolder another;
    const auto build = [](const std::string &folder) {
        for (const char *part : {"/common", "/weighted"}) {
            std::filesystem::create_directories(folder + part);
            std::filesystem::copy(std::string(MPS_SOURCE_DIR "/schedulers") + part, folder + part);
        }
        const std::string object = folder + "/weighted.bpf.o";
        run({prefix() + "/bin/mpsched", "policy", "build", folder + "/weighted/weighted.bpf.c", "-o",
             object});
        return object;
    };
    run({"cmp", build(one / "a"), build(another / "another/folder")});
}
