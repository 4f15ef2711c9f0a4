#!/usr/bin/env python3
"""Validates deploy/kubernetes by the schemas of Kubernetes and runs its jobs by a stand-in, which is no Kubernetes: it starts the
containers' commands as processes, sets JOB_COMPLETION_INDEX, starts an index again whose process ended badly, and puts a folder in
the place of the volume.

    kubernetes.py [--phlora target/release/phlora]

The first process of one index is killed. The joined adapter equals that of one run byte for byte. Needs the Python of setup.sh.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILLED = 3


def words(container, places):
    """The command of a container, with the folder that `places` has for a path."""
    all = container["command"] + container["args"]
    for path, place in places.items():
        all = [re.sub(f"(?<![^ =\"']){path}/", f"{place}/", word) for word in all]
    return all


def start(job, index, folder, phlora):
    """Starts a pod of the job."""
    spec = job["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert {volume["name"] for volume in spec["volumes"]} == {mount["name"] for mount in container["volumeMounts"]}
    places = {mount["mountPath"]: folder for mount in container["volumeMounts"]}
    variables = {item["name"]: item["value"] for item in container.get("env", [])}
    if job["spec"].get("completionMode") == "Indexed":
        variables["JOB_COMPLETION_INDEX"] = str(index)
    environment = {"PATH": f"{phlora.parent}:/usr/bin:/bin", **variables}
    return subprocess.Popen(words(container, places), env=environment)


def run(job, folder, phlora):
    """Runs a job as its controller would; says what was started again."""
    spec = job["spec"]
    indexed = spec.get("completionMode") == "Indexed"
    waiting = [(index, 0) for index in range(spec.get("completions", 1))]
    limit = spec["backoffLimitPerIndex"] if indexed else spec["backoffLimit"]
    width, working, failures = min(spec.get("parallelism", 1), os.cpu_count()), {}, 0
    while waiting or working:
        while waiting and len(working) < width:
            index, attempt = waiting.pop(0)
            process = start(job, index, folder, phlora)
            if indexed and (index, attempt) == (KILLED, 0):
                process.send_signal(signal.SIGKILL)
            working[process] = (index, attempt)
        process = next(iter(working))
        index, attempt = working.pop(process)
        if process.wait() != 0:
            failures += 1
            if attempt == limit:
                sys.exit(f"kubernetes.py: {job['metadata']['name']}: index {index} ends with {process.returncode}")
            waiting.append((index, attempt + 1))
    return failures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    parser.add_argument("--phlora", type=pathlib.Path, default=os.environ.get("PHLORA_BIN", f"{target}/release/phlora"))
    args = parser.parse_args()
    jobs = {}
    files = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
    version = kubernetes_validate.latest_version()
    for path in files:
        for document in yaml.safe_load_all(path.read_text()):
            kubernetes_validate.validate(document, version, strict=True)
            jobs[document["metadata"]["name"]] = document
    try:
        broken = yaml.safe_load((ROOT / "deploy/kubernetes/shares.yaml").read_text())
        broken["spec"]["completion"] = 8
        kubernetes_validate.validate(broken, version, strict=True)
        sys.exit("kubernetes.py: the validator takes anything")
    except kubernetes_validate.ValidationError:
        pass
    print(f"{len(files)} manifests are valid for Kubernetes {version}")

    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        folder, programs = work / "volume", work / "bin"
        programs.mkdir()
        phlora = programs / "phlora"
        phlora.symlink_to(args.phlora.resolve())
        shutil.copytree(ROOT / "tests/data/tiny-llama", folder)
        shares = jobs["phlora-shares"]
        assert f"--shard=auto/{shares['spec']['completions']} " in shares["spec"]["template"]["spec"]["containers"][0]["args"][0]
        again = run(shares, folder, phlora)
        assert again == 1, f"{again} pods failed, expected the one that was killed"
        run(jobs["phlora-join"], folder, phlora)
        options = ["--rank", "32", "--quiet", "--output", work / "one"]
        subprocess.run([phlora, "extract", folder / "base", folder / "tuned", *options], check=True)
        for path in (work / "one").iterdir():
            if path.read_bytes() != (folder / "adapter" / path.name).read_bytes():
                sys.exit(f"kubernetes.py: {path.name} is not that of one run")
    count = shares["spec"]["completions"]
    print(f"stand-in: {count} shares, index {KILLED} killed and started again, joined to the bytes of one run")


main()
