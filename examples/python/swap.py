# SPDX-License-Identifier: MIT
import sys
import mpsched

with mpsched.Instance(sys.argv[2] if len(sys.argv) > 2 else None) as m:
    for connection in m.connections():
        print(f"{connection['token']:08x} {connection['policy']}")
        for subflow in connection["subflows"]:
            print(" ", subflow["ifname"], subflow["verdict"])
    used = m.use(sys.argv[1])
    print(used["previous"], "->", used["policy"])
