#!/usr/bin/env python3
"""Runs deploy/ray in a Ray cluster of two nodes on this machine: eight shares of a generated pair, of which one process is killed, and
the join. The adapter equals that of one run byte for byte. Needs the Python of `setup.sh ray`.

    ray_cluster.py [--phlora target/release/phlora]
"""

import argparse
import collections
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray  # noqa: E402
from ray.cluster_utils import Cluster  # noqa: E402

KILLED = "00003.part"


def kill(parts, killed, stop):
    """Kills the process that writes the part KILLED once it holds more than its header."""
    part = parts / KILLED
    while not stop.is_set():
        if part.exists() and part.stat().st_size > 1 << 16:
            found = subprocess.run(["pgrep", "-f", "--", f"-o {part} --shard"], capture_output=True, text=True).stdout.split()
            if found:
                os.kill(int(found[0]), signal.SIGKILL)
                killed.append(part.stat().st_size)
                return
        time.sleep(0.005)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    parser.add_argument("--phlora", type=pathlib.Path, default=os.environ.get("PHLORA_BIN", f"{target}/release/phlora"))
    phlora = str(parser.parse_args().phlora.resolve())
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        sizes = ["--layers", "2", "--hidden", "512", "--inner", "384"]
        subprocess.run([sys.executable, ROOT / "tests/clusters/generate.py", work / "pair", *sizes], check=True)
        models = [str(work / "pair/base"), str(work / "pair/tuned")]
        options = ["--rank", "48", "--tolerance", "1e-9"]
        killed, stop = [], threading.Event()
        watch = threading.Thread(target=kill, args=(work / "parts", killed, stop))
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            cluster.add_node(num_cpus=1)
            cluster.wait_for_nodes()
            ray.init(address=cluster.address, log_to_driver=False)
            print(f"Ray {ray.__version__}: {sum(node['Alive'] for node in ray.nodes())} nodes")
            words = [*models, str(work / "joined"), "--parts", str(work / "parts"), "--shares", "8", "--cpus", "1"]
            watch.start()
            driver = [sys.executable, ROOT / "deploy/ray/extract.py", *words, "--phlora", phlora, "--", *options]
            environment = {**os.environ, "RAY_ADDRESS": cluster.address}
            said = subprocess.run(driver, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
            nodes = collections.Counter(re.findall(r"^(\w+): share \d/8 is in ", said, re.MULTILINE))
        finally:
            stop.set()
            ray.shutdown()
            cluster.shutdown()
        assert len(nodes) == 2 and nodes.total() == 8, nodes
        assert killed, "the process of share 3 was never seen at work"
        subprocess.run([phlora, "extract", *models, "-o", work / "one", "--threads", "1", "--quiet", *options], check=True)
        for path in (work / "one").iterdir():
            if path.read_bytes() != (work / "joined" / path.name).read_bytes():
                sys.exit(f"ray_cluster.py: {path.name} is not that of one run")
        counts = " and ".join(str(count) for count in nodes.values())
        print(f"8 shares, {counts} on the two nodes; the process of share 3 killed when its part held {killed[0]} bytes")
        print("joined to the bytes of one run")


main()
