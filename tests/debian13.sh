#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Proves that a fresh Debian 13 needs nothing but ./run: bootstraps one into a temporary directory, copies the
# work tree (tracked and new files, no build) into it, and runs there what a newcomer would.
#
#   tests/debian13.sh [--keep] [--suite NAME]
#
# Only the unit tier runs inside: the other tiers test the kernel, which is this machine's either way.
# Needs root and debootstrap. The mirror is the one apt uses here. Takes about 1.5 GB and a few minutes.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
    printf '%s\n%s\n' "$1" "$2" >&2
    exit "${3:-1}"
}

suite=trixie keep=''
while (($#)); do
    case $1 in
    --keep) keep=1 ;;
    --suite) suite=${2:?--suite needs a name} && shift ;;
    *) die "debian13.sh does not know '$1'." "usage: tests/debian13.sh [--keep] [--suite NAME]" 2 ;;
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

printf '== ./run setup\n'
inside /mpsched/run setup
printf '== ./run setup again, which must have nothing to do\n'
second=$(inside /mpsched/run setup 2>&1)
[[ $second == '== setup: nothing is missing' ]] || die "A second setup was not idle: $second" \
    "Every package in run's lists has to be called what dpkg calls it."
printf '== ./run build\n'
inside nice /mpsched/run build
printf '== unit tests\n'
inside /mpsched/tests/run-tests /mpsched/build --tier unit
