"""A small ViT and a small VideoMAE, trained by this script on one task and fully fine-tuned on another.

No package was found that carries a transformer for pictures or films with weights that train here in minutes.
"""

import classify
import pictures
import torch
from pair import Pair, stored
from transformers import ViTConfig, ViTForImageClassification, VideoMAEConfig, VideoMAEForVideoClassification

SOURCES = ["vision.py", "pictures.py", "classify.py"]
HELD_BACK = 1000
SIZES = dict(hidden_size=192, num_hidden_layers=4, num_attention_heads=6, intermediate_size=768)


def make_pair(name, what, model_class, config, first, second, classes, steps):
    """`first` and `second` name the Source's methods that draw the tasks; `classes` and `steps` are those of both."""

    def load(path):
        return model_class.from_pretrained(path, dtype=torch.float32, output_loading_info=True)

    def examples(task, held_back, seed, count):
        return getattr(pictures.Source(held_back, seed), task)(count)

    def make(folder):
        model = model_class(config(classes[0]))
        source = pictures.Source(False, seed=1)
        classify.fine_tune(model, lambda _: getattr(source, first)(classify.BATCH), steps[0], 1e-3)
        before = classify.accuracy(model, *examples(first, True, 3, HELD_BACK))
        classify.probe(model, *examples(second, False, 4, classify.PROBED), classes[1])
        model.config.num_labels = classes[1]
        model.save_pretrained(folder / "base")
        source = pictures.Source(False, seed=2)
        classify.fine_tune(model, lambda _: getattr(source, second)(classify.BATCH), steps[1], 5e-4)
        model.save_pretrained(folder / "tuned")
        return {"first_accuracy": before}

    folder, facts = stored(name, SOURCES, make)
    test = examples(second, True, 5, HELD_BACK)
    return Pair(
        name=name,
        what=f"{what} (accuracy there {facts.pop('first_accuracy'):.3f}); {steps[1]} steps, {HELD_BACK} held back",
        metric="accuracy",
        higher_is_better=True,
        base=folder / "base",
        tuned=folder / "tuned",
        load=load,
        judge=lambda model: classify.accuracy(model, *test),
        **facts,
    )


def image():
    def config(labels):
        return ViTConfig(image_size=pictures.SIDE, patch_size=6, num_labels=labels, **SIZES)

    what = (
        "ViT (1.8 M), trained here on digits on black: by how many quarters a digit on a piece of a photograph is turned"
    )
    classes, steps = (10, 4), (450, 350)
    return make_pair("image", what, ViTForImageClassification, config, "plain", "turned", classes, steps)


def video():
    def config(labels):
        return VideoMAEConfig(
            image_size=pictures.SIDE, patch_size=12, num_frames=pictures.FRAMES, num_labels=labels, **SIZES
        )

    what = "VideoMAE (2 M), trained here on films of digits in 8 directions: which of 6 manoeuvres a digit flies"
    classes, steps = (pictures.DIRECTIONS, len(pictures.MOVES)), (300, 250)
    return make_pair("video", what, VideoMAEForVideoClassification, config, "moving", "manoeuvres", classes, steps)
