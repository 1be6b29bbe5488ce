// SPDX-License-Identifier: MIT
//
// The options of mpschedd: parser, --help and mpschedd(8) are made from these.
#pragma once

#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

namespace mps::service {

struct OptionText {
    std::string_view name;
    std::string_view value;
    std::string_view text;
};

inline constexpr std::string_view tagline =
    "keeps a network namespace as mpsched.toml says, across reboots, modems that come back, and quota periods";

[[nodiscard]] inline std::span<const OptionText> options() {
    static constexpr OptionText all[] = {
        {"--config", "FILE",
         "instead of /etc/mpsched/mpsched.toml; its drop-ins are in the folder of that name with .d"},
        {"--netns", "NAME", "work in this network namespace (name, path or process id)"},
        {"--state", "DIR", "folder for what outlives a reboot, instead of /var/lib/mpsched"},
        {"--watch", "STORE",
         "follow a key of etcd and write what it holds into the file: etcd:https://HOST:PORT[,https://...]/KEY"},
        {"--watch-as", "NAME", "this host's name in reports to the store, instead of its host name"},
        {"--watch-login", "FILE", "what to log in with: name:password, or a token"},
        {"--watch-ca", "FILE",
         "certificates of the authorities that the store's is to be of, instead of the system's"},
        {"--watch-cert", "FILE", "this host's certificate for the store"},
        {"--watch-cert-key", "FILE", "the key of that certificate"},
        {"--help", "", "this help"},
        {"--version", "", "the version"},
    };
    return all;
}

[[nodiscard]] inline std::string synopsis() {
    std::string text;
    for (const OptionText &option : options()) {
        text += " [";
        text += option.name;
        if (!option.value.empty()) {
            text += ' ';
            text += option.value;
        }
        text += ']';
    }
    return text;
}

// As systemd tells it (StateDirectory=), or the usual place.
[[nodiscard]] inline std::string state_folder() {
    const char *folder = std::getenv("STATE_DIRECTORY");
    return folder && *folder ? folder : "/var/lib/mpsched";
}

} // namespace mps::service
