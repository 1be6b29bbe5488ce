// SPDX-License-Identifier: MIT
//
// What --persist does: the same as was done by hand, said in a drop-in of its own, mpsched.d/90-by-hand.toml.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/desired.hpp"

namespace mps::config {

class DropIn {
  public:
    // For the files at `path`. Fails where these say nothing yet: a drop-in alone would be the whole of what is desired.
    [[nodiscard]] static Result<DropIn> open(const std::string &path);

    void attach(const std::vector<std::string> &names, const std::string &mode, Role role,
                const std::string &policy);
    // No names: every interface that the files attach.
    void detach(const std::vector<std::string> &names);
    void path(const std::string &name, const std::vector<Setting> &settings);
    // Its attributes as mpsched has them without any.
    void forget(const std::string &name);
    void use(const std::string &policy, const std::vector<Setting> &settings,
             const std::optional<std::string> &selector, Direction direction = Direction::both);
    // nullopt: all rules.
    void unuse(const std::optional<std::string> &selector);
    // Parameters of the default policy or of a rule's; those of the engine go to where they belong.
    [[nodiscard]] Result<void> set(const std::vector<Setting> &settings,
                                   const std::optional<std::string> &selector);

    // Would the files be right with it?
    [[nodiscard]] Result<void> check() const;
    // The name of the file.
    [[nodiscard]] Result<std::string> save() const;

  private:
    Section &interface(const std::string &name);
    Section &rule(const std::string &selector);
    Section &only(Part part);
    // As the files are without what is to be written now; nullptr: they have no such rule.
    [[nodiscard]] const UseWish *present(const std::optional<std::string> &selector) const;
    [[nodiscard]] std::string text() const;

    std::string path_;
    std::string file_;
    std::vector<File> others_{}; // all but our own
    Desired desired_{};          // as it is now
    std::vector<Section> sections_{};
};

} // namespace mps::config
