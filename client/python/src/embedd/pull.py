# SPDX-License-Identifier: Apache-2.0
"""`embedd pull NAME`: a model folder of the Hugging Face hub, ready for `embedd --model`.

Takes only the files that the server reads (server/model/model_folder.cc says which, in that order), checks each against the
size and the hash that the hub names, and goes on where an earlier try was cut. Called by `python -m embedd pull` and, where
the server was installed as a wheel, by `embedd pull`. Never runs or loads anything of what it fetched.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import pathlib
import shlex
import sys
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple
from urllib.parse import urlparse

_OPEN_CLIP_WEIGHTS = (
    "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth", "model.safetensors", "pytorch_model.bin", "pytorch_model.pth", "model.pth",
    "open_clip_pytorch_model.pt", "model.pt",
)  # fmt: skip
_OPEN_CLIP_KINDS = (".safetensors", ".bin", ".pth")
_HF_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_HF_PROCESSOR = ("preprocessor_config.json", "processor_config.json")
_PARTS = ".pull"  # the folder, inside the model's, of files that are not whole yet
_CHUNK = 1 << 20


class PullError(Exception):
    """Why the model was not fetched, in a sentence for the person who asked."""


class HubFile(NamedTuple):
    """A file as the hub lists it. The hash is SHA-256 of the content, or git's of a blob for files kept in git itself."""

    name: str
    size: int
    sha256: Optional[str]
    blob: Optional[str]


class Pulled(NamedTuple):
    folder: pathlib.Path
    files: List[str]
    bytes: int


def _first(names: Sequence[str], there: Dict[str, HubFile], folder: str) -> Optional[str]:
    return next((folder + name for name in names if folder + name in there), None)


def _tokenizer(there: Dict[str, HubFile], folder: str) -> List[str]:
    names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model"]
    if folder + "tokenizer.json" not in there:
        names += ["vocab.json", "merges.txt"]
    return [folder + name for name in names if folder + name in there]


def _any_weights(there: Dict[str, HubFile]) -> Optional[str]:
    """What open_clip takes where no file has a name it knows: the first of any, .safetensors before the others."""
    found = sorted(name for name in there if "/" not in name and name.endswith(_OPEN_CLIP_KINDS))
    return next((name for name in found if name.endswith(".safetensors")), found[0] if found else None)


def choose(there: Dict[str, HubFile], folder: str = "", timm: bool = False) -> Tuple[List[str], str]:
    """(the files that are read beside the weights, the weights) of a folder of the repository, as the server chooses. A
    folder of `timm` has no file of a processor."""
    if folder == "" and "open_clip_config.json" in there:
        small = ["open_clip_config.json"]
        weights = _first(_OPEN_CLIP_WEIGHTS, there, "") or _any_weights(there)
        wanted = "open_clip_model.safetensors or another file of weights"
    elif folder + "config.json" in there:
        small = [folder + "config.json"]
        processor = [folder + name for name in _HF_PROCESSOR if folder + name in there]  # which of them counts, it says itself
        if not processor and not timm:
            raise PullError(f"has no {folder}{_HF_PROCESSOR[0]}: no model of images, or one that says nothing about its pixels")
        small += processor  # timm's config.json says what is to be done with pixels
        weights = _first(_HF_WEIGHTS, there, folder)
        wanted = " or ".join(folder + name for name in _HF_WEIGHTS)
    else:
        raise PullError(
            f"has neither {folder}open_clip_config.json nor {folder}config.json: not a folder that embedd serves"
            if folder == ""
            else f"has no {folder}config.json, which its modules.json speaks of"
        )
    if weights is None:
        raise PullError(f"has no weights that embedd reads: {wanted}")
    return small + _tokenizer(there, folder), weights


def _is_bare(name: object) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not any(c in name for c in "/\\\0")


