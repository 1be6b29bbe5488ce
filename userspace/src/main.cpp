// SPDX-License-Identifier: MIT

#include <string>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "cli/session.hpp"

namespace {

// Started with a standard stream closed, the first BPF map we open would become that stream, and our output
// would be written into it.
void open_standard_streams() {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) == -1 && open("/dev/null", O_RDWR) != fd)
            _exit(1);
}

} // namespace

int main(int argc, char **argv) {
    open_standard_streams();
    return mps::cli::run_session(argc > 1 ? std::vector<std::string>(argv + 1, argv + argc)
                                          : std::vector<std::string>{});
}
