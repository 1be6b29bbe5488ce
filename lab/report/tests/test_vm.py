# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The whole command with real VMs, but with a program in place of mpsched-lab that needs no network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from mpslab import session
from mpsvm import cache, guest, qemu
from mpstest.units import everyday
from tests import fake

MATRIX = Path(__file__).resolve().parents[2] / "lab-matrix"
LIST = [{"name": name, "title": name, "paths": ["fast", "slow"]} for name in ("good", "hangs", "spins", "bad")]

# In the guest it is a script as well. The documents are in a folder beside it, which is in the guest as all of bin/.
SCRIPT = """#!/bin/bash
here=$(dirname "$0")
if [ "$1" = list ]; then cat "$here/list.json"; exit; fi
case $2 in
good) sleep 40; sed "s/\\"seed\\": 1/\\"seed\\": $6/; s/null, \\"first_path/$MPS_VIRTUAL_TIME, \\"first_path/" "$here/good.json" ;;
hangs) sleep 100000 ;;
spins) while :; do :; done ;;
bad) echo 'the last word' >&2; exit 9 ;;
esac
"""


class Vms(unittest.TestCase):
    def setUp(self) -> None:
        if not shutil.which(qemu.AMD64.qemu):
            self.skipTest(f"there is no {qemu.AMD64.qemu}")
        if cache.read_facts(cache.root() / session.DEFAULT_KERNEL) is None:
            self.skipTest(f"kernel {session.DEFAULT_KERNEL} is not in the cache")
        folder = tempfile.TemporaryDirectory(prefix="mps-lab-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        binaries = self.folder / "build" / "bin"
        binaries.mkdir(parents=True)
        (binaries / "mpsched-lab").write_text(SCRIPT)
        (binaries / "mpsched").write_text("#!/bin/bash\necho '[{\"name\": \"default\"}]'\n")
        for program in binaries.iterdir():
            program.chmod(0o755)
        (binaries / "list.json").write_text(json.dumps(LIST))
        (binaries / "good.json").write_text(json.dumps(fake.document("good", metrics={"completion_ms": 5.0})))

    def command(self, *words: str) -> list[str]:
        build = ["--build", str(self.folder / "build"), "--out", str(self.folder / "out")]
        return [sys.executable, str(MATRIX), *words, "--policy", "default", *build]

    def test_runs_that_hang_or_fail_leave_the_others(self) -> None:
        # The two hours that a guest gives a run to end take a busy machine more than 30 s.
        line = self.command("good", "hangs", "bad", "--seeds", "1", "--timeout", "300", "--jobs", "2")
        done = subprocess.run(line, capture_output=True, text=True, timeout=700, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("1 ok, 2 failed", done.stdout)
        self.assertIn("good default seed 1", done.stderr)
        self.assertRegex(done.stderr, r"hangs default seed 1 .*FAILED: the run did not end and was killed")
        self.assertIn("the run ended with status 9, and it printed no result\n    the last word", done.stdout)

    def test_a_run_that_never_idles_is_ended(self) -> None:
        line = self.command("spins", "--seeds", "1", "--timeout", "20")
        done = subprocess.run(line, capture_output=True, text=True, timeout=700, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertRegex(done.stderr, r"spins default seed 1 .*FAILED: time-out")

    @everyday
    def test_several_runs_in_one_vm(self) -> None:
        line = self.command("good", "--seeds", "3", "--per-vm", "3")
        done = subprocess.run(line, capture_output=True, text=True, timeout=400, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("3 ok, 0 failed", done.stdout)

    def test_ctrl_c_ends_all_vms(self) -> None:
        line = self.command("spins", "--seeds", "4", "--jobs", "2")
        with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            try:
                deadline = time.monotonic() + 60
                while len(children(running.pid)) < 2 and time.monotonic() < deadline:
                    time.sleep(0.1)
                vms = children(running.pid)
                self.assertEqual(len(vms), 2)
                os.kill(running.pid, signal.SIGINT)
                out, err = running.communicate(timeout=30)
            finally:
                running.kill()
        self.assertEqual(running.returncode, 130, err)
        self.assertIn("0 ok, 0 failed, 4 not run", out)
        self.assertIn("interrupted", err)
        self.assertEqual([vm for vm in vms if Path(f"/proc/{vm}").exists()], [])


class OwnPolicy(unittest.TestCase):
    """With the real programs."""

    def setUp(self) -> None:
        if not shutil.which(qemu.AMD64.qemu) or cache.read_facts(cache.root() / session.DEFAULT_KERNEL) is None:
            self.skipTest("there is no QEMU or no kernel for it")
        self.build = guest.REPOSITORY / "build"
        if not all((self.build / "bin" / name).exists() for name in ("mpsched", "mpsched-lab")):
            self.skipTest("nothing is built in build/")
        folder = tempfile.TemporaryDirectory(prefix="mps-lab-test-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def lab(self, source: str) -> subprocess.CompletedProcess[str]:
        """Measures a policy in the cheapest scenario; its name is given without a folder, as people do in theirs."""
        (self.folder / "mine.bpf.c").write_text(source)
        line = [sys.executable, str(MATRIX), "S14/active", "--policy", "mine.bpf.c", "--seeds", "1", "--out", "out"]
        return subprocess.run(line, capture_output=True, text=True, timeout=400, check=False, cwd=self.folder)

    @everyday
    def test_a_policy_of_ones_own_is_measured_and_one_that_does_not_load_is_refused(self) -> None:
        readme = (guest.REPOSITORY / "schedulers" / "README.md").read_text()
        tutorial = readme.partition("```c\n")[2].partition("```")[0]
        done = self.lab(tutorial)
        self.assertEqual(done.returncode, 0, done.stderr)
        (run,) = json.loads((self.folder / "out" / "results.json").read_text())["runs"]
        self.assertEqual((run["key"]["policy"], run["result"]["policy"]["name"]), ("roomiest", "roomiest"))
        self.assertEqual(run["result"]["policy"]["sha256"], run["policy"]["sha256"])
        self.assertTrue(run["policy"]["sha256"].startswith(run["key"]["object"]))
        self.assertEqual(run["policy"]["params"], {"max_cost": "100"})
        self.assertIs(run["result"]["virtual_time"], True)
        done = self.lab(tutorial.replace("out->allowed = 1u << i;", "out->allowed = v->sf[v->now_us].cost;"))
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("'roomiest' does not load on kernel", done.stderr)
        self.assertIn("verifier", done.stderr)
        self.assertNotIn("1/1", done.stderr)


def children(pid: int) -> list[int]:
    """QEMUs that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name.startswith("qemu") and int(rest.split()[1]) == pid:
            found.append(int(path.parent.name))
    return found
