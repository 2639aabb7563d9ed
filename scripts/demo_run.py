# SPDX-License-Identifier: Apache-2.0
"""The demo itself, started by scripts/demo after the build. Everything it prints is for somebody new to embedd.

Ends with 1 when an answer is not what it has to be: pictures whose nearest neighbour is unlike them, a broken file that
is not refused, a batch that kept memory, a server that does not end cleanly.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np

import demo_files
import demo_server
import demo_sheet

ROOT = demo_files.ROOT
sys.path.insert(0, str(ROOT / "client" / "python" / "src"))

import embedd  # noqa: E402 (the client of this checkout)

FOLDER, SHEET = ROOT / "demo-images", ROOT / "demo.png"
QUERIES, NEIGHBOURS, BATCHES_SHOWN = 6, 5, 6
RATE_SECONDS = 2.0  # Long enough for a steady figure.
# Share of pictures whose nearest neighbour must have the same shape or the same colour. The model gives 0.88, the same
# model with a scrambled first layer 0.47, chance 0.22.
ENOUGH_ALIKE = 0.7
# Share of texts such as "a red star" that must find a picture of that colour and that shape first.
TEXTS_SHOWN, ENOUGH_FOUND = 4, 0.5


class WrongAnswer(Exception):
    """The demo got something that embedd must not give."""


def say(text: str = "") -> None:
    print(text, flush=True)


def section(title: str) -> None:
    say(f"\n{title}\n{'-' * len(title)}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/demo")
    parser.add_argument("--keep", action="store_true", help="leave the server running until Ctrl-C")
    parser.add_argument("--images", type=int, default=120, help="pictures to draw (20 to 5000)")
    parser.add_argument("--server", type=pathlib.Path, default=ROOT / "build" / "dev" / "bin" / "embedd")
    parser.add_argument("--model", type=pathlib.Path, default=ROOT / "models" / "demo")
    args = parser.parse_args()
    if not 20 <= args.images <= 5000:
        parser.error("--images takes 20 to 5000")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # So that the server is stopped in that case too.

    section("1. The server")
    server = demo_server.DemoServer(args.server, args.model, ROOT / "build" / "demo-server.log")
    try:
        with embedd.EmbedClient(server.grpc) as client:
            show(server, client, args.images)
        if args.keep:
            keep(server)
    except BaseException:
        server.stop()
        raise
    code = server.stop()
    if code != 0:
        raise WrongAnswer(f"the server ended with exit code {code}\n{server.log_tail()}")
    say("\nThe server finished its work and stopped (exit code 0). Done.")
    return 0


def show(server: demo_server.DemoServer, client: embedd.EmbedClient, count: int) -> None:
    server.wait_ready(client)
    info = client.server_info()
    say(f"embedd {info.versions.server} serves {info.model.name!r} ({info.model.architecture})\n"
        f"on {info.device} in {info.dtype}: an image becomes {info.model.dimension} numbers.\n"
        f"  gRPC         {server.grpc}\n  status page  {server.http}\n  log          build/demo-server.log")

    section("2. Pictures in, vectors out")
    pictures = demo_files.draw_files(FOLDER, count)
    broken = demo_files.write_broken_file(FOLDER, pictures[0].path)
    say(f"Drew {count} pictures (JPEG, PNG, WebP) into {FOLDER.name}/, none of which the model was trained on,\n"
        f"and put a broken file among them.")
    vectors = embed(client, pictures, broken)
    rate(client, [picture.path for picture in pictures])

    section("3. Which pictures are alike")
    rows = neighbours(pictures, vectors)

    section("4. Which picture is meant: search by text")
    rows += search(client, pictures, vectors)
    demo_sheet.draw_sheet(SHEET, "Which pictures are alike, and which are meant", f"Left: a picture, or a text. Right: the "
                          f"{NEIGHBOURS} pictures with the closest vectors, and their cosine similarity.", rows)
    say(f"As a picture: {SHEET.name}")

    section("5. What the batches did with memory")
    memory_record(server.http)

    section("6. By hand, with grpcurl")
    grpcurl(server.grpc, min(range(count), key=lambda i: pictures[i].path.stat().st_size), pictures, vectors)


def embed(client: embedd.EmbedClient, pictures: list[demo_files.Picture], broken: pathlib.Path) -> np.ndarray:
    """Vectors of the good files; the broken one must be refused, alone."""
    middle = len(pictures) // 2
    files = [picture.path for picture in pictures]
    result = client.embed_images_detailed(files[:middle] + [broken] + files[middle:], on_error="return")
    if [error.index for error in result.errors] != [middle]:
        raise WrongAnswer(f"only {broken.name} should have been refused, but: {result.errors}")
    say(f"\n  vectors = EmbedClient({client.target!r}).embed_images(files)\n")
    vectors = np.delete(result.vectors, middle, axis=0)
    say(f"{vectors.shape[0]} vectors of {vectors.shape[1]} numbers ({vectors.dtype}). The broken file was refused and "
        f"harmed no other:\n  {broken.name}: {result.errors[0].reason}")
    return vectors


def rate(client: embedd.EmbedClient, files: list[pathlib.Path]) -> None:
    done, seconds, start = 0, 0.0, time.perf_counter()
    while seconds < RATE_SECONDS:
        client.embed_images(files)
        done, seconds = done + len(files), time.perf_counter() - start
    say(f"{done} files in {seconds:.2f} s: {done / seconds:.0f} images/s from file to vector, decoding and "
        f"gRPC included\n(the server, this client and whatever else runs share {os.cpu_count()} CPU cores).")


def neighbours(pictures: list[demo_files.Picture], vectors: np.ndarray) -> list[demo_sheet.Row]:
    """Prints a table; returns the rows for the sheet."""
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    order = np.argsort(-similarity, axis=1)
    say(f"{'picture':34}  {'nearest neighbour':34}  {'cosine':6}  the same in both")
    rows = []
    for i in choose_queries(pictures):
        j = order[i, 0]
        say(f"{pictures[i].title:34}  {pictures[j].title:34}  {similarity[i, j]:6.3f}  "
            f"{', '.join(pictures[i].shared(pictures[j])) or 'nothing'}")
        rows.append([(pictures[i].path, "query", pictures[i].short_title)] + [
            (pictures[n].path, f"{similarity[i, n]:.3f}", pictures[n].short_title) for n in order[i, :NEIGHBOURS]])

    same = [pictures[i].shared(pictures[order[i, 0]]) for i in range(len(pictures))]
    shape, colour, either = (
        sum(any(name in shared for name in names) for shared in same) / len(same)
        for names in (("shape",), ("colour",), ("shape", "colour")))
    say(f"\nOver all {len(pictures)} pictures the nearest neighbour has the same shape in {shape:.0%}, the same colour "
        f"in {colour:.0%},\nshape or colour in {either:.0%} (by chance: about 12 %, 11 % and 22 %).")
    if either < ENOUGH_ALIKE:
        raise WrongAnswer(f"nearest neighbours are unlike: shape or colour is the same in {either:.0%} only, "
                          f"{ENOUGH_ALIKE:.0%} are needed")
    return rows


def search(client: embedd.EmbedClient, pictures: list[demo_files.Picture], vectors: np.ndarray) -> list[demo_sheet.Row]:
    """Texts that name the colour and the shape of some picture, and the pictures that they find."""
    wanted: dict[str, tuple[str, str]] = {}
    for picture in pictures:
        colour, shape = picture.scene.colour, picture.scene.shape
        wanted[f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}"] = (colour, shape)
    texts = list(wanted)
    similarity = client.embed_texts(texts) @ vectors.T
    say(f"  client.embed_texts({texts[0]!r}) @ vectors.T\n")
    best = np.argsort(-similarity, axis=1)
    found = [(pictures[b[0]].scene.colour == colour) + (pictures[b[0]].scene.shape == shape)
             for b, (colour, shape) in zip(best, wanted.values())]
    say(f"{'text':28}  {'best picture':34}  {'cosine':6}")
    rows = []
    for i in range(0, len(texts), max(1, len(texts) // TEXTS_SHOWN))[:TEXTS_SHOWN]:
        top = best[i, :NEIGHBOURS]
        say(f"{texts[i]:28}  {pictures[top[0]].title:34}  {similarity[i, top[0]]:6.3f}")
        rows.append([(None, "text", texts[i])] + [(pictures[n].path, f"{similarity[i, n]:.3f}", pictures[n].short_title)
                                                  for n in top])
    right = sum(f == 2 for f in found) / len(found)
    say(f"\nOf {len(texts)} such texts {right:.0%} find a picture of that colour and that shape first (by chance: about 1 %).")
    if right < ENOUGH_FOUND:
        raise WrongAnswer(f"texts find the wrong pictures: {right:.0%} are right, {ENOUGH_FOUND:.0%} are needed")
    return rows



def choose_queries(pictures: list[demo_files.Picture]) -> list[int]:
    """The first few pictures that differ from each other in shape and in colour."""
    chosen: list[int] = []
    for i, picture in enumerate(pictures):
        if len(chosen) < QUERIES and not any({"shape", "colour"} & set(picture.shared(pictures[c])) for c in chosen):
            chosen.append(i)
    return chosen


def memory_record(http: str) -> None:
    """The last records of /batches: every batch must have given back what it took."""
    with urllib.request.urlopen(http + "batches", timeout=10) as reply:
        records = json.load(reply)
    if not records:
        raise WrongAnswer("/batches holds no record")
    say(f"Bytes on the device, of the last {min(BATCHES_SHOWN, len(records))} of {len(records)} batches; 'before' are "
        f"the weights, which stay.\n")
    say(f"{'batch':>6} {'images':>7} {'before':>11} {'peak':>11} {'after':>11} {'given back':>11} {'ms':>7}  outcome")
    for r in records[-BATCHES_SHOWN:]:
        say(f"{r['id']:>6} {r['size']:>7} {r['before']:>11,} {r['peak']:>11,} {r['after']:>11,} "
            f"{r['peak'] - r['after']:>11,} {r['execute_ns'] / 1e6:>7.1f}  {r['outcome']}")
    kept = [r for r in records if r["after"] > r["before"]]
    if kept:
        raise WrongAnswer(f"{len(kept)} batches kept memory, first: {kept[0]}")
    say(f"\nNone of the {len(records)} batches kept a byte. The same, live: {http}")


def grpcurl(target: str, index: int, pictures: list[demo_files.Picture], vectors: np.ndarray) -> None:
    """Shows a call that needs no client of ours, makes it if grpcurl is here, and compares."""
    file = pictures[index].path.relative_to(ROOT)
    line = (f"""echo '{{"inputs":[{{"image":"'$(base64 < {file} | tr -d '\\n')'"}}],"""
            f""""encoding":"ENCODING_FLOAT_LIST"}}' \\\n"""
            f"""  | grpcurl -plaintext -d @ {target} embedd.v1.EmbeddingService/EmbedBatch""")
    say(line)
    if not shutil.which("grpcurl"):
        say("\n(grpcurl is not installed here. Run the demo with --keep and try the line from a machine that has it.)")
        return
    run = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if run.returncode != 0:
        raise WrongAnswer(f"grpcurl failed: {run.stderr.strip()}")
    answer = json.loads(run.stdout)
    values = answer["vectors"][0]["values"]
    off = float(np.abs(np.array(values, np.float32) - vectors[index]).max())
    say(f"\n  dimension {answer['dimension']}, values {', '.join(f'{v:.4f}' for v in values[:5])}, ... "
        f"(furthest from the client's: {off:.0e})")
    if off > 2e-3:  # f16 on a GPU may round differently in another batch size.
        raise WrongAnswer("grpcurl got another vector than the Python client")


def keep(server: demo_server.DemoServer) -> None:
    section("The server goes on")
    say(f"gRPC {server.grpc}, status page {server.http}\nPython, from this folder:\n\n"
        f"  PYTHONPATH=client/python/src .venv/bin/python -c \"from embedd import EmbedClient; "
        f"print(EmbedClient('{server.grpc}').embed_images('demo.png').shape)\"\n\nCtrl-C stops it.")
    try:
        raise WrongAnswer(f"the server ended by itself with exit code {server.wait()}\n{server.log_tail()}")
    except KeyboardInterrupt:
        say("\nStopping.")


if __name__ == "__main__":
    import logging

    logging.getLogger("embedd").setLevel(logging.ERROR)  # The demo itself tells of the file that is refused.
    try:
        sys.exit(main())
    except (WrongAnswer, demo_server.ServerError, embedd.EmbedError) as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
