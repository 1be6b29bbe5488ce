// SPDX-License-Identifier: MIT
//
// Standard output of commands that write as they go, a line (with --json a document in a line) at a time.
#pragma once

#include <string>

#include "json/documents.hpp"

namespace mps::output {

class Lines {
  public:
    Lines(bool json, int json_form) : json_(json), json_form_(json_form) {}

    [[nodiscard]] bool json() const { return json_; }
    // Both are false when nothing more can be written: the reader has gone, or failed().
    bool write(const std::string &text);
    bool write(mps::Json document);
    // It could not be written, and not because the reader has gone.
    [[nodiscard]] bool failed() const { return failed_; }

  private:
    bool json_;
    int json_form_;
    bool ended_ = false, failed_ = false;
};

} // namespace mps::output
