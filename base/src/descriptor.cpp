// SPDX-License-Identifier: MIT
#include "base/descriptor.hpp"

#include <sys/socket.h>

#include <array>
#include <cstring>

namespace mps {

namespace {

struct Parcel {
    char byte = 0;
    iovec part{&byte, 1};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    msghdr message{};

    Parcel() {
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
    }
};

} // namespace

bool send_descriptor(int channel, int fd) {
    Parcel parcel;
    cmsghdr *header = CMSG_FIRSTHDR(&parcel.message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    return ::sendmsg(channel, &parcel.message, MSG_NOSIGNAL) == 1;
}

Fd receive_descriptor(int channel) {
    Parcel parcel;
    if (::recvmsg(channel, &parcel.message, MSG_CMSG_CLOEXEC) != 1)
        return {};
    const cmsghdr *header = CMSG_FIRSTHDR(&parcel.message);
    int fd = -1;
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS)
        std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    return Fd(fd);
}

} // namespace mps
