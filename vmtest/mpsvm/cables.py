# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Virtio network cards for a guest, two at each cable. What one sends the other receives, with all that a host offers to cards.

A card's other side is a tap device, since of QEMU's own network backends none takes what a guest leaves to the card: checksums and
segmentation. Taps and cables (bridges) are in a network namespace that QEMU runs in, and are gone with it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

MOST = 8
DRIVER = "virtio_net"

# $1: how many cables; the rest: QEMU's command line. Another user than root gets the namespace with a user namespace, which takes
# back what the parent's death was to send.
SCRIPT = """set -eu
cables=$1
shift
cable=0
while [ "$cable" -lt "$cables" ]; do
    ip link add "cable$cable" type bridge mcast_snooping 0
    for end in 0 1; do
        ip tuntap add dev "card$cable$end" mode tap vnet_hdr
        ip link set "card$cable$end" master "cable$cable" addrgenmode none up
    done
    ip link set "cable$cable" addrgenmode none up
    cable=$((cable + 1))
done
exec setpriv --pdeathsig KILL "$@"
"""


def cards(cables: int) -> list[str]:
    """QEMU's words. The last two octets of a card's address tell which cable it is at, and which end."""
    words = []
    for cable in range(cables):
        for end in range(2):
            name = f"card{cable}{end}"
            words += [
                "-netdev", f"tap,id={name},ifname={name},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev={name},mac=02:00:00:00:{cable:02x}:{end:02x},romfile=",
            ]  # fmt: skip
    return words


def inside(cables: int, line: Sequence[str]) -> list[str]:
    """The command line that runs `line` where these cables are."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", "--net", *own, "sh", "-c", SCRIPT, "sh", str(cables), *line]
