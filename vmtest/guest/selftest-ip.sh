#!/bin/bash
# SPDX-License-Identifier: MIT
# Copyright mpsched contributors
#
# Stands in front of ip(8) while the kernel's selftests run (vmtest/selftests): mpsched is attached to every interface
# as soon as it is set up, and taken off before its namespace is deleted, as a cautious administrator would do it.
#
#   MPS_SELFTEST_ATTACH   options of 'mpsched attach'; empty: only run ip
#   MPS_SELFTEST_LOG      folder for what mpsched said, one file for each call that failed, and counters at the end

real=/usr/bin/ip
[[ -n ${MPS_SELFTEST_ATTACH-} ]] || exec "$real" "$@"

log=$MPS_SELFTEST_LOG
words=("$@")
namespace=()
while [[ ${words[0]-} == -* ]]; do
    case ${words[0]} in
    -n | -net | -netns)
        namespace=(--netns "${words[1]}")
        words=("${words[@]:2}")
        ;;
    *) words=("${words[@]:1}") ;;
    esac
done

# Runs mpsched, and keeps what it said where it failed: the script's own output must stay as it is.
mpsched_quietly() {
    local said status=0
    said=$(mpsched "${namespace[@]}" "$@" 2>&1 </dev/null) || status=$?
    ((status == 0)) || printf '%s\n' "mpsched ${namespace[*]} $*: status $status: ${said//$'\n'/ }" >>"$log/failures"
}

case "${words[*]}" in
"netns del "* | "netns delete "*)
    for name in "${words[@]:2}"; do
        namespace=(--netns "$name")
        [[ -e $log/attached-$name ]] || continue
        mpsched "${namespace[@]}" stats --json >>"$log/stats" 2>/dev/null </dev/null
        mpsched_quietly detach --all
        rm -f "$log/attached-$name"
    done
    exec "$real" "$@"
    ;;
"link set "*" up"*)
    "$real" "$@" || exit
    device=${words[2]}
    [[ $device != dev ]] || device=${words[3]}
    known=$log/attached-${namespace[1]-here}
    grep -qxF "$device" "$known" 2>/dev/null && exit 0
    options=$MPS_SELFTEST_ATTACH
    # The policy is of the whole namespace. To name it again has it verified again, ten times as much work as the rest.
    [[ ! -e $known || $options != --policy\ * ]] || read -r _ _ options <<<"$options"
    echo "$device" >>"$known"
    # The loopback device's driver runs no XDP.
    [[ $device != lo ]] || options=${options/--mode native/--mode generic}
    # shellcheck disable=SC2086 # several options
    mpsched_quietly attach "$device" $options
    exit 0
    ;;
esac
exec "$real" "$@"
