# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
"""vmtest from the outside: real VMs, and everything a command can do to them."""

import fcntl
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
import unittest
from collections.abc import Callable
from pathlib import Path

from mpstest.units import everyday

HERE = Path(__file__).resolve().parent.parent
KERNEL = os.environ.get("MPS_VM_TEST_KERNEL", "6.12")
LIMIT_S = 400  # of one run, on a machine that has other things to do as well


def ran_by(process: int) -> list[int]:
    """The QEMU processes whose parent is `process`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        name, _, rest = stat.partition("(")[2].rpartition(")")
        if name.startswith("qemu-system") and int(rest.split()[1]) == process and rest.split()[0] != "Z":
            found.append(int(folder.name))
    return found


def until(condition: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s} s for: {what}")
        time.sleep(0.05)


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@unittest.skipUnless(shutil.which("qemu-system-x86_64"), "qemu-system-x86_64 is missing (./run setup vmtest)")
class Vm(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        # Where vmtest puts its work folders, so that we see whether one is left.
        self.work = self.folder / "tmp"
        self.work.mkdir()
        self.environment = os.environ | {"TMPDIR": str(self.work), "PYTHONDONTWRITEBYTECODE": "1"}

    def start(self, *words: str, kernel: str = KERNEL, **more: str) -> subprocess.Popen[bytes]:
        # Nothing of the build, which only takes time to copy.
        line = [str(HERE / "vmtest"), *(["-k", kernel] if kernel else []), "--build", str(self.folder), *words]
        return subprocess.Popen(
            line, cwd=self.folder, env=self.environment | more, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def run_vm(self, wanted: int, *words: str, kernel: str = KERNEL, **more: str) -> subprocess.CompletedProcess[bytes]:
        """Runs vmtest, checks its status and that nothing is left of it."""
        process = self.start(*words, kernel=kernel, **more)
        try:
            out, error = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()
        self.assertEqual(wanted, process.returncode, error.decode(errors="replace")[-3000:])
        self.assertEqual([], list(self.work.iterdir()))
        return subprocess.CompletedProcess(words, process.returncode, out, error)


class Reboot(Vm):
    """A machine that boots twice with mpschedd's files and the folder of its state (tests/e2e/robust_reboot.cpp)."""

    BUILD = HERE.parent / "build"

    @everyday
    @unittest.skipUnless((BUILD / "bin/tests/robust_service").exists(), "nothing is built in build/")
    def test_what_the_files_ask_for_is_in_force_before_the_first_connection_and_quotas_go_on(self) -> None:
        state = self.folder / "state"
        state.mkdir()
        for boot in ("first boot", "second boot"):
            # Root's alone, as systemd makes it.
            script = (
                f"cp -r /kept /state && chmod 700 /state && {self.BUILD}/bin/tests/robust_service '[reboot]'; status=$?; "
                "for file in /state/*; do vmctl put $file; done; exit $status"
            )
            done = self.run_vm(
                0, "--build", str(self.BUILD), "--add", f"{state}:/kept", "--out", str(state), "-e", "MPS_REBOOT_STATE=/state", "--", script,
            )  # fmt: skip
            self.assertIn(boot.encode(), done.stdout + done.stderr)
            self.assertTrue((state / "quota.db").exists())


