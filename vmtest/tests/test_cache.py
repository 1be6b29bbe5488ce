# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""The cache: sealed folders, damage, and several processes at once."""

import functools
import json
import multiprocessing
import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from mpsvm import cache, store
from mpsvm.catalog import Kernel
from mpsvm.status import VmError

KERNEL = Kernel("6.12", suite="s", packages=("p",))


def fake_fetch(kernel: Kernel, folder: Path) -> None:
    """As store._fetch, but makes the files here, and counts in a file how often."""

    def make(fresh: Path) -> dict[str, object]:
        with open(cache.root() / "fetches", "a") as count:
            count.write("x")
        time.sleep(0.2)
        (fresh / "vmlinux").write_bytes(b"\x7fELF kernel")
        (fresh / "modules").mkdir()
        (fresh / "modules" / "modules.builtin").write_text("kernel/net/x.ko\n")
        return {"wanted": store._wanted(kernel), "release": "6.12.0-test"}

    cache.build(folder, make)


def use(_number: int) -> str:
    with mock.patch.object(store, "_fetch", fake_fetch), tempfile.TemporaryDirectory() as work:
        with store.ready(KERNEL, Path(work)) as files:
            return files.release + ":" + files.vmlinux.read_bytes().decode("latin1")


class Cache(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name) / "cache"
        patch = mock.patch.dict(os.environ, {"MPS_VM_CACHE": str(self.folder)})
        patch.start()
        self.addCleanup(patch.stop)

    def fetches(self) -> int:
        return len((self.folder / "fetches").read_text())

    def test_where_it_is(self) -> None:
        self.assertEqual(self.folder, cache.root())
        with mock.patch.dict(os.environ, {"XDG_CACHE_HOME": "/x"}):
            del os.environ["MPS_VM_CACHE"]
            self.assertEqual(Path("/x/mpsched/kernels"), cache.root())

    def test_fetched_once_then_used(self) -> None:
        for _ in range(2):
            self.assertEqual("6.12.0-test:\x7fELF kernel", use(0))
        self.assertEqual(1, self.fetches())

    def test_damage_is_seen_and_mended(self) -> None:
        use(0)
        kernel = self.folder / "6.12"
        seal = (kernel / cache.SEAL).read_text()

        def other_packages() -> None:
            document = json.loads(seal)
            document["facts"]["wanted"]["packages"] = ["older"]
            (kernel / cache.SEAL).write_text(json.dumps(document))

        for number, damage in enumerate(
            (
                lambda: (kernel / "vmlinux").write_bytes(b"\x7fELF kernex"),
                lambda: (kernel / "vmlinux").write_bytes(b""),
                lambda: (kernel / "vmlinux").unlink(),
                lambda: (kernel / "modules" / "modules.builtin").write_text(""),
                lambda: (kernel / cache.SEAL).unlink(),
                lambda: (kernel / cache.SEAL).write_text("{"),
                lambda: (kernel / cache.SEAL).write_text('{"facts": {}, "files": []}'),
                other_packages,
            ),
            2,
        ):
            damage()
            self.assertEqual("6.12.0-test:\x7fELF kernel", use(0), number)
            self.assertEqual(number, self.fetches())

    def test_a_module_that_changed_is_seen_when_it_is_read(self) -> None:
        use(0)
        module = self.folder / "6.12" / "modules" / "y.ko"
        module.write_bytes(b"one")
        cache.write_seal(self.folder / "6.12", {"wanted": store._wanted(KERNEL), "release": ""})
        module.write_bytes(b"two")
        with self.assertRaisesRegex(cache.Damaged, "y.ko has changed"), tempfile.TemporaryDirectory() as work:
            with store.ready(KERNEL, Path(work)) as files:
                files.tree.resolve(["y"])

    def test_a_single_file_is_made_once_and_again_when_damaged(self) -> None:
        made = []

        def make(destination: Path) -> None:
            made.append(destination)
            destination.write_bytes(b"contents")

        path = self.folder / "tools" / "base"
        for damage, times in ((None, 1), (None, 1), (b"", 2), (b"contentz", 3)):
            if damage is not None:
                path.write_bytes(damage)
            self.assertEqual(b"contents", cache.file(path, make).read_bytes())
            self.assertEqual(times, len(made))

    def test_what_killed_fetches_left_is_swept(self) -> None:
        left = self.folder / ".new-6.12-abc"
        left.mkdir(parents=True)
        use(0)
        self.assertFalse(left.exists())

    def test_many_at_once_fetch_once(self) -> None:
        context = multiprocessing.get_context("fork")
        with context.Pool(4) as pool:
            answers = pool.map(use, range(8), chunksize=1)
        self.assertEqual({"6.12.0-test:\x7fELF kernel"}, set(answers))
        self.assertEqual(1, self.fetches())

    def test_a_fetch_that_fails_leaves_nothing_and_keeps_the_old(self) -> None:
        use(0)

        def failing(_kernel: Kernel, folder: Path) -> None:
            def make(fresh: Path) -> dict[str, object]:
                (fresh / "vmlinux").write_bytes(b"half")
                raise VmError("the archive is gone")

            cache.build(folder, make)

        with mock.patch.object(store, "_fetch", failing), self.assertRaisesRegex(VmError, "gone"):
            store.refresh(KERNEL, force=True)
        self.assertEqual([], [path.name for path in self.folder.iterdir() if path.name.startswith(".")])
        self.assertEqual("6.12.0-test:\x7fELF kernel", use(0))

    def test_a_kernel_that_is_there_is_not_waited_for_while_vms_run_it(self) -> None:
        use(0)
        impatient = functools.partial(cache.lock, wait_s=0.1)
        with tempfile.TemporaryDirectory() as work, mock.patch.object(cache, "lock", impatient):
            with store.ready(KERNEL, Path(work)):
                store.refresh(KERNEL)
                with self.assertRaisesRegex(VmError, "Another vmtest"):
                    store.refresh(KERNEL, force=True)
        self.assertEqual(1, self.fetches())

    def test_what_is_not_to_be_fetched_is_used_or_missed(self) -> None:
        with tempfile.TemporaryDirectory() as work, mock.patch.object(store, "_fetch", fake_fetch):
            with self.assertRaisesRegex(VmError, "6.12 is not in the cache .absent.*"):
                with store.ready(KERNEL, Path(work), fetch=False):
                    pass
            self.assertFalse((self.folder / "fetches").exists())
            use(0)
            with store.ready(KERNEL, Path(work), fetch=False) as files:
                self.assertEqual("6.12.0-test", files.release)

    def test_a_lock_that_is_never_freed_is_an_error(self) -> None:
        path = self.folder / "x.lock"
        with cache.lock(path), self.assertRaisesRegex(VmError, "Another vmtest"), cache.lock(path, wait_s=0.1):
            pass

    def test_a_cache_that_cannot_be_written_is_an_error(self) -> None:
        self.folder.write_text("a file")
        with self.assertRaisesRegex(VmError, "MPS_VM_CACHE|cannot be made"):
            use(0)


if __name__ == "__main__":
    unittest.main()
