// SPDX-License-Identifier: MIT
//
// One file for each command: a struct of its options, setup_<command>() that ties it to the table, and run.
#pragma once

#include "cli/binder.hpp"

namespace mps::cli {

void setup_app_attach(Binder &binder);
void setup_app_detach(Binder &binder);
void setup_app_list(Binder &binder);
void setup_attach(Binder &binder);
void setup_bug_report(Binder &binder);
void setup_cc_list(Binder &binder);
void setup_cc_load(Binder &binder);
void setup_cc_unload(Binder &binder);
void setup_cc_unuse(Binder &binder);
void setup_cc_use(Binder &binder);
void setup_config_apply(Binder &binder);
void setup_config_check(Binder &binder);
void setup_config_diff(Binder &binder);
void setup_config_edit(Binder &binder);
void setup_config_export(Binder &binder);
void setup_conns(Binder &binder);
void setup_decode(Binder &binder);
void setup_detach(Binder &binder);
void setup_doctor(Binder &binder);
void setup_events(Binder &binder);
void setup_explain(Binder &binder);
void setup_help(Binder &binder);
void setup_path(Binder &binder);
void setup_policy_build(Binder &binder);
void setup_policy_list(Binder &binder);
void setup_policy_load(Binder &binder);
void setup_policy_show(Binder &binder);
void setup_policy_unload(Binder &binder);
void setup_probe(Binder &binder);
void setup_proxy_start(Binder &binder);
void setup_proxy_status(Binder &binder);
void setup_proxy_stop(Binder &binder);
void setup_reload(Binder &binder);
void setup_repair(Binder &binder);
void setup_rule_add(Binder &binder);
void setup_rule_apply(Binder &binder);
void setup_rule_counters(Binder &binder);
void setup_rule_del(Binder &binder);
void setup_rule_list(Binder &binder);
void setup_run(Binder &binder);
void setup_set(Binder &binder);
void setup_spread_list(Binder &binder);
void setup_spread_off(Binder &binder);
void setup_spread_on(Binder &binder);
void setup_spread_probe(Binder &binder);
void setup_stats(Binder &binder);
void setup_status(Binder &binder);
void setup_top(Binder &binder);
void setup_trace(Binder &binder);
void setup_unuse(Binder &binder);
void setup_use(Binder &binder);
void setup_version(Binder &binder);
void setup_web(Binder &binder);

struct CommandCode {
    std::string_view name; // as in the command table
    void (*setup)(Binder &);
};

inline constexpr CommandCode command_codes[] = {
    {"app attach", setup_app_attach},
    {"app detach", setup_app_detach},
    {"app list", setup_app_list},
    {"attach", setup_attach},
    {"bug-report", setup_bug_report},
    {"cc list", setup_cc_list},
    {"cc load", setup_cc_load},
    {"cc unload", setup_cc_unload},
    {"cc unuse", setup_cc_unuse},
    {"cc use", setup_cc_use},
    {"config apply", setup_config_apply},
    {"config check", setup_config_check},
    {"config diff", setup_config_diff},
    {"config edit", setup_config_edit},
    {"config export", setup_config_export},
    {"conns", setup_conns},
    {"decode", setup_decode},
    {"detach", setup_detach},
    {"doctor", setup_doctor},
    {"events", setup_events},
    {"explain", setup_explain},
    {"help", setup_help},
    {"path", setup_path},
    {"policy build", setup_policy_build},
    {"policy list", setup_policy_list},
    {"policy load", setup_policy_load},
    {"policy show", setup_policy_show},
    {"policy unload", setup_policy_unload},
    {"probe", setup_probe},
    {"proxy start", setup_proxy_start},
    {"proxy status", setup_proxy_status},
    {"proxy stop", setup_proxy_stop},
    {"reload", setup_reload},
    {"repair", setup_repair},
    {"rule add", setup_rule_add},
    {"rule apply", setup_rule_apply},
    {"rule counters", setup_rule_counters},
    {"rule del", setup_rule_del},
    {"rule list", setup_rule_list},
    {"run", setup_run},
    {"set", setup_set},
    {"spread list", setup_spread_list},
    {"spread off", setup_spread_off},
    {"spread on", setup_spread_on},
    {"spread probe", setup_spread_probe},
    {"stats", setup_stats},
    {"status", setup_status},
    {"top", setup_top},
    {"trace", setup_trace},
    {"unuse", setup_unuse},
    {"use", setup_use},
    {"version", setup_version},
    {"web", setup_web},
};

} // namespace mps::cli