class Commands(Vm):
    @everyday
    def test_status_outputs_arguments_environment_folder_and_built_programs(self) -> None:
        program = self.folder / "build" / "bin" / "tool"
        program.parent.mkdir(parents=True)
        program.write_text('#!/bin/sh\nprintf "[%s]" "$@" "$COLOUR" "$PWD"\nid -u >&2\nexit 3\n')
        program.chmod(0o755)
        done = self.run_vm(3, "--build", "build", "-e", "COLOUR=dark red", "--", "tool", "a b", "$HOME", "'\"")
        self.assertEqual(f"[a b][$HOME]['\"][dark red][{self.folder}]", done.stdout.decode())
        self.assertIn(b"\n0\n", b"\n" + done.stderr)
        self.assertIn(f"kernel {KERNEL} (".encode(), done.stderr)
        self.assertIn(b"virtual time, seed 1 (TCG, 1 CPU)", done.stderr)

    def test_one_word_is_text_for_the_shell_and_a_reserved_status_is_remapped(self) -> None:
        done = self.run_vm(120, "--", "uname -r | sed 's/^/release /'; exit 124")
        self.assertRegex(done.stdout.decode(), r"^release \d+\.\d+")
        self.assertIn(b"ended with status 124", done.stderr)

    def test_a_command_that_is_not_there(self) -> None:
        self.run_vm(127, "--", "no-such-command", "x")

    def test_a_command_killed_by_a_signal(self) -> None:
        self.run_vm(128 + signal.SIGKILL, "--", "kill -9 $$")

    @everyday
    def test_tools_and_file_systems_are_there(self) -> None:
        script = (
            "set -e; ip link add v0 type veth peer name v1; tc qdisc add dev v0 root netem delay 1ms; ss -M >/dev/null;"
            "nstat >/dev/null; bpftool prog >/dev/null; ethtool -i v0 >/dev/null; ip netns add x; ip netns exec x true;"
            "test -r /sys/kernel/btf/vmlinux; grep -q ' /sys/fs/bpf bpf ' /proc/mounts; grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts;"
            "grep -q '^SigIgn:[[:space:]]*0*$' /proc/self/status;"
            "test -d /sys/kernel/tracing/events; echo x >/dev/stderr; ping -c1 127.0.0.1 >/dev/null"
        )
        self.run_vm(0, "-m", "sch_prio,macvlan", "--", script)

    def test_files_go_in_and_come_out(self) -> None:
        (self.folder / "in").mkdir()
        (self.folder / "in" / "data").write_bytes(bytes(range(256)) * 5000)
        out = self.folder / "out"
        self.run_vm(0, "--add", "in:/deep/down", "--out", str(out), "--", "vmctl put /deep/down/data copy")
        self.assertEqual(bytes(range(256)) * 5000, (out / "copy").read_bytes())

    def test_megabytes_of_output_arrive_whole(self) -> None:
        done = self.run_vm(0, "--", "head -c 20000000 /dev/zero | tr '\\0' 'x'; printf end >&2")
        self.assertEqual(b"x" * 20_000_000, done.stdout)
        self.assertIn(b"end", done.stderr)

    def test_output_without_end_is_ended(self) -> None:
        done = self.run_vm(123, "--output-limit", "2", "--", "yes")
        self.assertLess(len(done.stdout), 4 << 20)

    def test_what_a_command_leaves_running_does_not_matter(self) -> None:
        done = self.run_vm(5, "--", "(while :; do echo more; done) & sleep 0.1; exit 5")
        self.assertIn(b"more", done.stdout)

    def test_a_command_that_kills_everything_but_init(self) -> None:
        self.run_vm(128 + signal.SIGKILL, "--", "sleep 100 & kill -9 -1; kill -9 $$")

    def test_the_same_seed_gives_the_same_run(self) -> None:
        script = (
            "cut -d' ' -f1 /proc/uptime; head -c 16 /dev/urandom | od -An -tx1; sleep 30; cut -d' ' -f1 /proc/uptime"
        )
        runs = [self.run_vm(0, "--seed", seed, "--", script).stdout for seed in ("7", "7", "8")]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0].splitlines()[1], runs[2].splitlines()[1])

    @everyday
    def test_idle_virtual_time_takes_no_wall_time(self) -> None:
        done = self.run_vm(0, "--timeout", "100", "--", "sleep 3000; cut -d. -f1 /proc/uptime")
        self.assertGreaterEqual(int(done.stdout), 3000)

    def test_real_time_with_two_cpus(self) -> None:
        done = self.run_vm(0, "--real-time", "--smp", "2", "--", "grep -c ^processor /proc/cpuinfo")
        self.assertEqual(b"2\n", done.stdout)
        self.assertRegex(done.stderr, rb"real time \((KVM|TCG), 2 CPUs\)")


