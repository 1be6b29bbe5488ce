# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""/etc/config/mpsched of OpenWrt, as its recipe makes mpsched.toml of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import tomllib
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "packaging/openwrt/mpsched/files"
SETTINGS = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")

ODD = r"""package mpsched

config top
	option max_connections '100'

config service 'service'
	option enabled '1'

config interface 'a'
	list name 'wan'
	list name "w\"x"
	option default_route 'on'
	option attach '0'

option weight 3 # bare
""" + "config rule\r\n" + r"""	option for 'user=o'\''neil'
	option policy 'weighted'
	list set 'lead_bytes=16Ki'
	list set 'b_2=7'
"""


def run(uci: str, awk: str = "") -> subprocess.CompletedProcess[str]:
    """`awk`: a folder whose awk is to be used, else this machine's."""
    path = os.pathsep.join([awk, os.environ["PATH"]]) if awk else os.environ["PATH"]
    return subprocess.run([RECIPE / "uci-to-toml"], input=uci, text=True, capture_output=True,
                          env=os.environ | {"PATH": path}, check=False)


def translate(uci: str, awk: str = "") -> dict[str, Any]:
    """What mpsched.toml says then."""
    done = run(uci, awk)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(done.stderr)
    return tomllib.loads(done.stdout)


class Translation(unittest.TestCase):
    """uci-to-toml."""

    def test_the_file_that_is_installed_is_what_it_says(self) -> None:
        said = translate((RECIPE / "mpsched.config").read_text(encoding="utf-8"))
        self.assertEqual(said["version"], 1)
        self.assertEqual(said["default"], {"policy": "overflow"})
        self.assertEqual(said["interface"][0], {"name": ["wan"], "default_route": True})
        self.assertEqual(said["interface"][1]["quota"], "5GB")
        self.assertNotIn("service", said)
        for section in said["interface"]:
            for key in section:
                self.assertIn(f"| `{key}`", SETTINGS)

    def test_quotes_lists_flags_and_numbers_come_through_every_awk(self) -> None:
        busybox = shutil.which("busybox")
        self.assertIsNotNone(busybox)
        with tempfile.TemporaryDirectory() as folder:
            os.symlink(str(busybox), f"{folder}/awk")
            for awk in ("", folder):
                with self.subTest(awk=awk or "this machine's"):
                    self.assertEqual(translate(ODD, awk), {
                        "version": 1,
                        "max_connections": 100,
                        "interface": [{"name": ["wan", 'w"x'], "default_route": True, "attach": False, "weight": 3}],
                        "rule": [{"for": "user=o'neil", "policy": "weighted", "set": {"lead_bytes": "16Ki", "b_2": 7}}],
                    })

    def test_what_cannot_be_read_is_refused_with_its_line(self) -> None:
        for uci, line, why in (
            ("option a 'b'\n", 1, "no section"),
            ("config rule\n\toption for 'rport=1\n", 2, "not closed"),
            ("config rule\n\toption for\n", 2, "no value"),
            ("config rule\n\toption for rport=1 rport=2\n", 2, "more than one value"),
            ("config rule\n\n\tset for x\n", 3, "config, option and list"),
            ("config default\nconfig top\n", 2, "before all other sections"),
            ("config rule\n\tlist set 'x'\n", 2, "key=value"),
            ("config 'a]b'\n", 1, "needs a type"),
        ):
            with self.subTest(uci=uci):
                done = run(uci)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"line {line}: ", done.stderr)
                self.assertIn(why, done.stderr)

    def test_every_flag_and_every_section_of_mpsched_toml_is_known(self) -> None:
        flags = re.findall(r"^\| `([a-z_]+)`(?: \(required\))? \| true, false \|", SETTINGS, re.MULTILINE)
        self.assertGreater(len(flags), 5)
        for flag in flags:
            self.assertIs(translate(f"config x\n\toption {flag} '1'\n")["x"][flag], True)
        headings = re.findall(r"^## `(\[+)([a-z_]+)\]+`$", SETTINGS, re.MULTILINE)
        self.assertGreater(len(headings), 8)
        for brackets, name in headings:
            self.assertIsInstance(translate(f"config {name}\n")[name], list if brackets == "[[" else dict, name)

    def test_the_scripts_are_right_for_a_small_shell(self) -> None:
        for name in ("uci-to-toml", "mpschedd.init"):
            subprocess.run(["busybox", "sh", "-n", RECIPE / name], check=True)
