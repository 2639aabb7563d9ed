# SPDX-License-Identifier: Apache-2.0
"""What grows with the number of servers: one Python client and up to 1,000 mock servers on loopback. Prints the table of
docs/scale.md. Linux: the servers are on 127.1.0.1, 127.1.0.2 and so on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from .common import ROOT, Figure, Settings

SECONDS_A_CALL = 0.05


def _servers(count: int):
    process = subprocess.Popen([sys.executable, str(ROOT / "bench/fleet_servers.py"), str(count), str(SECONDS_A_CALL)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def _client(way: str, count: int, port: int, seconds: float) -> dict:
    """The figures of a client process of its own."""
    done = subprocess.run([sys.executable, "-m", "suites.fleet", way, str(count), str(port), str(seconds)], cwd=ROOT / "bench",
                          stdout=subprocess.PIPE, text=True, timeout=300, env={**os.environ, "PYTHONPATH": ""})
    if done.returncode != 0:
        raise RuntimeError(f"the client of {count} servers, {way}, ended with {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def run(settings: Settings) -> dict[str, Figure]:
    counts = (1, 10, 100) if settings.short else (1, 10, 100, 1000)
    figures, lines = {}, ["  | servers | way | first vectors | images/s | connections | memory | threads | CPU at rest |",
                          "  |---|---|---|---|---|---|---|---|"]
    for count in counts:
        process, port = _servers(count)
        try:
            for way in ("list", "name"):
                got = _client(way, count, port, settings.seconds)
                for key, value in got.items():
                    figures[f"{key}/{way}{count}"] = Figure.of([value])
                lines.append(f"  | {count} | {way} | {got['first_s']:.2f} s | {got['rate']:.0f} | {got['connections']} | "
                             f"{got['memory_mib']:.0f} MiB | {got['threads']} | {1e3 * got['rest_cpu']:.0f} ms/s |")
                print(lines[-1], flush=True)
        finally:
            process.stdin.close()
            process.wait(30)
    print("\n".join(lines), flush=True)
    return figures


def _measure(way: str, count: int, port: int, seconds: float) -> dict:
    """Runs in the client process."""
    import pathlib
    import time

    sys.path[:0] = [str(ROOT / "tests/scale"), str(ROOT / "bench"), str(ROOT / "client/python/src")]
    from dns_server import NAME, DnsServer, asked_here
    from embedd import EmbedClient
    from fleet_servers import address

    def status(key: str) -> int:
        text = pathlib.Path("/proc/self/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith(key)).split()[1])

    def connections() -> int:
        lines = [line for kind in ("tcp", "tcp6") for line in pathlib.Path(f"/proc/self/net/{kind}").read_text().splitlines()]
        return sum(line.split()[2].endswith(f":{port:04X}") and line.split()[3] == "01" for line in lines)

    with DnsServer() as names, asked_here(names):
        names.addresses = [address(number) for number in range(count)]
        target = (",".join(f"{one}:{port}" for one in names.addresses) if way == "list"
                  else f"dns://127.0.0.1:{names.port}/{NAME}:{port}")
        memory, picture = status("VmRSS"), b"\x89PNG mock"
        with EmbedClient(target, timeout=60) as client:
            start = time.monotonic()
            client.embed_images([picture] * 256, batch_size=16)
            first = time.monotonic() - start
            start, sent = time.monotonic(), 0

            def source():
                nonlocal sent
                while time.monotonic() - start < seconds:
                    sent += 1
                    yield picture

            client.embed_images(source(), batch_size=16)
            rate = sent / (time.monotonic() - start)
            open_now, grown, threads = connections(), (status("VmRSS") - memory) / 1024, status("Threads")
            cpu, start = time.process_time(), time.monotonic()
            time.sleep(5)
            rest = (time.process_time() - cpu) / (time.monotonic() - start)
    return {"first_s": first, "rate": rate, "connections": open_now, "memory_mib": grown, "threads": threads, "rest_cpu": rest}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