class Puller:
    """One repository at one commit, on its way into one folder."""

    def __init__(self, name: str, revision: Optional[str], to: Optional[pathlib.Path], say=lambda line: None) -> None:
        import huggingface_hub as hub

        self._hub = hub
        self._say = say
        self._name = name
        try:
            info = hub.HfApi(library_name="embedd").model_info(name, revision=revision, files_metadata=True)
        except hub.errors.GatedRepoError as error:
            raise PullError(
                f"{name}: its owner asks for an agreement first. Accept it on the model's page, then give your token: "
                "HF_TOKEN=…, or `hf auth login`"
            ) from error
        except hub.errors.RevisionNotFoundError as error:
            raise PullError(f"{name}: has no revision {revision!r}") from error
        except hub.errors.RepositoryNotFoundError as error:
            raise PullError(
                f"{name}: is not on {hub.constants.ENDPOINT}, or is private: then give your token with HF_TOKEN=…"
            ) from error
        except hub.errors.HfHubHTTPError as error:
            if error.response is not None and error.response.status_code in (401, 403):
                raise PullError(f"{name}: {hub.constants.ENDPOINT} wants a token, or another one: HF_TOKEN=…") from error
            raise
        self._commit = info.sha
        self._there = {}
        for one in info.siblings or []:
            lfs = one.lfs
            self._there[one.rfilename] = HubFile(
                one.rfilename, lfs.size if lfs else one.size or 0, lfs.sha256 if lfs else None, one.blob_id
            )
        self._whole: Dict[str, pathlib.Path] = {}
        self.folder = pathlib.Path(to) if to is not None else pathlib.Path(name.rsplit("/", 1)[-1])

    def pull(self) -> Pulled:
        try:
            self._say(f"{self._name} at {self._commit}")
            root, small = "", []
            if "modules.json" in self._there and not {"open_clip_config.json", "config.json"} & set(self._there):
                small.append("modules.json")
                root = self._inner(self._json("modules.json")) + "/"
            beside, weights = choose(self._there, root, self._is_timm(root))
            small += beside
            for name in [*small, weights]:
                self._fetch(name)
            files = [weights]
            if weights.endswith(".index.json"):
                files += self._shards(weights, root)
            for name in files:
                self._fetch(name)
        except PullError as error:
            raise PullError(f"{self._name}: {error}") from error
        parts = self.folder / _PARTS
        if parts.is_dir() and not any(parts.iterdir()):
            parts.rmdir()
        names = small + files
        return Pulled(self.folder, names, sum(self._there[name].size for name in names))

    def _json(self, name: str):
        try:
            return json.loads(self._fetch(name).read_bytes())
        except ValueError as error:
            raise PullError(f"{name} is not JSON: {error}") from error

    def _is_timm(self, folder: str) -> bool:
        """Whether config.json is timm's, which says itself what is done with pixels."""
        if folder or "open_clip_config.json" in self._there or "config.json" not in self._there:
            return False
        config = self._json("config.json")
        return isinstance(config, dict) and "architecture" in config and "model_type" not in config

    def _inner(self, modules: object) -> str:
        """The folder of the model in a sentence-transformers repository."""
        first = modules[0] if isinstance(modules, list) and modules else None
        path = first.get("path") if isinstance(first, dict) else None
        if not _is_bare(path):
            raise PullError("modules.json does not name the folder of its first module")
        return str(path)

    def _shards(self, index: str, folder: str) -> List[str]:
        content = self._json(index)
        names = content.get("weight_map") if isinstance(content, dict) else None
        shards = sorted(set(names.values())) if isinstance(names, dict) and all(map(_is_bare, names.values())) else []
        if not shards:
            raise PullError(f"{index} names no shards")
        lacking = [folder + one for one in shards if folder + one not in self._there]
        if lacking:
            raise PullError(f"{index} names {lacking[0]}, which the repository does not have")
        return [folder + one for one in shards]

    def _fetch(self, name: str) -> pathlib.Path:
        """The file, whole and checked, in the folder."""
        if name not in self._whole:
            self._whole[name] = self._bring(self._there[name], self.folder / name)
        return self._whole[name]

    def _bring(self, file: HubFile, target: pathlib.Path) -> pathlib.Path:
        name = file.name
        if target.exists():
            if self._is(target, file):
                self._say(f"  {name:<40} {_shown(file.size):>9}  is there")
                return target
            raise PullError(
                f"{target}: is another file than that of {self._name} at {self._commit[:12]}. Name another folder with --to, "
                "or remove the file"
            )
        # The commit's hash of the file is part of the name: what was begun of another version is not gone on with.
        part = self.folder / _PARTS / f"{name.replace('/', '--')}.{(file.sha256 or file.blob or 'new')[:16]}"
        part.parent.mkdir(parents=True, exist_ok=True)
        begun = part.stat().st_size if part.exists() else 0
        if begun > file.size:
            part.unlink()
            begun = 0
        self._download(file, part, begun)
        if not self._is(part, file):
            got = part.stat().st_size
            part.unlink()
            if begun and got == file.size:  # an earlier try left other bytes: once more, from the start
                self._download(file, part, 0)
            if not part.exists() or not self._is(part, file):
                part.unlink(missing_ok=True)
                raise PullError(
                    f"{name} came with other content than the hub says it has "
                    f"({'sha256 ' + file.sha256 if file.sha256 else 'git blob ' + str(file.blob)}, {file.size} bytes). It was "
                    "removed; try again, and if it comes again, ask who runs the mirror or proxy between"
                )
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(part, target)
        self._say(f"  {name:<40} {_shown(file.size):>9}  {f'ok, went on at {_shown(begun)}' if begun else 'ok'}")
        return target

    def _download(self, file: HubFile, part: pathlib.Path, begun: int) -> None:
        """Plain HTTP: what is stored elsewhere is redirected to, and there the range is asked for, without our token."""
        hub = self._hub
        url = hub.hf_hub_url(self._name, file.name, revision=self._commit)
        while begun < file.size or not part.exists():
            seen = hub.get_hf_file_metadata(url)
            headers = hub.utils.build_hf_headers(library_name="embedd")
            if urlparse(seen.location).netloc != urlparse(url).netloc:
                headers.pop("authorization", None)
            try:
                with open(part, "ab") as out:
                    hub.file_download.http_get(
                        seen.location, out, resume_size=begun, headers=headers, expected_size=file.size, displayed_filename=file.name
                    )
                return
            except _network_errors(hub):
                if part.stat().st_size <= begun:
                    raise
                begun = part.stat().st_size  # it brought something: a cut connection, not a dead one

    @staticmethod
    def _is(path: pathlib.Path, file: HubFile) -> bool:
        if path.stat().st_size != file.size:
            return False
        if file.sha256 is None and file.blob is None:
            return True
        digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size)
        with open(path, "rb") as content:
            for chunk in iter(lambda: content.read(_CHUNK), b""):
                digest.update(chunk)
        return digest.hexdigest() == (file.sha256 or file.blob)


