# SPDX-License-Identifier: Apache-2.0
"""The house rules that a compiler does not know: who may include whom, who may read time, how long a file may be.

The rules are those of docs/life_of_a_request.md. A failure names the file, the line and the rule.
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "server"

# Folder -> folders of ours it may include, beside itself and support.
MAY_INCLUDE = {
    "support": set(),
    "telemetry": set(),
    "config": {"prepare/image/image_format.h", "release/release_kind.h"},
    "http": {"config/listen_address.h"},
    "ops": {"config", "http", "model/model_spec.h"},
    "model": set(),
    "queue": set(),
    "prepare": {"model", "queue"},
    "batching": {"queue", "release"},
    "release": set(),
    "device": {"queue", "batching", "release"},
    "engine": {"model", "release", "device/executor.h"},
    "reply": {"queue"},
    "rest": {"http"},
    "rpc": {"prepare", "model", "queue", "reply", "rest", "http"},
}
EVERYBODY = {"support", "telemetry"}

# Header pattern -> (folder or file patterns that may include it).
ONLY_IN = {
    r"grpcpp/|.*\.grpc\.pb\.h": ["rpc/"],
    r".*\.pb\.h": ["rpc/"],
    r"(torch|ATen|c10)/": ["engine/", "release/torch_"],
    r"(jpeglib|jerror)\.h": ["prepare/image/jpeg_"],
    r"webp/": ["prepare/image/webp_"],
    r"unicode/": ["prepare/text/unicode"],
    r"zlib\.h|png\.h": ["prepare/image/zlib_"],
    r"tiffio\.h": ["prepare/image/tiff_"],
    r"lcms2\.h": ["prepare/image/lab_"],
    r"dav1d/": ["prepare/image/avif_"],
    r"libde265/": ["prepare/image/heic_"],
    r"(vips|libheif|avif|gif_lib)": [],
    r"spdlog/": ["support/log"],
    r"prometheus/": ["telemetry/metrics"],
    r"httplib\.h": ["ops/otlp_exporter"],
}

# The composition root sees everything.
ROOTS = {"main.cc", "embedd_server.h", "embedd_server.cc", "expected_time.h", "expected_time.cc", "facts_reader.h", "facts_reader.cc"}


def sources():
    return [f for f in sorted(SERVER.rglob("*")) if f.suffix in {".h", ".cc"}]


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+["<]([^">]+)[">]', line)
        if match:
            yield number, match.group(1)


def test_every_folder_includes_only_what_lies_below_it():
    wrong = []
    for path in sources():
        where = path.relative_to(SERVER)
        if where.name in ROOTS and len(where.parts) == 1:
            continue
        folder = where.parts[0]
        for number, header in includes(path):
            if not header.startswith("server/"):
                continue
            other, inside = header.removeprefix("server/").split("/")[0], header.removeprefix("server/")
            allowed = MAY_INCLUDE[folder] | (EVERYBODY if folder != "support" else set())
            if other != folder and other not in allowed and inside not in allowed:
                wrong.append(f"server/{where}:{number}: {folder}/ must not include {header}")
    assert not wrong, "\n".join(wrong)


def test_outside_headers_stay_behind_their_wall():
    wrong = []
    for path in sources():
        where = str(path.relative_to(SERVER))
        for number, header in includes(path):
            for pattern, places in ONLY_IN.items():
                if re.match(pattern, header) and not any(where.startswith(p) for p in places):
                    wrong.append(f"server/{where}:{number}: {header} belongs in {', '.join(places)} only")
    assert not wrong, "\n".join(wrong)


def test_no_file_sees_both_grpc_and_libtorch():
    torch, rpc = re.compile(r"(torch|ATen|c10)/"), re.compile(r"grpcpp/|google/protobuf/|.*\.pb\.h|spdlog/|fmt/")
    for path in sources():
        headers = [h for _, h in includes(path)]
        assert not (any(torch.match(h) for h in headers) and any(rpc.match(h) for h in headers)), path


def test_time_is_read_and_slept_in_clock_cc_only():
    forbidden = re.compile(r"steady_clock|high_resolution_clock|absl::Now\(|sleep_for|sleep_until|\busleep\(|absl::SleepFor")
    wrong = []
    for path in sources():
        where = str(path.relative_to(SERVER))
        if where == "support/clock.cc":
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if forbidden.search(line.split("//")[0]):
                wrong.append(f"server/{where}:{number}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def test_files_stay_small():
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources()}
    too_long = {f: n for f, n in lengths.items() if n > 500}
    assert not too_long, too_long


def header_comment(path):
    """The comment that stands between the SPDX line and the first line of code."""
    lines = path.read_text().splitlines()
    assert lines and lines[0] == "// SPDX-License-Identifier: Apache-2.0", path
    comment = []
    for line in lines[1:]:
        if not line.startswith("//"):
            break
        comment.append(line.removeprefix("//").strip())
    return " ".join(comment).strip()


def test_every_source_file_says_what_it_is():
    """A sentence at the top of each header, and of each source that has no header of its name to say it."""
    silent = [str(path.relative_to(ROOT)) for path in sources()
              if (path.suffix == ".h" or not path.with_suffix(".h").exists()) and len(header_comment(path).split()) < 5]
    assert not silent, "these files do not say what they are: " + ", ".join(silent)
    for path in sources():
        header_comment(path)
