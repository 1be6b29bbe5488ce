# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Whether KVM works here. Found out by booting a kernel with it: /dev/kvm may exist and be useless."""

from __future__ import annotations

import io
import json
import os
import tempfile
import time
from pathlib import Path

from . import cache, cpio, guest, qemu
from .arch import AMD64

PROBE_LIMIT_S = 20.0
DEVICE = Path("/dev/kvm")


def kvm_works(vmlinux: Path) -> tuple[bool, str]:
    """(True, "") or (False, why). The answer is kept until this machine is booted anew or QEMU changes."""
    if not DEVICE.exists():
        return False, f"there is no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return False, f"{DEVICE} is not open to this user"
    program = qemu.find(AMD64)
    key = [Path("/proc/sys/kernel/random/boot_id").read_text().strip(), program, os.stat(program).st_mtime_ns, 1]
    memory = cache.root() / "tools" / "kvm.json"
    with cache.lock(cache.root() / "tools" / "kvm.lock"):
        try:
            known = json.loads(memory.read_text())
            if known["key"] == key:
                return bool(known["works"]), str(known["why"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        works, why = _probe(vmlinux)
        partial = memory.with_name(f".kvm.json-{os.getpid()}")
        partial.write_text(json.dumps({"key": key, "works": works, "why": why}) + "\n")
        partial.rename(memory)
    return works, why


def _probe(vmlinux: Path) -> tuple[bool, str]:
    """Boots to an /init that ends the VM at once."""
    with tempfile.TemporaryDirectory(prefix="mps-kvm-") as name:
        work = Path(name)
        archive = io.BytesIO()
        writer = cpio.Writer(archive)
        writer.folder("dev")
        writer.device("dev/console", 5, 1)
        writer.file("init", guest.helper(), 0o755)
        writer.finish()
        (work / "initramfs").write_bytes(archive.getvalue())
        ports = qemu.Ports(work / "console", work / "output", work / "error", work / "control")
        machine = qemu.Machine(virtual_time=False, kvm=True)
        process = qemu.start(qemu.command(machine, vmlinux, work / "initramfs", ports), work / "qemu")
        deadline = time.monotonic() + PROBE_LIMIT_S
        try:
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            code = process.poll()
        finally:
            qemu.stop(process)
        if code == qemu.DONE_STATUS:
            return True, ""
        if code is None:
            return False, f"a kernel did not come up with it within {PROBE_LIMIT_S:g} s"
        said = (work / "qemu").read_text(errors="replace").strip().splitlines()
        return False, said[-1] if said else f"QEMU ended with status {code}"