class Trouble(Vm):
    @everyday
    def test_a_command_that_waits_for_ever(self) -> None:
        done = self.run_vm(124, "--timeout", "10", "--", "echo started; mkfifo f; cat f")
        self.assertEqual(b"started\n", done.stdout)
        self.assertIn(b"time-out", done.stderr)

    def test_a_command_that_loops_for_ever_and_ignores_signals(self) -> None:
        self.run_vm(124, "--timeout", "3", "--real-time", "--", "trap '' TERM INT HUP; while :; do :; done")

    @everyday
    def test_a_panic_shows_the_console_and_keeps_what_was_written(self) -> None:
        done = self.run_vm(125, "--", "echo before; echo c >/proc/sysrq-trigger; echo after")
        self.assertEqual(b"before\n", done.stdout)
        self.assertIn(b"Kernel panic - not syncing: sysrq triggered crash", done.stderr)

    def test_killing_init(self) -> None:
        # A signal cannot do it; zeroes in its code can.
        script = (
            "set -- $(sed -n 's/^\\([0-9a-f]*\\)-\\([0-9a-f]*\\) r-xp.*/\\1 \\2/p;' /proc/1/maps | head -1);"
            "kill -9 1; dd if=/dev/zero of=/proc/1/mem bs=4096 seek=$((0x$1/4096)) count=$(((0x$2-0x$1)/4096))"
            " conv=notrunc; exit 0"
        )
        self.assertIn(b"Attempted to kill init", self.run_vm(125, "--", script).stderr)

    def test_power_off_and_reset_are_no_success(self) -> None:
        for command in ("poweroff -f", "reboot -f", "echo b >/proc/sysrq-trigger"):
            with self.subTest(command):
                self.run_vm(125, "--", command)

    def test_a_status_record_by_the_command_is_not_believed_before_the_end(self) -> None:
        self.run_vm(125, "--", "vmctl say taint 0; vmctl kmsg; vmctl say status 0; reboot -f")

    @everyday
    def test_a_kernel_warning_fails_a_green_run(self) -> None:
        done = self.run_vm(122, "--", "echo 'WARNING: CPU: 0 PID: 1 at net/mptcp/x.c:3 f+0x0/0x1' >/dev/kmsg; dmesg -c")
        self.assertIn(b"net/mptcp/x.c", done.stderr)

    def test_a_taint_fails_a_green_run(self) -> None:
        self.assertIn(b"tainted: W", self.run_vm(122, "--", "echo 512 >/proc/sys/kernel/tainted").stderr)

    def test_a_kernel_log_that_was_flooded_cannot_be_checked(self) -> None:
        # As information, which stays off the slow console.
        script = "for ((i=0; i<6000; i++)); do printf '<6>%0900d\\n' 0 >/dev/kmsg; done"
        self.assertIn(b"overwritten", self.run_vm(122, "--", script).stderr)

    def test_an_allowance_excuses_and_an_expired_one_does_not(self) -> None:
        for expires, wanted in (("2199-01-01", 0), ("2020-01-01", 122)):
            kernels = self.folder / "kernels.toml"
            kernels.write_text(
                (HERE / "kernels.toml").read_text()
                + f'\n[[allow]]\npattern = "net/mptcp/x"\nreason = "a test"\nexpires = {expires}\n'
            )
            with self.subTest(expires):
                done = self.run_vm(
                    wanted,
                    "--kernels",
                    str(kernels),
                    "--",
                    "echo 'WARNING: CPU: 0 PID: 1 at net/mptcp/x.c:3' >/dev/kmsg",
                )
                self.assertIn(b"a test", done.stderr)

    @everyday
    def test_a_module_that_cannot_be_loaded(self) -> None:
        self.assertIn(b"no module sch_nonsense", self.run_vm(121, "-m", "sch_nonsense", "--", "true").stderr)


class CannotRun(Vm):
    @everyday
    def test_usage(self) -> None:
        for words in (
            [], ["true"], ["--", "true"], ["-k"], ["-k", KERNEL], ["-k", KERNEL, "--smp", "2", "--", "true"],
            ["-k", KERNEL, "--nonsense", "--", "true"], ["-k", KERNEL, "--timeout", "-1", "--", "true"],
            ["-k", KERNEL, "--add", "/no/such/file", "--", "true"], ["-k", KERNEL, "--shell", "--", "true"],
            ["-k", KERNEL, "--seed", "x", "--", "true"],
        ):  # fmt: skip
            with self.subTest(words):
                self.assertIn(b"vmtest: ", self.run_vm(69, *words, kernel="").stderr)

    @everyday
    def test_an_unknown_kernel_is_told_which_there_are(self) -> None:
        done = self.run_vm(69, "--", "true", kernel="9.9")
        self.assertIn(b"There is no kernel '9.9'", done.stderr)
        self.assertIn(b"6.12", done.stderr)

    @everyday
    def test_a_package_that_cannot_be_fetched(self) -> None:
        kernels = self.folder / "kernels.toml"
        kernels.write_text(
            "".join(
                f'[[kernel]]\nname = "{name}"\nsuite = "{suite}"\npackages = ["linux-image-x"]\n'
                for name, suite in (("x", "nosuchsuite"), ("y", "norsuchone"))
            )
        )
        cache = str(self.folder / "cache")
        for words in (["--", "true"], ["--prepare"]):
            with self.subTest(words):
                done = self.run_vm(69, "--kernels", str(kernels), *words, kernel="x", MPS_VM_CACHE=cache)
                self.assertRegex(done.stderr.decode(), "nosuchsuite|apt-get is missing")
        done = self.run_vm(69, "--kernels", str(kernels), "--prepare", kernel="", MPS_VM_CACHE=cache)
        self.assertRegex(done.stderr.decode(), "(?s)kernel x cannot be had: .*kernel y cannot be had: ")

    def test_images_that_are_broken(self) -> None:
        kernels = self.folder / "kernels.toml"
        image = self.folder / "image"
        kernels.write_text(f'[[kernel]]\nname = "x"\nimage = "{image}"\n')
        elf = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, 62, 1) + bytes(4000)
        for data in (None, b"", b"garbage" * 1000, elf):
            if data is not None:
                image.write_bytes(data)
            with self.subTest(data and data[:8]):
                self.run_vm(69, "--kernels", str(kernels), "--", "true", kernel="x")

    @everyday
    def test_a_program_whose_library_is_missing_is_named(self) -> None:
        compiler = shutil.which("cc") or self.skipTest("there is no C compiler")
        (self.folder / "a.c").write_text("int f(void){return 0;}\n")
        (self.folder / "b.c").write_text("int f(void);int main(void){return f();}\n")
        for line in ("-shared -fPIC -o libgone.so a.c", "-o program b.c -L. -lgone"):
            subprocess.run([str(compiler), *line.split()], cwd=self.folder, check=True)
        self.assertIn(b"libgone.so", self.run_vm(69, "--add", "program", "--", "./program").stderr)


