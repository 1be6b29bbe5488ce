#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Proves that a fresh Debian needs nothing but ./run: bootstraps one into a temporary directory, copies the
# work tree (tracked and new files, no build) into it, and runs there what a newcomer would: setup, build, the unit tests, install, and
# a policy built with what was installed.
#
#   tests/fresh-debian.sh [--suite NAME] [--arm64 | --packages] [--keep]
#
#   --suite NAME  trixie (Debian 13, default) or bookworm (12)
#   --arm64       instead of that: what is installed, built for arm64, compared with what is built for this machine, and run
#                 by qemu-aarch64-static if that is here (package qemu-user-static)
#   --packages    instead of that: Debian packages are built there, and in a second root, which has nothing else, installed, used, upgraded,
#                 removed and purged
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

suite=trixie keep='' part=here
while (($#)); do
    case $1 in
    --keep) keep=1 ;;
    --suite) suite=${2:?--suite needs a name} && shift ;;
    --arm64 | --packages) part=${1#--} ;;
    *) die "fresh-debian.sh does not know '$1'." "usage: tests/fresh-debian.sh [--suite NAME] [--arm64 | --packages] [--keep]" 2 ;;
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

inside() { inside_of "$root" "$@"; }
inside_of() { chroot "$1" /usr/bin/env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 "${@:2}"; }

# A Debian in the directory $1, with the means to reach the archive.
bootstrap() {
    local to=$1 file
    printf '== bootstrapping %s\n' "$suite"
    debootstrap --variant=minbase "$suite" "$to" "$mirror" >"$root.log" 2>&1 ||
        { tail -n 20 "$root.log" >&2; rm -f "$root.log"; die "debootstrap failed." "See its last lines above."; }
    rm -f "$root.log"
    mount -t proc proc "$to/proc" && mounted=("$to/proc" "${mounted[@]}")
    # The completion of interfaces reads it.
    mount -t sysfs -o ro sysfs "$to/sys" && mounted=("$to/sys" "${mounted[@]}")
    for file in /etc/resolv.conf /etc/hosts; do
        if [[ -r $file ]]; then cat "$file" >"$to$file"; fi
    done
    # How apt reaches the archive (proxies) is this machine's business, so it is taken over as it is.
    apt-config dump Acquire | grep -E '^Acquire::(http|https)::[Pp]roxy' >"$to/etc/apt/apt.conf.d/90outside" || true
}
bootstrap "$root"

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

# The packages in the directory $1, with a version that is later than theirs, into $2.
later_packages() {
    local package work
    work=$(mktemp -d -p "$root")
    mkdir -p "$2"
    for package in "$1"/*.deb; do
        rm -rf "$work/one"
        dpkg-deb -R "$package" "$work/one"
        sed -i -E 's/^Version: .*/&+later/; s/(libmpsched0\.1 \(= [^)]*)\)/\1+later)/' "$work/one/DEBIAN/control"
        dpkg-deb --root-owner-group -b "$work/one" "$2/$(basename "$package")" >/dev/null
    done
    rm -rf "$work"
}

# Whatever is there of mpsched beside the packages themselves.
remains() {
    find "$1" -xdev \( -path "$1/packages" -o -path "$1/later" -o -path "$1/var/lib/dpkg" -o -path "$1/var/log" -o -path "$1/var/cache" \) -prune \
        -o -name '*mpsched*' -printf '/%P\n'
}

# Packages in the directory $2 of the root $1.
install_packages_of() {
    inside_of "$1" env DEBIAN_FRONTEND=noninteractive bash -euc "apt-get -q -y install --no-install-recommends /$2/*.deb" >/dev/null
}

# Without the sources, a compiler or anything else that was needed to build them.
try_packages() {
    local clean=$1 left
    bootstrap "$clean"
    mkdir "$clean/packages"
    find "$root/packages" -name '*.deb' ! -name '*-dbgsym_*' -exec cp -t "$clean/packages" {} +
    later_packages "$clean/packages" "$clean/later"
    printf '== installing them where nothing else is\n'
    inside_of "$clean" apt-get -q update >/dev/null
    install_packages_of "$clean" packages
    printf '== using them\n'
    inside_of "$clean" mpsched --version
    inside_of "$clean" mpsched config check
    inside_of "$clean" python3 -c 'import mpsched; mpsched.Instance'
    mkdir "$clean/run/bpf"
    mount -t bpf -o mode=0700 bpf "$clean/run/bpf" && mounted=("$clean/run/bpf" "${mounted[@]}")
    inside_of "$clean" unshare --net bash -euc 'export MPS_BPFFS=/run/bpf
        mpsched attach lo --mode tc
        mpsched use weighted
        mpsched status | grep -q weighted
        mpsched detach --all'
    printf '== upgrading them, with a file of the administrator\n'
    echo '# mine' >>"$clean/etc/mpsched/mpsched.toml"
    install_packages_of "$clean" later
    inside_of "$clean" dpkg-query -W mpsched | grep -q '+later$' || die "It was not upgraded." "See apt-get's words."
    grep -qx '# mine' "$clean/etc/mpsched/mpsched.toml" || die "The upgrade took the administrator's file away." "It has to be a conffile."
    printf '== removing them\n'
    inside_of "$clean" apt-get -q -y remove mpsched libmpsched0.1 >/dev/null
    grep -qx '# mine' "$clean/etc/mpsched/mpsched.toml" || die "Removing took the administrator's file away." "Only purging may."
    printf '== purging them\n'
    mkdir -p "$clean/var/lib/mpsched" # as the service makes it
    inside_of "$clean" dpkg --purge mpsched >/dev/null
    left=$(remains "$clean")
    [[ -z $left ]] || die "After purging there is still: $left" "The maintainer scripts or lists of files are wrong (packaging/debian)."
}

build_packages() {
    printf '== ./run package\n'
    inside nice /mpsched/run package /packages
    try_packages "$root/clean"
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
"build_$part"
