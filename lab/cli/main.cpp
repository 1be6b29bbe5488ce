// SPDX-License-Identifier: MIT
// mpsched-lab: what runs on emulated networks.
#include <csignal>

#include <CLI/CLI.hpp>

#include <mpsched/lab/cleanup.hpp>

#include "demo.hpp"
#include "run.hpp"

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
    demo_verb->add_flag("--web", demo.web,
                        "Serve the page of mpschedd as well, tell its address, and go on until Ctrl-C");
    demo_verb->add_option("--seconds-per-phase", demo.seconds_per_phase, "Length of each phase")
        ->check(CLI::Range(mps::lab::cli::min_seconds_per_phase, mps::lab::cli::max_seconds_per_phase))
        ->capture_default_str();

    mps::lab::cli::ListOptions list;
    auto *list_verb = app.add_subcommand("list", "The scenarios and their variants.");
    list_verb->add_flag("--json", list.json, "One JSON document");

    mps::lab::cli::RunCommand run;
    auto *run_verb = app.add_subcommand("run", "Run scenarios on this kernel, which needs netem.");
    run_verb
        ->add_option(
            "SCENARIO", run.scenarios,
            "A name of 'list' (small-buffers, or its number S17, is all its variants), or a .toml file")
        ->required();
    run_verb->add_option("--policy", run.policy, "default, alone:PATH, or a policy of mpsched")
        ->capture_default_str();
    run_verb->add_option("-s", run.params, "A parameter of the policy: key=value")->allow_extra_args(false);
    run_verb->add_option("--seed", run.seed, "Of all that is random here")->capture_default_str();
    run_verb->add_flag("--json", run.json, "One JSON document for each run, on a line of its own");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError &error) {
        return app.exit(error) == 0 ? 0 : usage_error;
    }
    if (list_verb->parsed()) {
        return mps::lab::cli::run_list(list);
    }
    return run_verb->parsed() ? mps::lab::cli::run_scenarios(run) : mps::lab::cli::run_demo(demo);
}
