// SPDX-License-Identifier: MIT
//
// The word that was probably meant.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mps {

// Edits (insert, delete, replace, swap of neighbours) from one word to the other.
[[nodiscard]] inline std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> table(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); i++) {
        for (std::size_t j = 0; j <= b.size(); j++) {
            if (i == 0 || j == 0) {
                table[i][j] = i + j;
                continue;
            }
            table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1,
                                    table[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
        }
    }
    return table[a.size()][b.size()];
}

// The candidate that was probably meant, "" if none is near. A candidate that begins with the word wins.
[[nodiscard]] inline std::string nearest(std::string_view word, std::span<const std::string> candidates) {
    // A long word is no slip of the finger, and the table would grow with its square.
    if (word.empty() || word.size() > 64)
        return {};
    for (const std::string &candidate : candidates)
        if (word.size() >= 2 && candidate.starts_with(word))
            return candidate;
    std::string best;
    std::size_t best_distance = word.size() / 3 + 1;
    for (const std::string &candidate : candidates) {
        const std::size_t d = edit_distance(word, candidate);
        if (d <= best_distance && d < candidate.size() && (best.empty() || d < best_distance)) {
            best = candidate;
            best_distance = d;
        }
    }
    return best;
}

// "did you mean 'weighted'? ", or nothing.
[[nodiscard]] inline std::string did_you_mean(std::string_view word, std::span<const std::string> candidates,
                                              std::string_view before = {}) {
    const std::string meant = nearest(word, candidates);
    return meant.empty() ? "" : "did you mean '" + std::string(before) + meant + "'? ";
}

} // namespace mps
