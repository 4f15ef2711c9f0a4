#!/usr/bin/env python3
"""Extracts an adapter in shares over the nodes of a Ray cluster, and joins them.

    extract.py BASE TUNED OUT --parts DIRECTORY --shares 8 [--cpus 2] [--rounds 1] [--phlora phlora] [-- options of phlora extract]

All paths must be seen by every node. A share that fails, or whose node is lost, starts again and goes on where its part ends. Two
rounds are for --uniform, and wherever the join asks to run every shard again. RAY_ADDRESS names the cluster; without it Ray starts
one on this machine.
"""

import argparse
import os
import pathlib
import subprocess
import sys

import ray


def run(command):
    """Runs a command; an error carries what it said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ends with {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()


@ray.remote(max_retries=4, retry_exceptions=True, scheduling_strategy="SPREAD")
def share(command):
    """One share; the node that it ran on and what it said."""
    return ray.get_runtime_context().get_node_id(), run(command)


@ray.remote(max_retries=2)
def join(command):
    return run(command)


def extract(args):
    """Runs all rounds and the join; yields what each share says as it ends."""
    directory = os.path.abspath(args.parts)
    pathlib.Path(directory).mkdir(parents=True, exist_ok=True)
    models = [os.path.abspath(args.base), os.path.abspath(args.tuned)]
    parts = [f"{directory}/{index:05}.part" for index in range(1, args.shares + 1)]
    for round in range(args.rounds):
        waiting = []
        for index, part in enumerate(parts, 1):
            command = [args.phlora, "extract", *models, "-o", part, "--shard", f"{index}/{args.shares}"]
            command += ["--threads", str(args.cpus), *args.options]
            command += ["--parts", *parts] if round > 0 else []
            waiting.append(share.options(num_cpus=args.cpus).remote(command))
        while waiting:
            ended, waiting = ray.wait(waiting)
            yield from ray.get(ended)
    yield None, ray.get(join.remote([args.phlora, "join", *parts, "-o", os.path.abspath(args.out)]))


def parse(words):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("base", "tuned", "out"):
        parser.add_argument(name)
    parser.add_argument("--parts", required=True)
    parser.add_argument("--shares", type=int, required=True)
    parser.add_argument("--cpus", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--phlora", default="phlora")
    end = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:end])
    args.options = words[end + 1 :]
    return args


if __name__ == "__main__":
    ray.init()
    for node, said in extract(parse(sys.argv[1:])):
        print(f"{node[:8]}: {said}" if node else said)
