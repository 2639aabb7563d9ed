# SPDX-License-Identifier: Apache-2.0
"""Servers of the demo model on one port of 127.0.0.2, 127.0.0.3, ...: as replicas behind a name have it."""

import os
import re
import signal
import socket
import threading
import time

import real_server
from embedd import EmbedClient
from real_server import ROOT, RealServer

def container_defaults():
    """Flags out of the ENV lines of docker/Dockerfile that say how a server ends and how long connections live."""
    text = (ROOT / "docker" / "Dockerfile").read_text()
    found = {}
    for name in ("DRAIN_DELAY", "MAX_CONNECTION_AGE"):
        found[name] = re.search(rf"\bEMBEDD_{name}=(\S+)", text)[1]
    return ["--drain-delay", found["DRAIN_DELAY"], "--max-connection-age", found["MAX_CONNECTION_AGE"]]


def free_ports(count):
    """Ports that are free on every address of this machine."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("0.0.0.0", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Replica:
    """One server and its address, which it keeps from start to start."""

    def __init__(self, host, port, pages_port):
        self.host, self.target, self.pages = host, f"{host}:{port}", f"{host}:{pages_port}"
        self.flags = ()
        self.server = None

    def start(self, *flags, **keywords):
        self.flags = flags
        own = ("--threads", "1", "--decode-threads", "1", *flags)
        self.server = RealServer(*own, listen=self.target, pages=self.pages, **keywords)

    def running(self):
        return self.server is not None and self.server.running()

    def kill(self):
        self.server.kill()

    def terminate(self):
        """SIGTERM; gives the exit code when it has ended."""
        return self.server.terminate()

    def answered(self):
        """Images, since its start."""
        try:
            return self.server.metric('embedd_images_total{outcome="ok"}', absent=0) if self.running() else 0
        except OSError:  # it does not listen yet
            return 0


class Slow:
    """Stops a process three quarters of the time."""

    def __init__(self, pid):
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        try:
            while not self._over.is_set():
                os.kill(self._pid, signal.SIGSTOP)
                self._over.wait(0.15)
                os.kill(self._pid, signal.SIGCONT)
                self._over.wait(0.05)
        finally:
            os.kill(self._pid, signal.SIGCONT)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_exc):
        self._over.set()
        self._thread.join()


class Replicas:
    """Two that run and a third that may be added."""

    FLAGS = ("--drain-delay", "4s")

    def __init__(self, names):
        self._names = names
        self.port, self.pages_port = free_ports(2)
        self.all = [Replica(f"127.0.0.{number}", self.port, self.pages_port) for number in (2, 3, 4)]

    def __iter__(self):
        return iter(self.all[:2])

    def __getitem__(self, index):
        return self.all[index]

    def restore(self):
        """Two run, with the usual flags, and are all that DNS knows."""
        if self.all[2].running():
            self.all[2].kill()
        self._names.addresses = [one.host for one in self]
        late = []
        for one in self:
            if one.running() and one.flags != self.FLAGS:
                one.kill()
            if not one.running():
                one.start(*self.FLAGS, wait=False)
                late.append(one)
        for one in late:
            self.wait_ready(one)

    def add(self):
        """The third one: it runs, and DNS knows it."""
        self.all[2].start(*self.FLAGS)
        self._names.addresses = [one.host for one in self.all]
        return self.all[2]

    @staticmethod
    def wait_ready(replica):
        with EmbedClient(replica.target) as client:
            client.wait_ready(real_server.START_SECONDS)

    def __enter__(self):
        self.restore()
        return self

    def __exit__(self, *_exc):
        for one in self.all:
            if one.running():
                one.kill()


def wait_for(condition, otherwise, seconds=90):
    """Waits until `condition` holds; fails with `otherwise`."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, otherwise
        time.sleep(0.02)


