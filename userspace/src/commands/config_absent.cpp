// SPDX-License-Identifier: MIT
//
// Stands in for config.cpp where mpsched is built without the service (MPS_SERVICE=OFF).

#include <memory>
#include <optional>

#include "commands/commands.hpp"

namespace mps::cli {

namespace {

Result<Reply> refuse(const Context &) {
    return fail(ErrorCode::unsupported, "this mpsched was built without its service (MPS_SERVICE=OFF)",
                "'mpsched attach', 'path' and 'use' do what a file would ask for");
}

void bind_file(Binder &binder) {
    auto file = std::make_shared<std::optional<std::string>>();
    binder.argument("FILE", *file);
    binder.run([file](const Context &context) { return refuse(context); });
}

} // namespace

void setup_rule_apply(Binder &binder) { bind_file(binder); }
void setup_config_check(Binder &binder) { bind_file(binder); }
void setup_config_diff(Binder &binder) { bind_file(binder); }
void setup_config_apply(Binder &binder) { bind_file(binder); }
void setup_config_edit(Binder &binder) { bind_file(binder); }
void setup_config_export(Binder &binder) { binder.run(refuse); }
void setup_reload(Binder &binder) { binder.run(refuse); }

} // namespace mps::cli
