# SPDX-License-Identifier: Apache-2.0
"""A hub that speaks as much of the Hugging Face API as a download needs, on loopback, for test_pull.py: the list of a repository
with sizes and hashes, `resolve` with ETag and commit, redirects of large files to another host, ranges; and what goes wrong."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Dict, List, NamedTuple, Optional

COMMIT = "9f" * 20


class Asked(NamedTuple):
    method: str
    path: str
    range: Optional[str]
    token: Optional[str]


class FakeHub:
    """Repositories: name -> {file name -> bytes}. A file larger than `lfs_from` is stored "elsewhere", as LFS files are.

    Scripted: `token`, which every repository then needs; `gated`, an owner who wants an agreement; `moved`, old name -> new
    name; `cuts`, file name -> bytes after which the connection is dropped, once for each number; `hold`, file name -> bytes
    after which nothing comes any more until `release` is set; `wrong`, file names whose bytes are not those listed.
    """

    def __init__(self, repositories: Dict[str, Dict[str, bytes]], lfs_from: int = 10_000) -> None:
        self.repositories = repositories
        self.lfs_from = lfs_from
        self.token: Optional[str] = None
        self.gated = False
        self.moved: Dict[str, str] = {}
        self.cuts: Dict[str, List[int]] = {}
        self.hold: Dict[str, int] = {}
        self.held, self.release = threading.Event(), threading.Event()
        self.wrong: List[str] = []
        self.asked: List[Asked] = []
        self.servers = [self._serve(_Api), self._serve(_Storage)]
        self.url, self.storage = (f"http://{host}:{one.server_port}" for host, one in zip(("127.0.0.1", "localhost"), self.servers))

    def _serve(self, handler: type) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), {"hub": self}))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def __enter__(self) -> "FakeHub":
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def fetched(self) -> List[str]:
        """The files whose content was asked for."""
        return [one.path.rsplit("/", 1)[-1] for one in self.asked if one.method == "GET" and "/api/" not in one.path]


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def note(self) -> None:
        self.hub.asked.append(Asked(self.command, self.path, self.headers.get("Range"), self.headers.get("Authorization")))

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def content(self, name: str, content: bytes, **headers: str) -> None:
        """The bytes, or the part of them that is asked for, or fewer where that is scripted."""
        if name in self.hub.wrong:
            content = bytes(255 - byte for byte in content[:1]) + content[1:]
        whole, start = len(content), 0
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or ""):
            start = int(match[1])
        content = content[start:]
        if start:
            headers["Content_Range"] = f"bytes {start}-{whole - 1}/{whole}"
        headers.update(Accept_Ranges="bytes", Content_Length=str(len(content)))
        code = 206 if start else 200
        if self.command == "GET" and self.hub.cuts.get(name):
            self.answer(code, content[: self.hub.cuts[name].pop(0)], **headers)
            self.close_connection = True
        elif self.command == "GET" and name in self.hub.hold:
            self.answer(code, content[: self.hub.hold.pop(name)], **headers)
            self.wfile.flush()
            self.hub.held.set()
            self.hub.release.wait(60)
            self.close_connection = True
        else:
            self.answer(code, content, **headers)


class _Api(_Handler):
    def do_GET(self) -> None:  # noqa: N802
        self.note()
        hub = self.hub
        path = self.path.partition("?")[0]
        listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", path)
        file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
        match = listing or file
        name = match[1] if match else ""
        if name in hub.moved:
            self.answer(307, Location=self.path.replace(name, hub.moved[name]))
            return
        if hub.token is not None and self.headers.get("Authorization") != f"Bearer {hub.token}":
            gated = dict(X_Error_Code="GatedRepo", X_Error_Message="Access is restricted") if hub.gated else {}
            self.answer(403 if hub.gated else 401, b'{"error": "Repository not found"}', **gated)
            return
        files = hub.repositories.get(name)
        if files is None:
            self.answer(404, X_Error_Code="RepoNotFound")
            return
        if match[2] not in (None, "main", "v1", COMMIT):
            self.answer(404, X_Error_Code="RevisionNotFound")
            return
        if listing:
            self.list(name, files)
        elif file[3] not in files:
            self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=COMMIT)
        else:
            self.file(name, file[3], files[file[3]])

    do_HEAD = do_GET  # noqa: N815

    def list(self, name: str, files: Dict[str, bytes]) -> None:
        siblings = []
        for file, content in files.items():
            one = {"rfilename": file, "size": len(content), "blobId": _blob(content)}
            if len(content) >= self.hub.lfs_from:
                one["lfs"] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 135}
            siblings.append(one)
        body = json.dumps({"id": name, "modelId": name, "sha": COMMIT, "private": False, "siblings": siblings}).encode()
        self.answer(200, body, Content_Type="application/json")

    def file(self, name: str, file: str, content: bytes) -> None:
        if len(content) < self.hub.lfs_from:
            self.content(file, content, ETag=f'"{_blob(content)}"', X_Repo_Commit=COMMIT)
            return
        self.answer(
            302,
            Location=f"{self.hub.storage}/{name}/{file}",
            X_Repo_Commit=COMMIT,
            X_Linked_Etag=f'"{hashlib.sha256(content).hexdigest()}"',
            X_Linked_Size=str(len(content)),
        )


class _Storage(_Handler):
    """Where large files are: another host, which must not see the token."""

    def do_GET(self) -> None:  # noqa: N802
        self.note()
        owner, name, file = self.path.strip("/").split("/", 2)
        content = self.hub.repositories[f"{owner}/{name}"][file]
        self.content(file, content, ETag='"storage"')

    do_HEAD = do_GET  # noqa: N815
