# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""One script of the kernel's selftests on this machine's own kernel, in real time.

It gets network, mount and process namespaces of its own, so that it meets nothing of this machine's network and whatever it
leaves running ends with it. What this kernel lacks (netem, for instance) makes subtests fail or skip, with mpsched or without.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import guest
from .status import VmError

# In the new namespaces: what would be this machine's, and what a script finds after the boot of a guest.
PREPARE = """set -e
mkdir -p /run/netns && mount -t tmpfs -o mode=0755 tmpfs /run/netns
mkdir "$MPS_SELFTEST_LOG/bpf" && mount -t bpf -o mode=0700 bpf "$MPS_SELFTEST_LOG/bpf"
ip link set lo up
set +e
cd "$1" && bash "./$2.sh" "${@:3}" >"$MPS_SELFTEST_LOG/output" 2>&1
echo $? >"$MPS_SELFTEST_LOG/status"
"""
NAMESPACES = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private")


@dataclass(frozen=True)
class Outcome:
    """What a script left behind. `status` is None if it was ended."""

    output: bytes
    failures: bytes
    stats: bytes
    status: int | None


def check() -> None:
    """Raises VmError if this machine cannot run them."""
    if os.geteuid() != 0:
        raise VmError("Only root can make the namespaces for it.", "Run it as root, or without --here: a VM needs no rights.")
    for name, package in (("unshare", "util-linux"), ("ip", "iproute2"), ("iptables", "iptables"), ("nft", "nftables"), ("ping", "iputils-ping")):
        guest.find_tool(name, package)


def has_netem() -> bool:
    """Whether this kernel can give paths a rate and a delay as the scripts do."""
    words = ("unshare", "--net", "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def run(folder: Path, words: Sequence[str], attach: str, build: Path, timeout_s: float, stop: threading.Event) -> Outcome:
    """Runs a script in `folder`, named by the first of `words`, the others its arguments, with mpsched from `build`; `attach` are options of 'mpsched attach', or empty."""
    with tempfile.TemporaryDirectory(prefix="mpsched-selftest-") as name:
        place = Path(name)
        scripts = place / "net"
        # The scripts write beside themselves.
        shutil.copytree(folder, scripts)
        log = place / "log"
        log.mkdir()
        commands = place / "bin"
        commands.mkdir()
        (commands / "ip").symlink_to(guest.HERE / "guest" / "selftest-ip.sh")
        environment = os.environ | {
            "PATH": f"{commands}:{build / 'bin'}:{os.environ['PATH']}",
            "MPS_BPFFS": str(log / "bpf"),
            "MPS_SELFTEST_LOG": str(log),
            "MPS_SELFTEST_ATTACH": attach,
        }
        line = [*NAMESPACES, "bash", "-c", PREPARE, "selftest", str(scripts / "mptcp"), *words]
        with subprocess.Popen(
            line, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            complaint = _wait(process, timeout_s, stop)
        status = log / "status"
        if not status.exists() and not stop.is_set() and not (log / "output").exists():
            raise VmError(f"The namespaces for a selftest could not be made: {complaint.strip()}", "Run it without --here.")
        return Outcome(
            _read(log / "output"),
            _read(log / "failures"),
            _read(log / "stats"),
            int(status.read_text()) if status.exists() else None,
        )


def _wait(process: subprocess.Popen[bytes], timeout_s: float, stop: threading.Event) -> str:
    """Until it has ended, or is to be: `unshare --kill-child` takes all that it started with it."""
    waited = 0.0
    while True:
        try:
            return process.communicate(timeout=0.5)[1].decode(errors="replace")
        except subprocess.TimeoutExpired:
            waited += 0.5
            if stop.is_set() or waited > timeout_s:
                process.send_signal(signal.SIGKILL)


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""
