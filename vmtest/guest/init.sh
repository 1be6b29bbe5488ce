#!/bin/busybox sh
# shellcheck shell=dash
# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# /init of the test VM. The kernel's console is the serial port ttyS0. Virtio consoles: hvc0 is the command's
# standard output, hvc1 its standard error, hvc2 for records (vmctl). What to do lies in /vm: modules/ to load,
# first those in need (for the virtio consoles themselves), then those in order; command, a script; or shell, a
# script that has somebody's terminal at hvc0.

b=/bin/busybox
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/busybox
export HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}"

# Not over /tmp: what is under test may lie there.
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
$b mkdir -p /dev/pts /dev/shm
$b ln -s /proc/self/fd /dev/fd
for number in 0,stdin 1,stdout 2,stderr; do $b ln -s "/proc/self/fd/${number%,*}" "/dev/${number#*,}"; done
$b mount -t devpts devpts /dev/pts
for folder in /dev/shm /run; do $b mount -t tmpfs -o size=80% tmpfs $folder; done
$b chmod 1777 /dev/shm
$b mount -t debugfs debugfs /sys/kernel/debug
$b mount -t tracefs tracefs /sys/kernel/tracing
$b mount -t bpf bpf /sys/fs/bpf
$b mount -t cgroup2 cgroup2 /sys/fs/cgroup
# At the end of PATH: an applet must not stand in front of the real ip or timeout.
$b --install -s /usr/lib/busybox
$b ip link set lo up

for module in $($b cat /vm/need); do $b insmod "/vm/modules/$module.ko"; done
# Their devices come a moment later.
tries=0
until [ -c /dev/hvc2 ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 500 ]; then
        echo "vmtest: the virtio consoles did not appear" >/dev/kmsg
        vmctl exit
    fi
    $b usleep 10000
done
# Kept open: this driver forgets a console's settings when nobody has it open.
exec 7<>/dev/hvc0 8<>/dev/hvc1 9<>/dev/hvc2
vmctl setup
vmctl say begin "$($b uname -r)"

for module in $($b cat /vm/order); do
    if ! $b insmod "/vm/modules/$module.ko" 2>/run/insmod; then
        vmctl say module "$module" "$($b cat /run/insmod)"
        vmctl exit
    fi
done

vmctl say run
if [ -e /vm/shell ]; then
    # The terminal at the other end makes a carriage return of each line feed itself.
    $b stty -F /dev/hvc0 sane -onlcr
    $b setsid -c /bin/bash /vm/shell </dev/hvc0 >/dev/hvc0 2>&1 7>&- 8>&- 9>&-
else
    # Not in the background, where a shell makes commands ignore SIGINT. A session of its own: a command that ends its
    # process group must not reach us.
    $b setsid /bin/bash /vm/command </dev/null >/dev/hvc0 2>/dev/hvc1 7>&- 8>&- 9>&-
fi
status=$?

# Whoever is left would go on writing, and the consoles would never be empty.
kill -9 -1
vmctl say taint "$($b cat /proc/sys/kernel/tainted)"
vmctl kmsg
vmctl say status "$status"
vmctl exit
