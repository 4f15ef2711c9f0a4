"""Prints the line coverage of the files that parse what others wrote, and fails below 90 % of their lines."""

import json
import pathlib
import sys

LEAST = 90.0
# Below checkpoint/src: rooms and files that decide what bytes of a file mean.
PARSERS = [
    "source/safetensors.rs", "source/gguf/", "source/json.rs", "source/json_file.rs", "source/config.rs",
    "source/tokenizer.rs", "source/not_weights.rs", "source/quantized/", "adapter/peft/config.rs", "adapter/peft/fields.rs",
    "adapter/peft/pattern.rs", "adapter/peft/read.rs", "adapter/peft/full.rs", "adapter/peft/target.rs",
    "adapter/gguf/read.rs", "adapter/single/read.rs", "adapter/single/places.rs", "adapter/compact/read.rs",
    "adapter/compact/unpack.rs", "adapter/mlx/read.rs", "adapter/open.rs", "adapter/format.rs", "report/",
]

root = pathlib.Path(__file__).resolve().parent.parent / "checkpoint/src"
rows = {}
for file in json.load(open(sys.argv[1]))["data"][0]["files"]:
    try:
        name = str(pathlib.Path(file["filename"]).relative_to(root))
    except ValueError:
        continue
    rows[name] = file["summary"]["lines"]
for parser in PARSERS:
    assert any(name.startswith(parser) for name in rows), f"coverage.py: there is no {parser} in what was measured"
total = covered = 0
for name, lines in sorted(rows.items()):
    if name.endswith("tests.rs") or not any(name.startswith(parser) for parser in PARSERS):
        continue
    total += lines["count"]
    covered += lines["covered"]
    print(f"{lines['percent']:6.1f} %  {lines['covered']:5d} of {lines['count']:5d}  {name}")
share = 100 * covered / total
print(f"{share:6.1f} %  {covered:5d} of {total:5d}  in all; of everything in checkpoint/src "
      f"{100 * sum(r['covered'] for r in rows.values()) / sum(r['count'] for r in rows.values()):.1f} %")
sys.exit(share < LEAST)
