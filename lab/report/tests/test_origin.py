# SPDX-License-Identifier: MIT
# Copyright mpsched contributors

from __future__ import annotations

import os
import subprocess
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from mpslab import origin
from mpslab.origin import Origin


class Of(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def git(self, *words: str) -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.com"]
        subprocess.run(["git", "-C", str(self.folder), *who, *words], check=True, capture_output=True)

    def test_a_work_tree_tells_its_commit_and_whether_files_differ_from_it(self) -> None:
        self.assertEqual(origin.of(self.folder), Origin("", None))
        self.git("init")
        (self.folder / "file").write_text("1")
        self.git("add", ".")
        self.git("commit", "-m", "x")
        clean = origin.of(self.folder)
        self.assertEqual((len(clean.commit), clean.dirty), (40, False))
        (self.folder / "another").write_text("results are no change of the sources")
        self.assertFalse(origin.of(self.folder).dirty)
        (self.folder / "file").write_text("2")
        self.assertEqual(origin.of(self.folder), Origin(clean.commit, True))

    def test_only_what_was_just_built_is_of_the_present_sources(self) -> None:
        for told, built in ((None, False), ("/elsewhere", False), (str(self.folder), True)):
            with mock.patch.dict(os.environ, {origin.BUILT: told} if told else {}):
                self.assertEqual(origin.is_built(self.folder), built)

    def test_it_reads_as_people_say_it(self) -> None:
        self.assertEqual(str(Origin("0123456789abcdef", False)), "0123456789ab")
        self.assertIn("not committed", str(Origin("0123456789abcdef", True)))
        self.assertEqual(str(Origin()), "an unknown commit")
