# SPDX-License-Identifier: MIT
"""Fetches chunks of video, each with a deadline, and keeps off a radio that costs money as long as they are in time.

    chunks.py serve PORT
    chunks.py fetch HOST PORT [--chunks 10] [--bytes 500000] [--range 250000] [--every 1.0] [--not IFACE]

One chunk in `--every` seconds. The policy is asked to be `deadline` for what the server sends; without mpsched it is a download like any other.
A chunk is asked for in ranges, two at a time: what the server has not yet been asked for can take another path where one fades; what it has
written cannot.
"""
import argparse
import itertools
import socket
import struct
import time

try:
    import mpsched_socket as app
except ImportError:
    app = None


def positive(text):
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def receive(connection, octets):
    while octets:
        piece = connection.recv(min(octets, 1 << 18))
        if not piece:
            raise EOFError
        octets -= len(piece)


def serve(port):
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", port))
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            while len(wish := connection.recv(8, socket.MSG_WAITALL)) == 8:
                connection.sendall(bytes(struct.unpack("!Q", wish)[0]))


def choose(connection, args):
    """What is known of the chunks, where anybody wants to know it."""
    if not app:
        return "mpsched's module is not installed"
    try:
        if "deadline" in app.info(connection).policies:
            app.policy(connection, "deadline")
        app.deadline(connection, args.every)
        app.size(connection, args.bytes)
        if args.avoid:
            app.avoid(connection, args.avoid)
    except OSError as error:
        return f"nobody steers this connection: {error.strerror}"
    return f"policy {app.state(connection).rx_policy or 'as for all'}"


def fetch_chunk(connection, args):
    """One chunk, with two ranges of it asked for at a time."""
    ranges = [min(args.range, args.bytes - start) for start in range(0, args.bytes, args.range)]
    for ahead in ranges[:2]:
        connection.sendall(struct.pack("!Q", ahead))
    for octets, ahead in itertools.zip_longest(ranges, ranges[2:]):
        receive(connection, octets)
        if ahead:
            connection.sendall(struct.pack("!Q", ahead))


def fetch(args):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
    # Else the second request waits until the first has been acknowledged.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.connect((args.host, args.port))
    steered = choose(connection, args)
    print(steered)
    late = 0
    for _ in range(args.chunks):
        begun = time.monotonic()
        fetch_chunk(connection, args)
        took = time.monotonic() - begun
        late += took > args.every
        time.sleep(max(0, args.every - took))
    print(f"{args.chunks} chunks, {late} late")
    if steered.startswith("policy"):
        for one in app.subflows(connection):
            print(f"  {one.ifname} cost {one.cost} energy {one.energy}: {one.bytes_received} octets")
    return late


def main():
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True, dest="verb")
    server = verbs.add_parser("serve")
    server.add_argument("port", type=int)
    client = verbs.add_parser("fetch")
    client.add_argument("host")
    client.add_argument("port", type=int)
    client.add_argument("--chunks", type=positive, default=10)
    client.add_argument("--bytes", type=positive, default=500_000)
    client.add_argument("--range", type=positive, default=250_000)
    client.add_argument("--every", type=float, default=1.0)
    client.add_argument("--not", dest="avoid", metavar="IFACE")
    args = parser.parse_args()
    return serve(args.port) if args.verb == "serve" else fetch(args)


if __name__ == "__main__":
    raise SystemExit(main())
