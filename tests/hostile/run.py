"""Every file of the corpus through every command and the C functions.

    run.py COMMAND [HOST] [--only TEXT] [--table FILE]

COMMAND is the built `phlora`, HOST the built `host.c`. Each run must end by itself, with one of its documented codes, without
a panic, within the bounds below, which are measured, without a trace of an output that failed, and without a character in what
it prints that changes what a terminal shows.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent
PAIR = HERE.parent / "data" / "tiny-llama"
MIB = 1 << 20

# Resident memory, mapped files and the program itself included.
MOST_BYTES_PER_BYTE, MOST_BYTES = 10, 64 * MIB
MOST_SECONDS_PER_MIB, LEAST_SECONDS = 5, 5

# What host.c makes of one file, each call within the bound of time.
C_CALLS = 10


def commands(case, out, base, tuned, adapter):
    """What is run with a case, each with the output that it may leave."""
    path = case["path"]
    force = ["--force"]
    yield ["inspect", path], None
    if case["kind"] == "report":
        yield ["report", path, "-o", out / "page.html"], out / "page.html"
    elif case["kind"] == "model":
        yield ["plan", path, path], None
        yield ["extract", path, tuned, "-o", out / "a", "--rank", "2"], out / "a"
        yield ["extract", base, path, "-o", out / "b.gguf", "--rank", "2"], out / "b.gguf"
        yield ["extract", base, tuned, "--deployed-base", path, "-o", out / "c", "--rank", "2"], out / "c"
        yield ["check", adapter, "--base", path], None
        yield ["convert", adapter, "--base", path, "-o", out / "d.gguf"], out / "d.gguf"
        yield ["merge", path, adapter, "-o", out / "e"], out / "e"
        yield ["verify", path, path, adapter], None
    else:
        yield ["check", path], None
        yield ["check", path, "--base", base], None
        yield ["convert", path, "-o", out / "f.gguf", "--arch", "llama", "--heads", "4,2"], out / "f.gguf"
        yield ["convert", path, "-o", out / "g", "--base", base], out / "g"
        yield ["convert", path, "-o", out / "h.safetensors", "--format", "kohya"], out / "h.safetensors"
        yield ["prune", path, "-o", out / "i", "--rank", "1"], out / "i"
        yield ["merge", base, path, "-o", out / "j", *force], out / "j"
        yield ["verify", base, tuned, path], None


def changes_the_terminal(text):
    """The first character that does, other than the end of a line."""
    hidden = set(range(0x200B, 0x2010)) | set(range(0x202A, 0x202F)) | set(range(0x2060, 0x2070)) | {0xFEFF, 0x061C}
    for char in text:
        if (ord(char) < 32 and char not in "\n\t") or 127 <= ord(char) < 160 or ord(char) in hidden:
            return f"U+{ord(char):04X}"
    return None


def measured(arguments, seconds):
    """Exit code (negative: signal; None: out of time), largest resident bytes, seconds, what it printed."""
    with tempfile.TemporaryFile() as printed:
        start = time.monotonic()
        child = subprocess.Popen(
            list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
            env={**os.environ, "NO_COLOR": "1", "RUST_BACKTRACE": "0"},
        )
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            took = time.monotonic() - start
            if pid:
                break
            if took > seconds:
                child.kill()
                _, status, usage = os.wait4(child.pid, 0)
                status = None
                break
            time.sleep(0.0005 if took < 0.1 else 0.01)
        child.returncode = 0
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    code = None if status is None else os.waitstatus_to_exitcode(status)
    return code, usage.ru_maxrss * 1024, took, text


def judge(case, arguments, output, calls=1, codes=(0, 1, 2)):
    # A file that is named twice is read twice.
    size = case["bytes"] * max(1, arguments.count(case["path"]))
    most = MOST_BYTES_PER_BYTE * size + MOST_BYTES
    seconds = calls * max(LEAST_SECONDS, MOST_SECONDS_PER_MIB * size / MIB)
    code, held, took, text = measured(arguments, seconds)
    wrong = []
    if code is None:
        wrong.append(f"more than {seconds:.0f} s")
    elif code not in codes:
        wrong.append(f"exit code {code}")
    if "panicked" in text or "RUST_BACKTRACE" in text:
        wrong.append("a panic")
    if held > most:
        wrong.append(f"{held / MIB:.0f} MiB, more than {most / MIB:.0f}")
    if char := changes_the_terminal(text):
        wrong.append(f"it prints {char}")
    if code not in (0, None) and not text.strip():
        wrong.append("an error without a word")
    if output is not None:
        left = list(output.parent.iterdir()) if output.parent.exists() else []
        if code != 0 and left:
            wrong.append(f"it leaves {[path.name for path in left]}")
        if code == 0 and left != [output]:
            wrong.append(f"there is {[path.name for path in left]}")
    return wrong, held, took, text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", type=pathlib.Path)
    parser.add_argument("host", type=pathlib.Path, nargs="?")
    parser.add_argument("--only", default="")
    parser.add_argument("--table", type=pathlib.Path)
    options = parser.parse_args()
    base, tuned = PAIR / "base", PAIR / "tuned"
    runs, failures = 0, 0
    rows = []
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        subprocess.run([sys.executable, HERE / "corpus.py", work / "corpus"], check=True)
        cases = json.loads((work / "corpus" / "cases.json").read_text())
        adapter = work / "adapter"
        subprocess.run([options.command, "extract", base, tuned, "-o", adapter, "--rank", "2", "--quiet"], check=True)
        for case in cases:
            if options.only not in case["name"]:
                continue
            out = work / "out"
            planned = [([options.command, *arguments], output) for arguments, output in commands(case, out, base, tuned, adapter)]
            if options.host:
                planned.append(([options.host, case["path"], base, tuned, adapter, out / "host"], None))
            for arguments, output in planned:
                out.mkdir()
                calls = C_CALLS if arguments[0] == options.host else 1
                wrong, held, took, text = judge(case, arguments, output, calls)
                shutil.rmtree(out)
                what = f"{case['name']}: {' '.join(map(str, arguments[1:2] if arguments[0] == options.command else ['C']))}"
                runs += 1
                rows.append((what, case["bytes"] * max(1, arguments.count(case["path"])), held, took))
                if wrong:
                    failures += 1
                    print(f"FAIL {what}: {'; '.join(wrong)}\n    {' '.join(map(str, arguments))}\n    {text[:300]!r}", flush=True)
    if options.table:
        lines = (f"{what}\t{size}\t{held}\t{took:.3f}\n" for what, size, held, took in rows)
        options.table.write_text("".join(lines))
    most = max(rows, key=lambda row: row[2] - MOST_BYTES_PER_BYTE * row[1], default=None)
    print(f"{len({row[0].rsplit(':', 1)[0] for row in rows})} files, {runs} runs, {failures} failures")
    if most:
        print(f"nearest to its memory: {most[0]}, {most[2] / MIB:.0f} MiB for a file of {most[1] / MIB:.2f} MiB")
        slow = max(rows, key=lambda row: row[3])
        print(f"longest: {slow[0]}, {slow[3]:.2f} s")
    sys.exit(1 if failures or not runs else 0)


if __name__ == "__main__":
    main()
