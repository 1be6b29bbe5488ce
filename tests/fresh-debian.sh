#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Proves that a fresh Debian needs nothing but ./run: bootstraps one into a temporary directory, copies the
# work tree (tracked and new files, no build) into it, and runs there what a newcomer would: setup, build, the unit tests, install, and
# a policy built with what was installed.
#
#   tests/fresh-debian.sh [--suite NAME] [--arm64] [--keep]
#
#   --suite NAME  trixie (Debian 13, default) or bookworm (12)
#   --arm64       instead of that: what is installed, built for arm64, compared with what is built for this machine, and run
#                 by qemu-aarch64-static if that is here (package qemu-user-static)
#   --keep        leave the root directory where it is
#
# Only the unit tier runs inside: the other tiers test the kernel, which is this machine's either way.
# Needs root and debootstrap. The mirror is the one apt uses here. Takes about 1.5 GB and a few minutes.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
    printf '%s\n%s\n' "$1" "$2" >&2
    exit "${3:-1}"
}

suite=trixie keep='' arm64=''
while (($#)); do
    case $1 in
    --keep) keep=1 ;;
    --suite) suite=${2:?--suite needs a name} && shift ;;
    --arm64) arm64=1 ;;
    *) die "fresh-debian.sh does not know '$1'." "usage: tests/fresh-debian.sh [--suite NAME] [--arm64] [--keep]" 2 ;;
    esac
    shift
done
((EUID == 0)) || die "Making a root directory of another Debian needs root." "Run it as root or through sudo." 4
command -v debootstrap >/dev/null || die "debootstrap is missing." "Install it: apt-get install debootstrap" 3

# The archive apt would download a Debian package from: same server for another suite. Security and
# third-party archives do not have all of Debian.
# shellcheck disable=SC2016 # these are apt's placeholders
mirror=$(apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' |
    awk '$2 == "Debian" && $3 == "Debian" && $1 !~ /security/ { print $1; exit }')
[[ -n $mirror ]] || die "apt on this machine names no Debian archive." "Configure one and run apt-get update." 3

root=$(mktemp -d "${TMPDIR:-/tmp}/mpsched-$suite-XXXXXX")
# mktemp's folders are closed to others, whom the tests try as well.
chmod 755 "$root"
mounted=()
cleanup() {
    local target
    for target in "${mounted[@]}"; do umount -l "$target" || true; done
    mounted=()
    if [[ -n $keep ]]; then
        printf 'kept: %s\n' "$root"
    elif ! grep -qF " $root/" /proc/self/mounts; then
        # Never remove through a mount that refused to go away.
        rm -rf --one-file-system "$root"
    fi
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

inside() { chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "$@"; }

printf '== bootstrapping %s\n' "$suite"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 ||
    { tail -n 20 "$root.log" >&2; rm -f "$root.log"; die "debootstrap failed." "See its last lines above."; }
rm -f "$root.log"
mount -t proc proc "$root/proc" && mounted+=("$root/proc")
# The completion of interfaces reads it.
mount -t sysfs -o ro sysfs "$root/sys" && mounted+=("$root/sys")
for file in /etc/resolv.conf /etc/hosts; do
    if [[ -r $file ]]; then cat "$file" >"$root$file"; fi
done
# How apt reaches the archive (proxies) is this machine's business, so it is taken over as it is.
apt-config dump Acquire | grep -E '^Acquire::(http|https)::[Pp]roxy' >"$root/etc/apt/apt.conf.d/90outside" || true

printf '== copying the work tree\n'
mkdir "$root/mpsched"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    # A file deleted but not yet committed is still listed.
    if [[ -e $file ]]; then printf '%s\0' "$file"; fi
done | tar --null -T - -cf - | tar -C "$root/mpsched" -xf -

# Prints nothing when it has nothing to do, but that.
check_setup_is_idle() {
    local second
    printf '== ./run setup %s again, which must have nothing to do\n' "$*"
    second=$(inside /mpsched/run setup "$@" 2>&1)
    [[ $second == '== setup: nothing is missing' ]] || die "A second setup was not idle: $second" \
        "Every package in run's lists has to be called what dpkg calls it."
}

# In a folder without the sources.
check_installed() {
    printf '== cmake --install\n'
    inside cmake --install /mpsched/build >/dev/null
    inside PATH=/usr/local/bin:/usr/bin:/bin bash -euc 'cp -r /usr/local/share/doc/mpsched/schedulers /empty
        cd /empty/round-robin
        mpsched --version
        mpsched policy build round-robin.bpf.c
        test -s round-robin.bpf.o'
}

build_here() {
    printf '== ./run build\n'
    inside nice /mpsched/run build
    printf '== unit tests\n'
    inside /mpsched/tests/run-tests /mpsched/build --tier unit
    check_installed
}

build_arm64() {
    local objects object qemu
    printf '== ./run setup arm64\n'
    inside /mpsched/run setup arm64
    check_setup_is_idle arm64
    printf '== ./run build arm64\n'
    inside nice /mpsched/run build arm64
    printf '== BPF objects for this machine\n'
    mapfile -t objects < <(cd "$root/mpsched/build-arm64" && printf '%s\n' {bpf,schedulers}/*.bpf.o)
    inside cmake -S /mpsched --preset release -DMPS_TESTS=OFF -DMPS_LAB=OFF >/dev/null
    inside nice ninja -C /mpsched/build "${objects[@]}" >/dev/null
    for object in "${objects[@]}"; do
        cmp "$root/mpsched/build/$object" "$root/mpsched/build-arm64/$object" ||
            die "${object##*/} is another one for arm64." \
                "A BPF object must not depend on the machine: it is compiled for BPF, and reads the kernel by BTF."
    done
    if qemu=$(command -v qemu-aarch64-static); then
        printf '== what was built for arm64 runs\n'
        install -m 755 "$qemu" "$root/usr/bin/"
        inside qemu-aarch64-static /mpsched/build-arm64/bin/mpsched --version
        # Most other commands ask for the network namespace's cookie, which qemu-user cannot tell.
        inside qemu-aarch64-static /mpsched/build-arm64/bin/mpsched --help >/dev/null
    fi
}

printf '== ./run setup\n'
inside /mpsched/run setup
check_setup_is_idle
if [[ -n $arm64 ]]; then build_arm64; else build_here; fi
