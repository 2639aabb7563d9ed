# SPDX-License-Identifier: Apache-2.0
"""A DNS server for one name: A records of whatever `addresses` holds, on a port of 127.0.0.1. What is too long for UDP is
asked again over TCP, as resolvers do.
"""

import ipaddress
import socket
import struct
import threading
from contextlib import contextmanager

NAME = "embedd.internal"
_A, _INTERNET = 1, 1


_UDP_BYTES = 1232


class DnsServer:
    def __init__(self):
        self.addresses = []
        self._tcp = socket.socket()
        self._tcp.bind(("127.0.0.1", 0))
        self._tcp.listen()
        self.port = self._tcp.getsockname()[1]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", self.port))
        self._threads = [threading.Thread(target=serve) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def _serve_udp(self):
        while True:
            query, caller = self._udp.recvfrom(4096)
            if not query:
                return
            answer = self._answer(query)
            if len(answer) > _UDP_BYTES:  # only its head, with the flag "truncated"
                answer = answer[:2] + bytes([answer[2] | 2]) + answer[3:6] + bytes(6) + self._question(query)
            self._udp.sendto(answer, caller)

    def _serve_tcp(self):
        while True:
            connection, _ = self._tcp.accept()
            with connection, connection.makefile("rb") as stream:
                while len(length := stream.read(2)) == 2:
                    query = stream.read(int.from_bytes(length, "big"))
                    if not query:
                        return
                    answer = self._answer(query)
                    connection.sendall(len(answer).to_bytes(2, "big") + answer)

    @staticmethod
    def _question(query):
        at = 12
        while query[at]:
            at += 1 + query[at]
        return query[12 : at + 5]

    def _answer(self, query):
        question = self._question(query)
        labels, at = [], 0
        while question[at]:
            labels.append(question[at + 1 : at + 1 + question[at]].decode())
            at += 1 + question[at]
        kind = struct.unpack(">H", question[-4:-2])[0]
        known = ".".join(labels).lower() == NAME
        found = list(self.addresses) if known and kind == _A else []
        flags = 0x8580 if known else 0x8583  # an authoritative answer; or "no such name"
        answer = query[:2] + struct.pack(">HHHHH", flags, 1, len(found), 0, 0) + question
        for address in found:
            answer += b"\xc0\x0c" + struct.pack(">HHIH", _A, _INTERNET, 1, 4) + ipaddress.ip_address(address).packed
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self._udp.sendto(b"", ("127.0.0.1", self.port))
        with socket.create_connection(("127.0.0.1", self.port)) as last:
            last.sendall(b"\0\0")
        for thread in self._threads:
            thread.join()
        self._udp.close()
        self._tcp.close()


@contextmanager
def asked_here(server):
    """The resolver of this process knows the name, as that of a machine in a cluster does."""
    ask = socket.getaddrinfo

    def ask_ours(host, port, *others, **more):
        if host != NAME:
            return ask(host, port, *others, **more)
        return [answer for one in server.addresses for answer in ask(one, port, *others, **more)]

    socket.getaddrinfo = ask_ours
    try:
        yield
    finally:
        socket.getaddrinfo = ask
