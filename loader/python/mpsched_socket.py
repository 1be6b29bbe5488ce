# SPDX-License-Identifier: MIT
"""What an application may say about its own MPTCP sockets: mps/socket_options.h from Python.

    import mpsched_socket as app
    app.policy(sock, "active-standby")
    app.avoid(sock, "wwan0")
    for subflow in app.subflows(sock):
        print(subflow.ifname, subflow.cost, subflow.allowed)

Needs neither libmpsched nor mpsched. Where nobody steers, or an application may not choose, the kernel answers: OSError with ENOPROTOOPT when
something is said, EOPNOTSUPP when something is asked. Wrap what may fail so in `attempt`.
"""

import collections
import contextlib
import errno
import socket
import struct

SOL_MPTCP = 284
INFO, POLICY, AVOID, COST_LIMIT, PREFER, DEADLINE, SIZE = range(0x4D00, 0x4D07)
STATE, SUBFLOWS = 0x4D10, 0x4D11
BOTH, SEND, RECEIVE = 0, 1, 2
LATENCY, THROUGHPUT, COST, ENERGY = 1, 2, 3, 4
_NONE = 2**64 - 1
_ROOM = 1024  # the most that socket.getsockopt() takes
_ENERGY = ("none", "wifi", "3g", "lte", "5g")
_STATE_FLAGS = {"steered": 17, "in_force": 18}
_SUBFLOW_FLAGS = {
    "usable": 0, "backup": 1, "steered": 2, "allowed": 3, "peer_told": 7, "peer_avoids": 8, "avoided": 9,
}  # fmt: skip

Info = collections.namedtuple("Info", "version max_cost policies")
State = collections.namedtuple(
    "State", ["token", "policy", "rx_policy", "preference", "cost_limit", "avoided", "size", "deadline_s", *_STATE_FLAGS]
)
Subflow = collections.namedtuple(
    "Subflow",
    "id ifname ifindex energy cost priority weight srtt_us rttvar_us min_rtt_us cwnd_segs mss_bytes bytes_acked"
    " bytes_received quota_left_bytes reason reason_number " + " ".join(_SUBFLOW_FLAGS),
)


@contextlib.contextmanager
def attempt():
    """Goes on where nobody steers; other mistakes are raised."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            raise


def _set(sock, option, value):
    sock.setsockopt(SOL_MPTCP, option, value)


def _number(sock, option, value):
    _set(sock, option, struct.pack("=Q", _NONE if value is None else value))


def _name(octets):
    return octets.split(b"\0", 1)[0].decode()


def _bits(flags, names):
    return {name: bool(flags >> bit & 1) for name, bit in names.items()}


def policy(sock, name, direction=BOTH):
    """One of info().policies; "": as everybody's."""
    octets = name.encode()
    if len(octets) > 31:
        raise OSError(errno.ENOENT, "no such policy", name)
    _set(sock, POLICY, struct.pack("=II32s", direction, 0, octets))


def prefer(sock, what):
    """LATENCY, THROUGHPUT, COST, ENERGY, or None."""
    _number(sock, PREFER, what)


def avoid(sock, *interfaces):
    """All interfaces, names or indices, that are not to be used; none: all may."""
    indices = [one if isinstance(one, int) else socket.if_nametoindex(one) for one in interfaces]
    if len(indices) > 7:
        raise OSError(errno.EINVAL, "too many interfaces")
    _set(sock, AVOID, struct.pack("=8I", len(indices), *indices, *[0] * (7 - len(indices))))


def cost_limit(sock, cost):
    _number(sock, COST_LIMIT, cost)


def deadline(sock, seconds):
    """Within which each message should be delivered."""
    _number(sock, DEADLINE, None if seconds is None else round(seconds * 1e6))


def size(sock, octets):
    """How large the next message is."""
    _number(sock, SIZE, octets)


def info(sock):
    version, most, count, _ = struct.unpack_from("=4I", value := sock.getsockopt(SOL_MPTCP, INFO, _ROOM))
    names = [_name(value[16 + 32 * i : 48 + 32 * i]) for i in range(count)]
    return Info(version, None if most == 2**32 - 1 else most, [name for name in names if name])


def state(sock):
    fields = struct.unpack_from("=II32s32sII8IQII", sock.getsockopt(SOL_MPTCP, STATE, _ROOM))
    flags, token, tx, rx, preference, limit, count = fields[:7]
    return State(
        token=token, policy=_name(tx), rx_policy=_name(rx), preference=preference or None,
        cost_limit=None if limit == 2**32 - 1 else limit, avoided=list(fields[7 : 7 + count]),
        size=fields[14] if flags >> 5 & 1 else None, deadline_s=fields[15] / 1e6 if flags >> 4 & 1 else None,
        **_bits(flags, _STATE_FLAGS),
    )  # fmt: skip


def subflows(sock):
    value = sock.getsockopt(SOL_MPTCP, SUBFLOWS, _ROOM)
    _, filled, stride, _ = struct.unpack_from("=4I", value)
    result = []
    for i in range(filled):
        (number, flags, name, ifindex, energy, cost, priority, weight, srtt, rttvar, least, cwnd, mss, acked, received,
         left, reason, _, reason_number) = struct.unpack_from("=II16s10I3QHHi", value, 16 + i * stride)  # fmt: skip
        result.append(
            Subflow(
                number, _name(name), ifindex, _ENERGY[energy] if energy < len(_ENERGY) else str(energy), cost, priority,
                weight, srtt, rttvar, least, cwnd, mss, acked, received, left if flags >> 6 & 1 else None,
                reason if flags >> 4 & 1 else None, reason_number if flags >> 5 & 1 else None,
                **_bits(flags, _SUBFLOW_FLAGS),
            )  # fmt: skip
        )
    return result
