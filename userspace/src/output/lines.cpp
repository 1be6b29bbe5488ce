// SPDX-License-Identifier: MIT

#include "output/lines.hpp"

#include <cerrno>
#include <cstdio>

namespace mps::output {

bool Lines::write(const std::string &text) {
    if (ended_)
        return false;
    errno = 0;
    if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
        return true;
    ended_ = true;
    failed_ = errno != EPIPE;
    return false;
}

bool Lines::write(mps::Json document) {
    if (json_form_ != 2)
        return write(document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    mps::Json versioned{{"version", 2}};
    versioned.update(document);
    return write(versioned.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

} // namespace mps::output