class Ending(Vm):
    def started(self, *words: str) -> tuple[subprocess.Popen[bytes], int]:
        """A vmtest whose command has begun, and its QEMU."""
        process = self.start(*words, "--", "echo begun; while :; do sleep 1; done")
        self.addCleanup(process.kill)
        assert process.stdout is not None and process.stderr is not None
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.assertEqual(b"begun\n", process.stdout.readline())
        (machine,) = ran_by(process.pid)
        return process, machine

    def test_signals_end_the_vm_and_leave_nothing(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            with self.subTest(number):
                process, machine = self.started()
                process.send_signal(number)
                self.assertEqual(128 + number, process.wait(20))
                self.assertFalse(alive(machine))
                self.assertEqual([], list(self.work.iterdir()))

    @everyday
    def test_a_vmtest_that_is_killed_takes_its_vm_along_and_the_next_one_cleans_up(self) -> None:
        process, machine = self.started()
        process.kill()
        process.wait(20)
        until(lambda: not alive(machine), "QEMU to end", 20)
        self.assertEqual(1, len(list(self.work.iterdir())))
        self.run_vm(0, "--", "true")

    def test_a_reader_that_leaves_ends_the_vm(self) -> None:
        process = self.start("--", "yes")
        assert process.stdout is not None and process.stderr is not None
        self.assertEqual(b"y\n", process.stdout.readline())
        process.stdout.close()
        process.stderr.close()
        self.assertEqual(128 + signal.SIGPIPE, process.wait(60))
        self.assertEqual([], ran_by(process.pid))
        self.assertEqual([], list(self.work.iterdir()))

    def test_a_shell(self) -> None:
        process, terminal = pty.fork()
        if process == 0:
            os.execve(HERE / "vmtest", ["vmtest", "-k", KERNEL, "--build", str(self.folder), "--shell"], self.environment)
        self.addCleanup(os.close, terminal)
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
        before = termios.tcgetattr(terminal)
        seen = b""

        def shows(text: bytes) -> bool:
            nonlocal seen
            if select.select([terminal], [], [], 0)[0]:
                seen += os.read(terminal, 65536)
            if text not in seen:
                return False
            seen = seen[seen.index(text) + len(text) :]
            return True

        until(lambda: shows(b"# "), "a prompt")
        os.write(terminal, b"echo $((40+2)) $(stty size) $(id -u)\n")
        until(lambda: shows(b"42 33 99 0\r\n"), "its answer", 60)
        # Ctrl-C goes to what runs inside.
        until(lambda: shows(b"# "), "a prompt", 60)
        os.write(terminal, b"echo rea''dy; sleep 1000\n")
        until(lambda: shows(b"ready\r\n"), "the command to run", 60)
        os.write(terminal, b"\x03")
        until(lambda: shows(b"# "), "a prompt after Ctrl-C", 60)
        os.write(terminal, b"exit 7\n")
        until(lambda: shows(b"status 7"), "the end", 60)
        self.assertEqual(7, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        self.assertEqual(before, termios.tcgetattr(terminal))


if __name__ == "__main__":
    unittest.main()
