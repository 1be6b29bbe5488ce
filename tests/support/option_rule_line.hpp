// SPDX-License-Identifier: MIT
//
// A rule about MPTCP options as it is typed: "wan0 in mp_join neutralise rport=443".
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include "mpsched/option_rules.hpp"

namespace mps::test {

inline Result<OptionRule> option_rule_of(const std::string &line) {
    std::istringstream words(line);
    std::string interface, direction, option, action;
    words >> interface >> direction >> option >> action;
    std::vector<Setting> matches;
    for (std::string word; words >> word;)
        matches.push_back({word.substr(0, word.find('=')), word.substr(word.find('=') + 1)});
    return make_option_rule(interface, direction, option, action, matches);
}

} // namespace mps::test
