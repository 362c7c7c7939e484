"""Runs on the machine under Kubernetes, with nothing but its Python: connects from the network of each pod to that of others.

Standard input is JSON: networks: the id of a process in each network, by name; attempts: [source's name, target's name, address, protocol, port];
seconds: how long to wait for answers. Standard output: for each attempt, whether it was answered.

Somebody listens on every port that is tried, so that no answer is a refusal on the way.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
import time

# For kubernetes.default.svc.cluster.local, type A: cluster DNS answers it by itself.
QUESTION = b"\0\1\1\0\0\1\0\0\0\0\0\0" + b"".join(
    bytes([len(each)]) + each for each in (b"kubernetes", b"default", b"svc", b"cluster", b"local", b"")) + b"\0\1\0\1"


def enter(process: int) -> None:
    """Sockets that are made after this are in that network, and stay there."""
    with open(f"/proc/{process}/ns/net", "rb") as namespace:
        os.setns(namespace.fileno(), os.CLONE_NEWNET)


def new_socket(address: str, protocol: str) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM if protocol == "TCP" else socket.SOCK_DGRAM)
    made.setblocking(False)
    return made


def main() -> None:
    given = json.load(sys.stdin)
    waiting, listeners, answered = selectors.DefaultSelector(), [], [False] * len(given["attempts"])
    for name, process in given["networks"].items():
        enter(process)
        for address, protocol, port in {(address, protocol, port) for _source, target, address, protocol, port in given["attempts"] if target == name}:
            listener = new_socket(address, protocol)
            listeners.append(listener)
            # Where it is taken, the pod's own program listens.
            with contextlib.suppress(OSError):
                listener.bind((address, port))
                if protocol == "TCP":
                    listener.listen(1024)
                else:
                    waiting.register(listener, selectors.EVENT_READ)
    for name, process in given["networks"].items():
        enter(process)
        for number, (source, _target, address, protocol, port) in enumerate(given["attempts"]):
            if source != name:
                continue
            attempt = new_socket(address, protocol)
            listeners.append(attempt)
            if protocol == "TCP":
                attempt.connect_ex((address, port))
                waiting.register(attempt, selectors.EVENT_WRITE, number)
            else:
                attempt.connect((address, port))
                with contextlib.suppress(OSError):
                    attempt.send(QUESTION)
                waiting.register(attempt, selectors.EVENT_READ, number)
    end = time.monotonic() + given["seconds"]
    while time.monotonic() < end:
        for key, _events in waiting.select(0.2):
            if key.data is None:
                data, peer = key.fileobj.recvfrom(512)
                with contextlib.suppress(OSError):
                    key.fileobj.sendto(data, peer)
                continue
            waiting.unregister(key.fileobj)
            if key.fileobj.type == socket.SOCK_STREAM:
                answered[key.data] = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            else:
                with contextlib.suppress(OSError):
                    answered[key.data] = bool(key.fileobj.recv(512))
    json.dump(answered, sys.stdout)


if __name__ == "__main__":
    main()
