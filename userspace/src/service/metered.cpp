// SPDX-License-Identifier: MIT
#include "service/metered.hpp"

#include <fmt/format.h>

#include "mpsched/links.hpp"

namespace mps::service {

namespace {

std::string_view to_string(NetworkManager::State state) {
    switch (state) {
    case NetworkManager::State::answers:
        return "answers";
    case NetworkManager::State::silent:
        return "silent";
    case NetworkManager::State::absent:
        return "absent";
    default:
        return "no bus";
    }
}

std::string_view by_whom(const MeteredWord &word) {
    return word.guessed ? "NetworkManager guesses" : "NetworkManager says";
}

} // namespace

bool Metered::look(bool interfaces_changed) {
    if (!interfaces_changed && bus_.words() == seen_)
        return false;
    seen_ = bus_.words();
    std::map<std::string, MeteredWord> ours;
    // Without a word there is nothing to look for.
    const auto links = seen_.empty() ? Result<std::vector<Link>>() : mps::links(instance_);
    if (!links)
        return false;
    for (const Link &link : *links) {
        const auto word = seen_.find(link.name);
        if (word == seen_.end())
            continue;
        const bool compares = !word->second.address.empty() && !link.address.empty();
        if (compares ? word->second.address == link.address : !elsewhere_)
            ours.insert(*word);
    }
    if (ours == ours_)
        return false;
    for (const auto &[name, word] : ours)
        if (const auto before = ours_.find(name);
            word.metered != (before != ours_.end() && before->second.metered))
            news_.push_back(
                fmt::format("{} is {}metered: {} so", name, word.metered ? "" : "not ", by_whom(word)));
    ours_ = std::move(ours);
    return true;
}

std::set<std::string> Metered::names() const {
    std::set<std::string> names;
    for (const auto &[name, word] : ours_)
        if (word.metered)
            names.insert(name);
    return names;
}

std::map<std::string, bool> Metered::flags() const {
    std::map<std::string, bool> flags;
    for (const auto &[name, word] : ours_)
        flags[name] = word.metered;
    return flags;
}

Json Metered::describe() const {
    const auto state = bus_.state();
    if (ours_.empty() && state != NetworkManager::State::answers && state != NetworkManager::State::silent)
        return nullptr;
    Json all{{"state", to_string(state)}, {"metered", Json::array()}};
    for (const auto &[name, word] : ours_)
        all["metered"].push_back({{"interface", name}, {"metered", word.metered}, {"guessed", word.guessed}});
    return all;
}

std::vector<std::string> Metered::news() {
    std::vector<std::string> all = bus_.news();
    all.insert(all.end(), news_.begin(), news_.end());
    news_.clear();
    return all;
}

} // namespace mps::service
