"""Prints what rules for dividing bytes among modules do to the model: nll less that of one rank for all, at equal bytes.

    "$(tests/interop/setup.sh)" tests/interop/criteria.py [FILE…]

Pairs: the real one, the real one with its sides swapped, and with files of text as arguments a third one, for which the base
is fine-tuned on them (300 steps, some minutes). Adapters are exact truncated decompositions; nothing is rounded. A rule is a
score of direction i of a module; directions are taken by falling score.
"""

import sys
from pathlib import Path

import conftest  # noqa: F401  the settings: no hub, two threads
import numpy as np
import pair
import torch

RANKS = [4, 8, 16, 32]


class Module:
    def __init__(self, base, tuned):
        self.base = base
        self.u, self.sigma, self.v = torch.linalg.svd(tuned - base, full_matrices=False)
        self.squares = (self.sigma**2).numpy()
        self.cost = sum(base.shape)
        self.norm = base.norm().item()
        self.largest = torch.linalg.matrix_norm(base, 2).item()
        self.stretch = stretch(base)
        # sqrt of the kept share of the module's own difference
        self.kept = np.sqrt(np.cumsum(self.squares) / self.squares.sum())

    def at(self, rank):
        return self.base + (self.u[:, :rank] * self.sigma[:rank]) @ self.v[:rank]


def stretch(weight, steps=3):
    """The largest singular value as the command estimates it: by some steps of the power method."""
    vector = torch.randint(0, 2, (weight.shape[1],), generator=torch.Generator().manual_seed(0)).to(weight) * 2 - 1
    for _ in range(steps):
        vector = weight.T @ (weight @ (vector / vector.norm()))
    return vector.norm().sqrt().item()


RULES = {
    "σ²/bytes": lambda m, i: m.squares[i] / m.cost,
    "σ²/‖W‖²_F": lambda m, i: m.squares[i] / m.norm**2,
    "σ²/‖Δ‖²_F": lambda m, i: m.squares[i] / m.squares.sum(),
    "√kept share": lambda m, i: m.kept[i] - (m.kept[i - 1] if i else 0),
    "σ²/(i·‖W‖_F·‖W‖₂)": lambda m, i: m.squares[i] / ((i + 1) * m.norm * m.largest),
    "σ²/(i·σ₁²)": lambda m, i: m.squares[i] / ((i + 1) * m.squares[0]),
    "σ²/(i·σ₁·‖W‖₂), as --budget": lambda m, i: m.squares[i] / ((i + 1) * m.squares[0] ** 0.5 * m.stretch),
}


def shared(modules, rule, budget, apart=None):
    """Ranks whose components have the highest scores within the budget; `apart` has those that are given."""
    apart = apart or {}
    budget -= sum(modules[name].cost * rank for name, rank in apart.items())
    shares = {name: m for name, m in modules.items() if name not in apart}
    scores = [(rule(m, i), name, i) for name, m in shares.items() for i in range(len(m.squares))]
    ranks = dict.fromkeys(modules, 0) | apart
    for _, name, i in sorted(scores, reverse=True):
        if ranks[name] == i and modules[name].cost <= budget:
            ranks[name] += 1
            budget -= modules[name].cost
    return ranks


@torch.no_grad()
def nll(model, modules, ranks, batches):
    parameters = dict(model.named_parameters())
    for name, module in modules.items():
        parameters[f"{name}.weight"].copy_(module.at(ranks[name]).float())
    return float(np.mean([model(input_ids=batch, labels=batch).loss.item() for batch in batches]))


def table(title, base, tuned, batches, apart=()):
    """`apart`: further modules; by the rule of --budget they have the rank of one rank for all as well."""
    model = pair.load(pair.BASE)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(base[name].float())
    modules = {name: Module(base[f"{name}.weight"], tuned[f"{name}.weight"]) for name in [*pair.MODULES, *apart]}
    uniform = [nll(model, modules, dict.fromkeys(modules, rank), batches) for rank in RANKS]
    print(f"| {title}: {len(modules)} modules | " + " | ".join(f"rank {rank}" for rank in RANKS) + " |")
    print("|---" * (1 + len(RANKS)) + "|")
    print("| one rank for all | " + " | ".join(f"{value:.4f}" for value in uniform) + " |", flush=True)
    whole = sum(module.cost for module in modules.values())
    rows = [(name, rule, ()) for name, rule in (list(RULES.items())[-1:] if apart else RULES.items())]
    rows += [(f"{rows[-1][0]}, {' '.join(apart)} at one rank", rows[-1][1], apart)] if apart else []
    for name, rule, fixed in rows:
        ranks = [shared(modules, rule, whole * rank, dict.fromkeys(fixed, rank)) for rank in RANKS]
        values = [nll(model, modules, one, batches) for one in ranks]
        print(f"| {name} | " + " | ".join(f"{v - u:+.4f}" for v, u in zip(values, uniform)) + " |", flush=True)


def ids(name):
    ids = np.fromfile(pair.FOLDER / name, dtype="<u2")[:16384].astype(np.int64)
    return torch.from_numpy(ids).view(-1, 16, 256)


def fine_tuned(files, steps=300, seed=1):
    """The base after full fine-tuning on the bytes of `files`, and held-back batches of them."""
    torch.manual_seed(seed)
    text = torch.frombuffer(bytearray(b"".join(Path(file).read_bytes() for file in files)), dtype=torch.uint8)
    text = text.long() + 3
    train, held = text[: len(text) * 9 // 10], text[len(text) * 9 // 10 :]
    model = pair.load(pair.BASE).train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 20) * (1 - step / steps)
        batch = torch.stack([train[at : at + 256] for at in torch.randint(0, len(train) - 256, (8,))])
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    count = min(16384, len(held)) // 4096 * 4096
    return {name: tensor.detach().double() for name, tensor in model.state_dict().items()}, held[:count].view(-1, 16, 256)


def main():
    base, tuned = pair.weights(pair.BASE), pair.weights(pair.TUNED)
    table("the real pair", base, tuned, ids("eval-tuned.bin"))
    table("swapped", tuned, base, ids("eval-base.bin"))
    table("the real pair with its head", base, tuned, ids("eval-tuned.bin"), ["lm_head"])
    table("swapped with its head", tuned, base, ids("eval-base.bin"), ["lm_head"])
    if sys.argv[1:]:
        table("fine-tuned here", base, *fine_tuned(sys.argv[1:]))


if __name__ == "__main__":
    main()
