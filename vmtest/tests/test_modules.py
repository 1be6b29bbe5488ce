# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""Module resolution, with modules made here: an ELF file with nothing but .modinfo."""

import lzma
import struct
import tempfile
import unittest
from pathlib import Path

from mpsvm import status
from mpsvm.modules import ModuleTree, modinfo
from mpsvm.status import VmError


def module(depends: str = "", **more: str) -> bytes:
    """A file with the sections null, .modinfo and .shstrtab."""
    info = b"\0".join(f"{k}={v}".encode() for k, v in {"license": "GPL", "depends": depends, **more}.items()) + b"\0"
    names = b"\0.modinfo\0.shstrtab\0"
    info_at, names_at = 64, 64 + len(info)
    sections_at = names_at + len(names)

    def section(name: int, at: int, size: int) -> bytes:
        return struct.pack("<IIQQQQIIQQ", name, 1, 0, 0, at, size, 0, 0, 1, 0)

    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, sections_at, 0, 64, 0, 0, 64, 3, 2)
    return header + info + names + bytes(64) + section(1, info_at, len(info)) + section(10, names_at, len(names))


class Resolution(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def add(self, name: str, data: bytes) -> None:
        path = self.folder / "kernel" / "net" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def order(self, *names: str) -> list[str]:
        return [name for name, _ in ModuleTree(self.folder).resolve(names)]

    def test_dependencies_come_first_and_once(self) -> None:
        self.add("a.ko", module("b,c"))
        self.add("b.ko", module("c"))
        self.add("c.ko", module())
        self.assertEqual(["c", "b", "a"], self.order("a", "b"))

    def test_dashes_and_underscores_are_the_same(self) -> None:
        self.add("nf-conntrack.ko", module())
        self.add("act_bpf.ko", module("nf_conntrack"))
        self.assertEqual(["nf_conntrack", "act_bpf"], self.order("act-bpf"))

    def test_packed_modules_are_unpacked(self) -> None:
        self.add("veth.ko.xz", lzma.compress(module()))
        ((name, elf),) = ModuleTree(self.folder).resolve(["veth"])
        self.assertEqual(("veth", module()), (name, elf))

    def test_built_in_modules_are_left_out(self) -> None:
        self.add("a.ko", module("tcp_cubic"))
        (self.folder / "modules.builtin").write_text("kernel/net/ipv4/tcp_cubic.ko\n")
        self.assertEqual(["a"], self.order("a", "tcp-cubic"))

    def test_an_unknown_module_is_an_error_of_its_own_status(self) -> None:
        self.add("sch_fq.ko", module())
        with self.assertRaises(VmError) as caught:
            self.order("sch_netem")
        self.assertEqual(status.MODULE, caught.exception.status)
        self.assertIn("sch_netem", caught.exception.what)
        self.assertIn("sch_fq", caught.exception.next)

    def test_a_missing_dependency_names_who_needs_it(self) -> None:
        self.add("a.ko", module("gone"))
        with self.assertRaisesRegex(VmError, "gone, which a needs"):
            self.order("a")

    def test_a_circle_is_an_error(self) -> None:
        self.add("a.ko", module("b"))
        self.add("b.ko", module("a"))
        with self.assertRaisesRegex(VmError, "circle"):
            self.order("a")

    def test_damaged_modules_are_errors(self) -> None:
        for name, data in (("a.ko", b"no ELF file"), ("b.ko.xz", b"not packed"), ("c.ko", module()[:90])):
            self.add(name, data)
            with self.assertRaises(VmError, msg=name):
                self.order(name.split(".")[0])

    def test_a_module_cut_anywhere_is_refused_or_complete(self) -> None:
        whole = module("x")
        for length in range(len(whole)):
            try:
                self.assertEqual("x", modinfo(whole[:length], "cut")["depends"], length)
            except VmError as error:
                self.assertIn("no kernel module", error.what)


if __name__ == "__main__":
    unittest.main()
