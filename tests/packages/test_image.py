# SPDX-License-Identifier: Apache-2.0
"""docker/Dockerfile as it is written, built by buildah, run as the image says: read-only, as its user, and drained.

Where no registry is to be had, the image that FROM names is a Debian made by mmdebstrap. It gets what this machine's network wants
(its certificates), and nothing else.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import venv

import numpy as np
import pytest

import roots

_WHY = roots.missing() or ("" if shutil.which("buildah") else "needs buildah")
pytestmark = pytest.mark.skipif(bool(_WHY), reason=_WHY)
LARGEST_MB = 600
_CERTIFICATES = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
# What the slim image leaves out, and that apt keeps no downloads there.
_SLIM = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*", "/usr/share/groff/*", "/usr/share/lintian/*")
_CLEAN = 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };\n'
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def buildah(*arguments, folder=roots.CACHE / "containers"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policy.json").write_text(json.dumps(_POLICY))
    done = subprocess.run(
        ["buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "BUILDAH_ISOLATION": "chroot"},
    )  # fmt: skip
    assert done.returncode == 0, f"buildah {' '.join(arguments)}\n{done.stdout[-6000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """The image, built; EMBEDD_IMAGE names one that is there."""
    if "EMBEDD_IMAGE" in os.environ:
        yield os.environ["EMBEDD_IMAGE"]
        return
    dockerfile = (roots.ROOT / "docker/Dockerfile").read_text()
    names = set(re.findall(r"^FROM (debian:\S+)", dockerfile, re.M))
    assert names == {f"debian:{roots.SUITE}-slim"}
    base = buildah("from", "scratch")
    buildah("add", base, str(roots.base("slim", "ca-certificates", without=_SLIM)), "/")
    apt = tmp_path_factory.mktemp("apt") / "docker-clean"
    apt.write_text(_CLEAN)
    buildah("copy", base, str(apt), "/etc/apt/apt.conf.d/docker-clean")
    buildah("copy", base, str(_CERTIFICATES), str(_CERTIFICATES))
    buildah("config", "--env", f"PIP_CERT={_CERTIFICATES}", base)
    buildah("commit", "--rm", "-q", base, f"docker.io/library/{names.pop()}")
    # What is in git, as a checkout has it; compiled before is compiled (the cache of this machine).
    context = tmp_path_factory.mktemp("context")
    files = subprocess.run(["git", "-C", str(roots.ROOT), "ls-files", "-z"], check=True, capture_output=True).stdout
    packed = subprocess.run(["tar", "-C", str(roots.ROOT), "--null", "-T", "-", "-cf", "-"], input=files, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-C", str(context), "-xf", "-"], input=packed.stdout, check=True)
    ccache = subprocess.run(["ccache", "--get-config", "cache_dir"], capture_output=True, text=True).stdout.strip()
    shared = ["--volume", f"{ccache}:/root/.cache/ccache"] if ccache else []
    policy = roots.CACHE / "containers/policy.json"
    buildah("bud", "--pull-never", "--network", "host", "--signature-policy", str(policy), *shared, "-f", str(context / "docker/Dockerfile"),
            "-t", "embedd", str(context))  # fmt: skip
    yield "embedd"
    buildah("rmi", "--all", "--force")


@pytest.fixture(scope="module")
def container(image, pictures):
    """(root folder, environment, entry point) of the image."""
    name = buildah("from", "--pull-never", image)
    config = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]["config"]
    yield pathlib.Path(buildah("mount", name)), dict(one.split("=", 1) for one in config["Env"]), config
    buildah("umount", name)
    buildah("rm", name)


# The root cannot be written, as docker run --read-only has it; the model is where the image looks for it.
_READ_ONLY = """
mount --bind "$0" "$0" && mount --bind "$1" "$0/model" && mount -t proc proc "$0/proc" && mount -o remount,bind,ro "$0" && shift &&
exec chroot "$0" "$@"
"""


def test_it_runs_read_only_as_its_user_answers_and_drains(container, pictures, expected):
    from embedd import EmbedClient

    root, environment, config = container
    assert config["User"] == "embedd" and config["Entrypoint"] == ["embedd"] and config["StopSignal"] == "SIGTERM"
    uid = re.search(r"^embedd:x:(\d+):", (root / "etc/passwd").read_text(), re.M)[1]
    assert uid == "10001"
    (root / "model").mkdir(exist_ok=True)

    def start(**more):
        settings = [f"{name}={value}" for name, value in {**environment, **more}.items()]
        user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _READ_ONLY, str(root), str(roots.ROOT / "models/demo"), *user,
             "env", "-i", *settings, *config["Entrypoint"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    open_to_all = start(EMBEDD_HTTP="off")
    assert open_to_all.wait(timeout=60) == 2 and "allow-insecure" in open_to_all.stderr.read()

    server = start(EMBEDD_LISTEN="127.0.0.1:0", EMBEDD_HTTP="off")
    try:
        target = roots.address(server)
        with EmbedClient(target) as client:
            difference = float(np.abs(client.embed_images(sorted(pictures.iterdir())) - expected).max())
        assert difference <= 1e-6
        assert roots.drained(server) == 0
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()


def test_it_is_small_and_says_what_it_holds(container, image, tmp_path):
    root, _, _ = container
    size = int(json.loads(buildah("inspect", "--type", "image", image))["OCIv1"].get("size", 0)) / 1e6 or roots.megabytes(root)
    assert size < LARGEST_MB
    assert not list(root.rglob("libtorch_cuda*")) and not list(root.rglob("libcudnn*"))
    for text in ("libtorch", "nvidia_cuda_runtime"):
        assert list((root / "usr/local/share/doc/embedd/licences" / text).rglob("*")) or not list(root.rglob("libcudart*"))

    file = root / "usr/local/share/doc/embedd/sbom.spdx.json"
    sbom = json.loads(file.read_text())
    names = {one["name"].split(":")[0]: one for one in sbom["packages"]}
    assert re.fullmatch(r"2\.\d+\.\d+(\+\w+)?", names["pytorch"]["versionInfo"]) and names["pytorch"]["licenseDeclared"] == "BSD-3-Clause"
    installed = re.findall(r"^Package: (.*)$", (root / "var/lib/dpkg/status").read_text(), re.M)
    assert set(installed) <= set(names) and {"embedd", "libgrpc++1.51"} <= set(names)
    for library in (root / "usr/local/lib/embedd").iterdir():
        assert any(one.get("packageFileName") == library.name for one in sbom["packages"])
    tools = tmp_path / "tools"
    venv.create(tools, with_pip=True)
    subprocess.run([str(tools / "bin/pip"), "install", "-q", "spdx-tools==0.8.5"], check=True)
    checked = subprocess.run([str(tools / "bin/pyspdxtools"), "-i", str(file)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    print(f"\n    image: {size:.0f} MB, {len(sbom['packages'])} packages in its SBOM")
