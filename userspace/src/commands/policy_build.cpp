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
#include <unistd.h>

#include <fmt/format.h>

#include "base/child.hpp"
#include "base/files.hpp"
#include "base/try.hpp"
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

/// A temporary folder with the headers in mps/.
class HeaderFolder {
  public:
    static Result<HeaderFolder> make() {
        auto made = TemporaryFolder::make("build");
        if (!made)
            return fail(ErrorCode::failed, fmt::format("cannot make a folder: {}", errno_text(made.error())),
                        "TMPDIR names another folder");
        HeaderFolder folder(std::move(*made));
        std::error_code error;
        fs::create_directory(folder.path() / "mps", error);
        if (error || !folder.write("policy_abi.h", mps_header_abi_begin, mps_header_abi_end) ||
            !folder.write("policy_layout.h", mps_header_layout_begin, mps_header_layout_end) ||
            !folder.write("core.h", mps_header_core_begin, mps_header_core_end) ||
            !folder.write("policy.bpf.h", mps_header_policy_begin, mps_header_policy_end))
            return fail(ErrorCode::failed,
                        fmt::format("cannot write the headers to {}", folder.path().string()),
                        "is the disk full? TMPDIR names another folder");
        return folder;
    }

    const fs::path &path() const { return folder_.path(); }

  private:
    explicit HeaderFolder(TemporaryFolder folder) : folder_(std::move(folder)) {}
    bool write(const char *name, const unsigned char *begin, const unsigned char *end) const {
        std::ofstream out(path() / "mps" / name, std::ios::binary);
        const auto bytes = std::as_bytes(std::span(begin, end));
        out.write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        out.close();
        return !out.fail();
    }

    TemporaryFolder folder_;
};

/// Runs a program from PATH with its messages in a file. How it ended, or why it did not start: an errno.
std::expected<Ending, int> run_compiler(const std::vector<std::string> &words, const fs::path &messages) {
    const Fd to(::open(messages.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    if (!to)
        return std::unexpected(errno);
    auto child = Child::start({.words = words, .err = to.get()});
    if (!child)
        return std::unexpected(child.error().err);
    return child->wait();
}

/// The compilers that the data path is built with, the one that CI uses first (cmake/MpsBpf.cmake).
std::vector<std::string> compilers() {
    if (const char *own = std::getenv("MPS_CLANG"); own != nullptr && *own != '\0')
        return {own};
    return {"clang-19", "clang-20", "clang-21", "clang-18", "clang-17", "clang"};
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
    MPS_TRY(headers);

    const fs::path messages = headers->path() / "messages";
    const auto arguments = compile_line(*headers, options, object);
    for (const std::string &compiler : compilers()) {
        std::vector<std::string> words{compiler};
        words.insert(words.end(), arguments.begin(), arguments.end());
        const auto ending = run_compiler(words, messages);
        if (!ending && ending.error() == ENOENT)
            continue;
        if (!ending)
            return fail(ErrorCode::failed,
                        fmt::format("cannot start {}: {}", compiler, errno_text(ending.error())));
        const std::string said = read_file(messages).value_or("");
        if (ending->exit_code != 0)
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
