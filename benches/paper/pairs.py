"""The pairs of the table, made or found again when they are asked for."""

import audio
import encoder
import llama
import vision


def pairs(folder):
    """{name: what makes the Pair}; `folder` holds the Llama's."""
    return {
        "text-languages": encoder.languages,
        "text-libraries": encoder.libraries,
        "image": vision.image,
        "video": vision.video,
        "audio": audio.audio,
        "llama": lambda: llama.llama(folder),
    }
