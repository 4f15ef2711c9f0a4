#!/usr/bin/env python3
"""Runs every case of cases.txt by the command and through the C ABI, and compares what they write.

    tests/parity/run.py COMMAND DRIVER WORK

Files must be the same to the byte, reports but for the time and the command line that they tell, model cards but for the command; what the driver prints must be in the JSON that the
command prints. cli/src/args/parity.rs checks that every option of the command that C has occurs in a case.
"""

import json
import re
import struct
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAIR = HERE.parent / "data" / "tiny-llama"
CHECK_FAILED = 1


def channel_scales(path):
    """A vector for one module of the pair."""
    values = struct.pack("<192f", *(1 + i % 5 / 4 for i in range(192)))
    header = {"model.layers.0.self_attn.q_proj": {"dtype": "F32", "shape": [192], "data_offsets": [0, len(values)]}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + values)


def convolutions(path):
    """An adapter in kohya's form with a convolution 3 wide and a linear layer, of rank 6 both."""
    tensors, at = {}, 0
    for module, shapes in {
        "lora_unet_down_blocks_0_resnets_0_conv1": ([6, 16, 3, 3], [24, 6, 1, 1]),
        "lora_unet_down_blocks_0_attentions_0_proj_in": ([6, 32], [40, 6]),
    }.items():
        for half, shape in zip(("lora_down", "lora_up"), shapes):
            tensors[f"{module}.{half}.weight"] = shape
        tensors[f"{module}.alpha"] = []
    header, values = {}, []
    for name, shape in tensors.items():
        count = 1
        for length in shape:
            count *= length
        values += [((at + i) * 37 % 101 - 50) / 100 if shape else 6.0 for i in range(count)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [4 * at, 4 * (at + count)]}
        at += count
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + struct.pack(f"<{at}f", *values))


def run(words, where):
    done = subprocess.run(words, cwd=where, capture_output=True, text=True)
    if done.returncode not in (0, CHECK_FAILED) or "refused" in done.stderr:
        raise SystemExit(f"{' '.join(map(str, words))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def within(small, large):
    """Whether all that `small` says is in `large`."""
    if isinstance(small, dict):
        return isinstance(large, dict) and all(key in large and within(small[key], large[key]) for key in small)
    if isinstance(small, list):
        return isinstance(large, list) and len(small) == len(large) and all(map(within, small, large))
    return small == large


def untimed(text):
    report = json.loads(text)
    report.pop("seconds", None)
    report.pop("command", None)
    report.get("origin", {}).pop("command", None)
    return report


def unasked(card):
    """A model card without the command, which C has none of."""
    return re.sub(r"\n## How it was made\n```sh\n.*?\n```\n", "", card.decode(), flags=re.S)


def untyped(page):
    """A page without the command."""
    return re.sub(rb'<pre class="command".*?</pre>', b"", page, flags=re.S)


def same_file(one, other):
    left, right = one.read_bytes(), other.read_bytes()
    if left == right:
        return True
    if one.name == "README.md":
        return unasked(left) == unasked(right)
    if one.suffix == ".html":
        return untyped(left) == untyped(right)
    return one.name.startswith("report") and untimed(left) == untimed(right)


def compare(case, left, right):
    names = [{path.relative_to(side) for path in side.rglob("*") if path.is_file()} for side in (left, right)]
    names = [{name for name in side if not name.name.endswith(".part")} for side in names]
    if names[0] != names[1]:
        raise SystemExit(f"{case}: the command writes {sorted(names[0])}, C {sorted(names[1])}")
    for name in sorted(names[0]):
        if not same_file(left / name, right / name):
            raise SystemExit(f"{case}: {name} differs")
    return len(names[0])


def main(command, driver, work):
    work = Path(work).resolve()
    places = {"base": PAIR / "base", "tuned": PAIR / "tuned", "made": work / "made"}
    made = places["made"]
    made.mkdir(parents=True)
    channel_scales(made / "scales.safetensors")
    convolutions(made / "convolutions.safetensors")
    for words in (
        ["extract", PAIR / "base", PAIR / "tuned", "-o", "adapter", "--rank", "12"],
        ["extract", PAIR / "base", PAIR / "tuned", "-o", "other.gguf", "--rank", "4"],
        ["merge", PAIR / "base", "adapter", "-o", "deployed"],
        ["extract", PAIR / "base", PAIR / "tuned", "-o", "similar", "--rank", "6", "--include", "layers.[12]"],
        ["plan", PAIR / "base", PAIR / "tuned", "--max-rank", "16", "--report", "spectra.json"],
    ):
        run([command, *words], made)
    lines = (HERE / "cases.txt").read_text().splitlines()
    cases = [line.split(" | ") for line in lines if line.strip() and not line.startswith("#")]
    files = 0
    for number, (asked, in_c) in enumerate(cases):
        sides = [work / f"{number}-{side}" for side in ("command", "c")]
        told = []
        for side, program, steps in zip(sides, (command, driver), (asked, in_c)):
            side.mkdir()
            for step in steps.split(" ; "):
                said = run([program, *step.format(**places).split()], side)
            told.append(said)
        files += compare(asked, *sides)
        if told[1] and not within(json.loads(told[1]), json.loads(told[0])):
            raise SystemExit(f"{asked}: the command says\n{told[0]}\nC says\n{told[1]}")
    print(f"{len(cases)} cases, {files} files: the command and C write the same")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    main(str(Path(sys.argv[1]).resolve()), str(Path(sys.argv[2]).resolve()), sys.argv[3])