def _shown(size: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def pull(name: str, to=None, revision: Optional[str] = None, say=lambda line: None) -> Pulled:
    """Fetches the model; `say` is given a line for each file. Raises PullError, or what the network said."""
    return Puller(name, revision, to, say).pull()


def _network_errors(hub) -> Tuple[type, ...]:
    """What the library lets through of its HTTP client, which was another one in each of its generations."""
    kinds = [OSError, hub.errors.HfHubHTTPError]
    kinds += [sys.modules[client].HTTPError for client in ("httpx", "httpx2") if client in sys.modules]
    return tuple(kinds)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="embedd pull",
        description="Downloads a model folder from the Hugging Face hub: only the files that the server reads, each checked "
        "against the hub's size and hash. Run again after a cut, it goes on where it was.",
        epilog="HF_TOKEN (or `hf auth login`) opens private and gated models; HF_ENDPOINT names another hub.",
    )
    parser.add_argument("name", help="name on the hub, such as laion/CLIP-ViT-B-32-laion2B-s34B-b79K")
    parser.add_argument("--to", metavar="DIR", help="folder to put it in (default: the last part of the name)")
    parser.add_argument("--revision", help="branch, tag or commit (default: the newest)")
    given = parser.parse_args(arguments)
    try:
        import huggingface_hub as hub
    except ImportError:
        print("embedd pull: needs huggingface_hub: pip install huggingface_hub", file=sys.stderr)
        return 1
    try:
        got = pull(given.name, given.to, given.revision, say=lambda line: print(line, flush=True))
    except PullError as error:
        print(f"embedd pull: {error}", file=sys.stderr)
        return 1
    except hub.errors.HFValidationError as error:
        print(f"embedd pull: {error}", file=sys.stderr)
        return 2
    except _network_errors(hub) as error:
        print(f"embedd pull: {given.name}: {error}\nembedd pull: run it again to go on where it stopped", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nembedd pull: stopped; run it again to go on", file=sys.stderr)
        return 130
    print(f"{got.folder}: {len(got.files)} files, {_shown(got.bytes)}\nserve it:  embedd --model {shlex.quote(str(got.folder))}")
    return 0
