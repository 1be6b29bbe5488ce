# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Kernel images: from a bzImage to the ELF file in it, which QEMU starts without the kernel's own decompressor."""

from __future__ import annotations

import gzip
import lzma
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

from .status import VmError

ELF_MAGIC = b"\x7fELF"
# Documentation/arch/arm64/booting.rst: at 0x38. QEMU starts such an image as it is.
ARM64_MAGIC = b"ARM\x64"
# Magic number, tool; None: the standard library can do it.
COMPRESSIONS: tuple[tuple[bytes, str | None], ...] = (
    (b"\xfd7zXZ\x00", None),
    (b"\x1f\x8b", None),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
)


def extract_elf(image: bytes, name: str) -> bytes:
    """The ELF kernel inside a bzImage (`name` is for messages). An ELF file is returned as it is."""
    if image.startswith(ELF_MAGIC):
        return image
    if image.startswith(b"\x1f\x8b"):
        image = _decompress(image, f"{name} is no usable kernel image: ")
    if image[0x38:0x3C] == ARM64_MAGIC:
        return image
    broken = f"{name} is no usable kernel image: "
    # Documentation/arch/x86/boot.rst: setup_sects at 0x1f1, "HdrS" at 0x202, payload_offset and _length at 0x248.
    if len(image) < 0x250 or image[0x202:0x206] != b"HdrS":
        raise VmError(broken + "it has no boot header.")
    setup_sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    payload = image[start : start + length]
    if length == 0 or len(payload) != length:
        raise VmError(broken + f"its payload of {length} bytes is not all there.")
    elf = _decompress(payload, broken)
    if not elf.startswith(ELF_MAGIC):
        raise VmError(broken + "what is packed in it is no ELF file.")
    return elf


def _decompress(payload: bytes, broken: str) -> bytes:
    # The kernel's build appends the unpacked size to the payload, which every unpacker takes for garbage: what
    # counts is what came out before, and the caller looks at that.
    for magic, tool in COMPRESSIONS:
        if not payload.startswith(magic):
            continue
        try:
            if tool is None and magic == b"\x1f\x8b":
                return zlib.decompressobj(wbits=31).decompress(payload)
            if tool is None:
                return lzma.LZMADecompressor().decompress(payload)
        except (lzma.LZMAError, zlib.error, gzip.BadGzipFile) as error:
            raise VmError(broken + f"its payload is damaged ({error}).") from None
        assert tool is not None
        if not shutil.which(tool):
            raise VmError(f"{tool} is missing; the kernel is packed with it.", f"Install the package {tool}.")
        done = subprocess.run([tool, "-dc"], input=payload[:-4], capture_output=True, check=False)
        if done.returncode != 0:
            complaint = done.stderr.decode(errors="replace").strip()
            raise VmError(broken + f"its payload is damaged ({tool}: {complaint[-200:]}).")
        return done.stdout
    raise VmError(broken + f"its payload is packed in an unknown way ({payload[:6].hex()}).")


def write_elf(image: Path, destination: Path) -> None:
    """Extracts `image` into the file `destination`. Raises VmError."""
    try:
        data = image.read_bytes()
    except OSError as error:
        raise VmError(f"{image}: {error.strerror}") from None
    destination.write_bytes(extract_elf(data, image.name))
