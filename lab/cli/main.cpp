// SPDX-License-Identifier: MIT
// mpsched-lab: what runs on emulated networks. Scenarios come later; the demo is the first verb.
#include <csignal>

#include <CLI/CLI.hpp>

#include <mpsched/lab/cleanup.hpp>

#include "demo.hpp"

namespace {

constexpr int usage_error = 2;

} // namespace

int main(int argc, char **argv) {
    // A reader that went away (`| head`) must end in an error of write(), after which everything is still
    // cleaned.
    std::signal(SIGPIPE, SIG_IGN);
    mps::lab::install_signal_cleanup(mps::lab::OnSignal::request_stop);

    CLI::App app("Emulated networks with real Multipath TCP traffic.", "mpsched-lab");
    app.require_subcommand(1);

    mps::lab::cli::DemoOptions demo;
    auto *demo_verb =
        app.add_subcommand("demo", "Swap policies live on a running transfer over two paths; under 90 s.");
    demo_verb->add_flag("--plain", demo.plain,
                        "Lines of text instead of a live picture (the default without a terminal)");
    demo_verb->add_option("--seconds-per-phase", demo.seconds_per_phase, "Length of each phase")
        ->check(CLI::Range(mps::lab::cli::min_seconds_per_phase, mps::lab::cli::max_seconds_per_phase))
        ->capture_default_str();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
        return app.exit(error) == 0 ? 0 : usage_error;
    }
    return mps::lab::cli::run_demo(demo);
}
