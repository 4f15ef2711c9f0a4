"""What becomes of an output when a system call fails, the disk is full, the process is killed, or two write at once.

    run.py COMMAND [--long] [--kills N] [--seed N] [--only WRITER] [--what PART…]

COMMAND is the built `phlora`. Whatever happens, the output is the old one or the new one, whole; the exit code is 0 only with the
new one, and an error says something; a killed process leaves at most one hidden name beside the output (two where names cannot
be exchanged), and the next run removes it. Linux, with strace; some parts need user namespaces and say so when they do not run.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PAIR = pathlib.Path(__file__).parents[1] / "data" / "tiny-llama"

# Calls that change what is on disk, or say that it is there.
WRITING = "write,writev,pwrite64,fsync,fdatasync,ftruncate,rename,renameat,renameat2,linkat,mkdir,mkdirat,unlink,unlinkat,rmdir,flock"
# All others on files and descriptors.
READING = "open,openat,read,pread64,fstat,newfstatat,statx,lseek,getdents64,mmap,madvise,fcntl,close,readlink,access"


# What is done to each writer.
PARTS = ["inject", "no-exchange", "process-1", "at-once", "full-disk", "kills"]


class Writer:
    """A command with an output, `out`, in a directory of its own.

    `beside` are names that may stay there when it is killed. Where the output is a part of an extraction, which grows, `join` makes
    an adapter of it: what counts is whether that is the one of a run in one go.
    """

    def __init__(self, name, arguments, out, seed_old, beside=(), join=None):
        self.name, self.arguments, self.out, self.seed_old = name, arguments, out, seed_old
        self.beside, self.join = set(beside), join


def writers(shared):
    base, tuned = PAIR / "base", PAIR / "tuned"
    adapter, gguf = shared / "adapter", shared / "adapter.gguf"
    base_file = base / "model.safetensors"
    few = ["--include", r"layers\.0\.self_attn\.[kv]_proj", "--quiet"]
    extract = ["extract", base, tuned, *few, "--threads", "1"]
    yield Writer("directory", [*extract, "-o", "out", "--rank", "4", "--force"], "out", [*extract, "-o", "out", "--rank", "2"])
    yield Writer("new directory", [*extract, "-o", "out", "--rank", "4"], "out", None)
    yield Writer("file", [*extract, "-o", "out.gguf", "--rank", "4", "--force"], "out.gguf", [*extract, "-o", "out.gguf", "--rank", "2"])
    yield Writer("convert", ["convert", adapter, "--base", base, "-o", "out.gguf", "--force", "--quiet"], "out.gguf", [*extract, "-o", "out.gguf", "--rank", "2"])
    yield Writer("prune", ["prune", adapter, "-o", "out", "--rank", "1", "--force", "--quiet"], "out", [*extract, "-o", "out", "--rank", "2"])
    yield Writer("merge", ["merge", base_file, adapter, "-o", "out.safetensors", "--force", "--quiet"], "out.safetensors", ["merge", base_file, gguf, "-o", "out.safetensors", "--quiet", "--scale", "0.5"])
    yield Writer("resume", [*extract, "-o", "out", "--rank", "4", "--force", "--resume"], "out", [*extract, "-o", "out", "--rank", "2"], beside=["out.part"])
    other, whole = shared / "other.part", shared / "whole.part"
    yield Writer("shard", [*extract, "-o", "out.part", "--rank", "4", "--shard", "1/2"], "out.part", None, join=["join", other, "out.part", "-o", "joined", "--quiet"])
    yield Writer("join", ["join", other, whole, "-o", "out", "--force", "--quiet"], "out", [*extract, "-o", "out", "--rank", "2"])
    yield Writer("page", ["report", shared / "report.json", "-o", "out.html", "--force"], "out.html", ["report", shared / "old.json", "-o", "out.html"])


def content(path):
    """What is at a path: None, bytes, or {name: bytes}."""
    if path.is_dir():
        return {entry.name: entry.read_bytes() for entry in sorted(path.iterdir())}
    return path.read_bytes() if path.exists() else None


class Failed(Exception):
    pass


class Bench:
    def __init__(self, command, writer, work):
        self.command, self.writer, self.work = command.resolve(), writer, work
        work.mkdir()
        self.place = work / "place"
        self.counts = collections.Counter()
        self.reset(old=False)
        if writer.seed_old:
            self.must(writer.seed_old)
        self.old_tree = work / "old"
        shutil.copytree(self.place, self.old_tree)
        self.old = content(self.place / writer.out)
        self.must(writer.arguments)
        self.new = self.joined() if writer.join else content(self.place / writer.out)
        if self.old == self.new:
            raise Failed("the old output is the new one: this would prove nothing")

    def reset(self, old=True):
        shutil.rmtree(self.place, ignore_errors=True)
        if old:
            shutil.copytree(self.old_tree, self.place)
        else:
            self.place.mkdir()

    def run(self, prefix=(), arguments=None, **more):
        arguments = self.writer.arguments if arguments is None else arguments
        line = [*prefix, self.command, *arguments]
        return subprocess.run(list(map(str, line)), cwd=self.place, stdin=subprocess.DEVNULL, capture_output=True, **more)

    def must(self, arguments):
        done = self.run(arguments=arguments)
        if done.returncode:
            raise Failed(f"{arguments}: {done.stderr.decode()}")

    def joined(self):
        """The adapter of a part, None where it does not make one."""
        done = self.run(arguments=self.writer.join)
        found = content(self.place / "joined") if done.returncode == 0 else None
        shutil.rmtree(self.place / "joined", ignore_errors=True)
        return found

    def state(self):
        """"old", "new", or None: something else, or nothing where there should be something."""
        found = content(self.place / self.writer.out)
        if self.writer.join:
            return "new" if found and self.joined() == self.new else "old"
        return "old" if found == self.old else "new" if found == self.new else None

    def hidden(self):
        names = (entry.name for entry in self.place.iterdir())
        return [name for name in names if name != self.writer.out and name not in self.writer.beside]

    def left(self):
        """All names beside the output."""
        return [entry.name for entry in self.place.iterdir() if entry.name != self.writer.out]

    def judge(self, what, code, text, most_hidden, missing=False):
        """Old or new, whole; and the next run works and leaves nothing beside its output."""
        state, found = self.state(), content(self.place / self.writer.out)
        if state is None and not (missing and found is None):
            raise Failed(f"{what}: the output is neither the old nor the new one ({'missing' if found is None else 'other'}); {text[-300:]!r}")
        if code == 0 and state != "new":
            raise Failed(f"{what}: exit code 0 without the new output")
        if code is not None and code > 0 and not text.strip():
            raise Failed(f"{what}: exit code {code} without a word")
        if len(self.hidden()) > most_hidden:
            raise Failed(f"{what}: it leaves {self.hidden()}")
        self.counts[state or "missing"] += 1
        again = self.run()
        if not self.writer.arguments.count("--force") and state == "new":
            again.returncode = 0
        if again.returncode:
            raise Failed(f"{what}: the next run fails: {again.stderr.decode()[-300:]}")
        if self.state() != "new" or self.left():
            raise Failed(f"{what}: after the next run there is {self.left()}, output {self.state()}")

    def calls(self, traced, prefix=()):
        """How often each thread calls what; the most of any thread."""
        self.reset()
        log = self.work / "calls"
        done = self.run([*prefix, "strace", "-f", "-qq", "-o", log, "-e", f"trace={traced}"])
        if done.returncode:
            raise Failed(f"it fails under strace: {done.stderr.decode()}")
        by_thread = collections.Counter()
        for line in log.read_text(errors="replace").splitlines():
            thread, _, rest = line.partition(" ")
            name = rest.strip().partition("(")[0]
            if name.isidentifier():
                by_thread[thread, name] += 1
        most = collections.Counter()
        for (_, name), count in by_thread.items():
            most[name] = max(most[name], count)
        return most


def spread(count, most):
    """All numbers from 1 to count, or as many as `most`, the first, the last and those between."""
    if count <= most:
        return range(1, count + 1)
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


def inject(bench, traced, most):
    for name, count in sorted(bench.calls(traced).items()):
        errors = {"write": ["ENOSPC", "EIO"], "rename": ["EIO", "EACCES"], "renameat2": ["EIO", "EACCES"]}.get(name, ["EIO"])
        for number in spread(count, most):
            for error in errors:
                bench.reset()
                log = bench.work / "injected"
                done = bench.run(["strace", "-f", "-qq", "-o", log, "-e", f"trace={name}", "-e", f"inject={name}:error={error}:when={number}"])
                text = (done.stdout + done.stderr).decode(errors="replace")
                # It counts for each thread: the message itself may be what cannot be written.
                if any(" write(2," in line and "INJECTED" in line for line in log.read_text(errors="replace").splitlines()):
                    text = text or "(the message was refused as well)"
                # A removal that fails leaves what it could not remove.
                bench.judge(f"{error} at {name} {number} of {count}", done.returncode, text, 1)
            bench.reset()
            done = bench.run(["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={number}"])
            bench.judge(f"killed at {name} {number} of {count}", None, "", 1)


def without_exchange(bench):
    """The two renames of systems that cannot exchange names: killed and failing at each."""
    refuse = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=renameat2:error=EINVAL"]
    for number in range(1, 5):
        for fault in ("signal=KILL", "error=EIO"):
            bench.reset()
            done = bench.run([*refuse, "-e", f"inject=rename:{fault}:when={number}"])
            killed = fault.startswith("signal")
            code = None if killed else done.returncode
            bench.judge(f"without exchange, {fault} at rename {number}", code, done.stderr.decode(), 2, missing=killed)


def random_kills(bench, count, chance):
    spans = []
    for _ in range(3):
        bench.reset()
        start = time.monotonic()
        bench.must(bench.writer.arguments)
        spans.append(time.monotonic() - start)
    bench.reset()
    whole = min(spans)
    for number in range(count):
        if number % 8 == 0:
            bench.reset()
        child = subprocess.Popen(list(map(str, [bench.command, *bench.writer.arguments])), cwd=bench.place, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0, 1.1 * whole))
        child.send_signal(signal.SIGKILL)
        child.wait()
        state = bench.state()
        if state is None or len(bench.hidden()) > 1:
            raise Failed(f"kill {number}: output {state}, {bench.hidden()}")
        bench.counts["killed" if child.returncode < 0 else "ended before the kill"] += 1
        # Before the place is laid anew the next run ends well and leaves nothing.
        if number % 8 == 7 and ("--force" in bench.writer.arguments or state == "old"):
            bench.must(bench.writer.arguments)
            if bench.state() != "new" or bench.left():
                raise Failed(f"after kill {number}: output {bench.state()}, {bench.left()}")
    bench.reset()


def two_writers(bench, count):
    for number in range(count):
        bench.reset()
        line = list(map(str, [bench.command, *bench.writer.arguments]))
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        all_three = [subprocess.Popen(line, cwd=bench.place, **quiet) for _ in range(3)]
        texts = [child.communicate()[1] for child in all_three]
        codes = [child.returncode for child in all_three]
        found = content(bench.place / bench.writer.out)
        if found != bench.new or 0 not in codes or bench.left() or any(code not in (0, 2) for code in codes):
            raise Failed(f"writers at once, {number}: codes {codes}, {bench.hidden()}, {texts}")
        bench.counts["at once"] += 1


def as_process_1(bench, count):
    first = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*first, "true"], capture_output=True).returncode:
        print("  as process 1: not run, there are no user namespaces here")
        return
    bench.reset()
    for number in range(count):
        kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fsync:signal=KILL:when=1"]
        bench.run([*kill, *first])
        found = content(bench.place / bench.writer.out)
        if found != bench.old or len(bench.hidden()) > 1:
            raise Failed(f"as process 1, kill {number}: {bench.hidden()}")
        bench.counts["killed as process 1"] += 1
    done = bench.run(first)
    if done.returncode or content(bench.place / bench.writer.out) != bench.new or bench.hidden():
        raise Failed(f"as process 1 after {count} kills: {done.stderr.decode()} {bench.hidden()}")


def full_disk(bench, steps):
    space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*space, "mount -t tmpfs none /mnt"], capture_output=True).returncode:
        print("  full disk: not run, there are no user namespaces here")
        return
    pages = lambda sizes: sum(-(-size // 4096) for size in sizes)
    # A file system of 0 pages is one without a limit.
    least = max(1, pages(path.stat().st_size for path in bench.old_tree.rglob("*") if path.is_file()))
    most = least + 2 * pages(len(part) for part in (bench.new.values() if isinstance(bench.new, dict) else [bench.new])) + 8
    line = " ".join(map(str, [bench.command, *bench.writer.arguments])).replace("\\", "\\\\")
    done_before = False
    for step in range(steps):
        room = least + step * (most - least) // (steps - 1)
        keep = bench.work / "kept"
        shutil.rmtree(keep, ignore_errors=True)
        script = (
            f"mount -t tmpfs -o size={room * 4096} none {bench.place} && cp -r {bench.old_tree}/. {bench.place}/ && cd {bench.place} || exit 99\n"
            f"'{bench.command}' \"$@\"; code=$?; mkdir {keep} && cp -r {bench.place}/. {keep}/ && exit $code"
        )
        bench.reset(old=False)
        done = subprocess.run([*space, script, "sh", *map(str, bench.writer.arguments)], stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode == 99:
            continue
        found = content(keep / bench.writer.out)
        may_stay = bench.writer.beside if done.returncode else set()
        left = [entry.name for entry in keep.iterdir() if entry.name not in {bench.writer.out} | may_stay]
        if bench.writer.join:
            shutil.copytree(keep, bench.place, dirs_exist_ok=True)
            sound = done.returncode or bench.state() == "new"
        else:
            sound = found == (bench.old if done.returncode else bench.new)
        if not sound or left or (done.returncode and not done.stderr.strip()):
            raise Failed(f"disk of {room} pages: code {done.returncode}, left {left}, {done.stderr.decode()[-300:]}")
        bench.counts["full" if done.returncode else "fits"] += 1
        done_before |= done.returncode != 0
    if not done_before:
        raise Failed(f"no disk was too small: {line}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", type=pathlib.Path)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--kills", type=int, help="random kills of each writer: 25, or 1500 with --long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--what", nargs="+", choices=PARTS, default=PARTS, help="parts of the test; all by default")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    failures = 0
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        shared = work / "shared"
        shared.mkdir()
        base, tuned = PAIR / "base", PAIR / "tuned"
        few = ["--include", r"layers\.0\.self_attn\.[kv]_proj", "--quiet"]
        for rank, report in (("4", "report.json"), ("2", "old.json")):
            out = shared / ("adapter" if rank == "4" else "adapter.gguf")
            subprocess.run([options.command, "extract", base, tuned, "-o", out, "--rank", rank, "--report", shared / report, *few], check=True)
        for share, part in (("1/2", "whole.part"), ("2/2", "other.part")):
            subprocess.run([options.command, "extract", base, tuned, "-o", shared / part, "--rank", "4", "--shard", share, "--threads", "1", *few], check=True)
        total = collections.Counter()
        for writer in writers(shared):
            if options.only and options.only != writer.name:
                continue
            start = time.monotonic()
            try:
                bench = Bench(options.command, writer, work / writer.name.replace(" ", "-"))
                if "inject" in options.what:
                    inject(bench, WRITING, 10_000 if options.long else 6)
                    if options.long:
                        inject(bench, READING, 200)
                if "no-exchange" in options.what and writer.name == "directory":
                    without_exchange(bench)
                if "process-1" in options.what and (writer.name == "directory" or options.long and writer.seed_old):
                    as_process_1(bench, 100 if options.long else 20)
                if "at-once" in options.what and writer.seed_old:
                    two_writers(bench, 200 if options.long else 5)
                if "full-disk" in options.what and (writer.seed_old or writer.join):
                    full_disk(bench, 100 if options.long else 6)
                if "kills" in options.what:
                    random_kills(bench, options.kills or (1500 if options.long else 25), chance)
            except Failed as failure:
                failures += 1
                print(f"FAIL {writer.name}: {failure}", flush=True)
                continue
            total += bench.counts
            print(f"{writer.name}: {dict(bench.counts)} in {time.monotonic() - start:.0f} s", flush=True)
    print(f"all: {dict(total)}, {failures} failures")
    sys.exit(1 if failures or not total else 0)


if __name__ == "__main__":
    main()
