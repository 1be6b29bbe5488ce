// SPDX-License-Identifier: MIT
//
// policy build: compiles a policy with the headers of this very mpsched, which are in the program, so that it works in an empty
// folder and the object always fits.
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <span>
#include <system_error>

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include "commands/commands.hpp"
#include "mps_header_abi.embed.h"
#include "mps_header_core.embed.h"
#include "mps_header_layout.embed.h"
#include "mps_header_policy.embed.h"
#include "output/text.hpp"

namespace mps::cli {

namespace {

namespace fs = std::filesystem;

struct BuildOptions {
    std::string file;
    std::string output;
};

/// A folder that is gone with its object, with the headers in mps/.
class HeaderFolder {
  public:
    static Result<HeaderFolder> make() {
        std::string pattern = (fs::temp_directory_path() / "mpsched-build-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr)
            return fail(ErrorCode::failed,
                        fmt::format("cannot make {}: {}", pattern, std::generic_category().message(errno)),
                        "TMPDIR names another folder");
        HeaderFolder folder(pattern);
        std::error_code error;
        fs::create_directory(folder.path_ / "mps", error);
        if (error || !folder.write("policy_abi.h", mps_header_abi_begin, mps_header_abi_end) ||
            !folder.write("policy_layout.h", mps_header_layout_begin, mps_header_layout_end) ||
            !folder.write("core.h", mps_header_core_begin, mps_header_core_end) ||
            !folder.write("policy.bpf.h", mps_header_policy_begin, mps_header_policy_end))
            return fail(ErrorCode::failed, fmt::format("cannot write the headers to {}", pattern),
                        "is the disk full? TMPDIR names another folder");
        return folder;
    }
    HeaderFolder(HeaderFolder &&other) noexcept : path_(std::exchange(other.path_, {})) {}
    HeaderFolder &operator=(HeaderFolder &&) = delete;
    ~HeaderFolder() {
        std::error_code ignored;
        if (!path_.empty())
            fs::remove_all(path_, ignored);
    }

    const fs::path &path() const { return path_; }

  private:
    explicit HeaderFolder(fs::path path) : path_(std::move(path)) {}
    bool write(const char *name, const unsigned char *begin, const unsigned char *end) const {
        std::ofstream out(path_ / "mps" / name, std::ios::binary);
        const auto bytes = std::as_bytes(std::span(begin, end));
        out.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        out.close();
        return !out.fail();
    }

    fs::path path_;
};

/// Runs a program from PATH with its messages in a file. Its exit status, 128 and the signal that killed it, or why it did not start.
std::expected<int, int> run_compiler(const std::vector<std::string> &words, const fs::path &messages) {
    std::vector<char *> argv;
    for (const std::string &word : words)
        argv.push_back(const_cast<char *>(word.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, messages.c_str(),
                                       O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0)
        return std::unexpected(error);
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return std::unexpected(errno);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// The compilers that the data path is built with, the one that CI uses first (cmake/MpsBpf.cmake).
std::vector<std::string> compilers() {
    if (const char *own = std::getenv("MPS_CLANG"); own != nullptr && *own != '\0')
        return {own};
    return {"clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang"};
}

std::string read_all(const fs::path &file) {
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> compile_line(const HeaderFolder &headers, const BuildOptions &options,
                                      const std::string &object) {
    std::vector<std::string> words{"-g",       "-O2",   "-std=gnu2x", "--target=bpf",
                                   "-mcpu=v3", "-Wall", "-I",         headers.path().string()};
    // asm/types.h is in a folder that clang does not search for BPF.
    if (constexpr std::string_view machine = MPS_MULTIARCH; !machine.empty())
        words.insert(words.end(), {"-idirafter", fmt::format("/usr/include/{}", machine)});
    // Debug information and BTF name files: as they would be called in any folder, so that objects of the same source are the same.
    const std::string folder = fs::path(options.file).parent_path().string();
    words.insert(words.end(), {"-fno-ident", "-fdebug-compilation-dir=.",
                               fmt::format("-ffile-prefix-map={}/=", headers.path().string())});
    if (!folder.empty())
        words.push_back(fmt::format("-ffile-prefix-map={}/=", folder));
    words.insert(words.end(), {"-c", options.file, "-o", object});
    return words;
}

Result<Reply> run_build(const Context &, const BuildOptions &options) {
    const fs::path source(options.file);
    std::error_code error;
    if (source.extension() != ".c")
        return usage_error(fmt::format("'{}' is no C file", options.file),
                           "a policy's source is called NAME.bpf.c");
    if (!fs::is_regular_file(source, error))
        return usage_error(fmt::format("there is no file '{}'", options.file),
                           "give the path of the policy's source");
    const std::string object = options.output.empty() ? source.stem().string() + ".o" : options.output;
    auto headers = HeaderFolder::make();
    if (!headers)
        return std::unexpected(headers.error());

    const fs::path messages = headers->path() / "messages";
    const auto arguments = compile_line(*headers, options, object);
    for (const std::string &compiler : compilers()) {
        std::vector<std::string> words{compiler};
        words.insert(words.end(), arguments.begin(), arguments.end());
        const auto status = run_compiler(words, messages);
        if (!status && status.error() == ENOENT)
            continue;
        if (!status)
            return fail(ErrorCode::failed, fmt::format("cannot start {}: {}", compiler,
                                                       std::generic_category().message(status.error())));
        const std::string said = read_all(messages);
        if (*status != 0)
            return fail(ErrorCode::failed, fmt::format("{} did not compile {}", compiler, options.file),
                        "schedulers/README.md, installed with mpsched, has a policy to start from", said);
        Reply reply{.json = {{"object", object}, {"compiler", compiler}},
                    .text = fmt::format("built {}; 'mpsched policy load ./{}' loads it\n", object, object)};
        if (!said.empty())
            reply.warnings.push_back(said);
        return reply;
    }
    return fail(ErrorCode::unsupported, "there is no clang to compile BPF with",
                "install the package clang-19, or name a compiler by MPS_CLANG");
}

} // namespace

void setup_policy_build(Binder &binder) {
    auto options = std::make_shared<BuildOptions>();
    binder.argument("FILE", options->file);
    binder.option("--output", options->output);
    binder.run([options](const Context &context) { return run_build(context, *options); });
}

} // namespace mps::cli
