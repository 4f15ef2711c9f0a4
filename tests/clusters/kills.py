#!/usr/bin/env python3
"""Kills extractions at random moments and lets them go on: nothing is lost, nothing is left, the result is that of one run.

    kills.py [--phlora target/release/phlora] [--kills 1000] [--seed 1] [--pair DIRECTORY] [--threads 2]

The trials take turns: a run with --resume, a share of two whose other half is done, the join of both. In each the process is killed
(SIGKILL) at a moment that is uniform over the time of a whole run, once or several times in a row, and then goes on to its end. After
every kill the output is there whole or not at all, beside it nothing but its part and, while it is being written, one hidden
directory or file that the next run removes; at the end there is the output alone, which equals that of one run byte for byte. A kill
counts only if it hit a living process. Without --pair a pair is generated.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent


def contents(path):
    """{name: bytes} of an adapter."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {entry.name: entry.read_bytes() for entry in sorted(path.iterdir())}


class Trials:
    def __init__(self, args, work):
        self.args, self.work, self.random = args, work, random.Random(args.seed)
        self.kills = {"--resume": 0, "--shard": 0, "join": 0}
        self.stages = {"with nothing": 0, "with a part": 0, "writing the output": 0, "with the output": 0}
        self.runs = 0
        self.output = work / f"adapter{args.suffix}"
        self.first, self.other = work / "first.part", work / "other.part"
        self.options = [*args.options.split(), "--threads", str(args.threads), "--quiet"]
        models = [str(args.pair / "base"), str(args.pair / "tuned")]
        self.extract = [str(args.phlora), "extract", *models, *self.options]
        self.run(self.extract + ["-o", str(self.output)])
        self.expected = contents(self.output)
        self.remove()
        self.run(self.extract + ["-o", str(self.first), "--shard", "1/2"])
        self.run(self.extract + ["-o", str(self.other), "--shard", "2/2"])
        self.join = [str(args.phlora), "join", str(self.other), "-o", str(self.output), "--quiet"]
        self.kept = {path.name for path in work.iterdir()}

    def run(self, command):
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"kills.py: {' '.join(command)} ends with {done.returncode}: {done.stderr}")

    def found(self):
        """Names beside the models and the other share."""
        return {path.name for path in self.work.iterdir()} - self.kept

    def remove(self):
        subprocess.run(["rm", "-rf", str(self.output), str(self.output) + ".part"], check=True)

    def hidden(self):
        """Names of outputs that are being written."""
        return {name for name in self.found() if name.startswith(f".{self.output.name}.phlora-")}

    def check(self, what, allowed):
        """Looks at what is there; an output must be whole."""
        stray = self.found() - allowed
        if stray:
            sys.exit(f"kills.py: {what}: {sorted(stray)} is left")
        if self.output.name in self.found() and self.output.name in allowed and contents(self.output) != self.expected:
            sys.exit(f"kills.py: {what}: the output is not whole")

    def duration(self, command):
        times = []
        for _ in range(5):
            self.remove()
            start = time.monotonic()
            self.run(command)
            times.append(time.monotonic() - start)
        self.remove()
        return sorted(times)[2]

    def trial(self, mode):
        """Kills one run, perhaps again and again, and ends it."""
        output, part = self.output.name, self.output.name + ".part"
        if mode == "--resume":
            command = self.extract + ["-o", str(self.output), "--resume"]
            allowed = {output, part}
        elif mode == "join":
            command, allowed = self.join + [str(self.first)], {output}
        else:
            command = self.extract + ["-o", str(self.output) + ".part", "--shard", "1/2"]
            allowed = {part}
        span = self.spans.setdefault(mode, None) or self.duration(command)
        self.spans[mode] = span
        while True:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            time.sleep(self.random.uniform(0, 1.05 * span))
            process.send_signal(signal.SIGKILL)
            error = process.communicate()[1]
            if process.returncode == -signal.SIGKILL:
                self.kills[mode] += 1
                found = self.found()
                hidden = self.hidden() if mode != "--shard" else set()
                places = [("with the output", output in found), ("writing the output", hidden), ("with a part", part in found)]
                self.stages[next((stage for stage, there in places if there), "with nothing")] += 1
                if len(hidden) > 1:
                    sys.exit(f"kills.py: kill {sum(self.kills.values())}: {sorted(hidden)} are left of several runs")
                self.check(f"kill {sum(self.kills.values())} of {mode}", allowed | hidden)
            elif process.returncode != 0:
                sys.exit(f"kills.py: {' '.join(command)} ends with {process.returncode}: {error.decode()}")
            if process.returncode == 0 or self.output.exists() or self.random.random() < 0.5:
                break
        done = self.output.exists()
        if mode != "--shard":
            # Once the output is there, all that can be left to do is to remove the part.
            self.run(command + ["--force"] if done else command)
        else:
            self.run(command)
            self.run(self.join + [str(self.output) + ".part"])
            os.remove(str(self.output) + ".part")
        self.check(f"the end of {mode}", {output})
        if contents(self.output) != self.expected:
            sys.exit(f"kills.py: {mode}: the adapter is not that of one run")
        self.runs += 1
        self.remove()

    def all(self):
        self.spans = {}
        while sum(self.kills.values()) < self.args.kills:
            self.trial(min(self.kills, key=self.kills.get))
        kills = ", ".join(f"{count} of {mode}" for mode, count in self.kills.items())
        stages = ", ".join(f"{count} {stage}" for stage, count in self.stages.items())
        spans = ", ".join(f"{mode} {1000 * span:.0f} ms" for mode, span in self.spans.items())
        print(f"{sum(self.kills.values())} kills ({kills}; {stages}) in {self.runs} runs, each of which ended with the bytes of one run")
        print(f"a whole run takes {spans}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = os.environ.get("CARGO_TARGET_DIR", HERE.parents[1] / "target")
    parser.add_argument("--phlora", type=pathlib.Path, default=os.environ.get("PHLORA_BIN", f"{target}/release/phlora"))
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pair", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--options", default="--rank 24")
    parser.add_argument("--suffix", default="", help="of the output's name, as .gguf with --options '--format gguf'")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        if not args.pair:
            args.pair = pathlib.Path(work) / "pair"
            subprocess.run([sys.executable, HERE / "generate.py", args.pair], check=True)
        output = pathlib.Path(work) / "out"
        output.mkdir()
        Trials(args, output).all()


main()
