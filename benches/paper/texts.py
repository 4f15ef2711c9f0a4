"""Two text tasks from files that Python packages carry: lists of (text, label), held-back ones apart."""

import ast
import hashlib
import random
import struct

import packages

LIBRARIES = ["diffusers", "networkx", "numpy", "scipy", "sympy", "torch", "torchvision", "transformers"]
FILES = 150  # of each library
# Of Latin script, with near neighbours among them: da nb sv, cs sk, hr sl, ca es gl pt, et fi.
LANGUAGES = "ca cs da de es et fi fr gl hr hu id it lt lv nb nl pl pt ro sk sl sv tr".split()


def held_back(key):
    """One in five, by its content, so that the split does not depend on order."""
    return hashlib.sha256(key.encode()).digest()[0] % 5 == 0


def split(examples, most):
    """(train, test) of {label: {text: key}}: at most `most` of a label in train, a fifth of that in test."""
    train, test = [], []
    for label, texts in enumerate(examples):
        order = random.Random(1).sample(sorted(texts), len(texts))
        train += [(text, label) for text in order if not held_back(texts[text])][:most]
        test += [(text, label) for text in order if held_back(texts[text])][: most // 5]
    return random.Random(2).sample(train, len(train)), test


def catalogue(path):
    """{message: translation} of a compiled gettext catalogue."""
    data = path.read_bytes()
    count, originals, translations = struct.unpack_from("<3I", data, 8)

    def text(table, index):
        length, start = struct.unpack_from("<2I", data, table + 8 * index)
        return data[start : start + length].decode()

    return {text(originals, i): text(translations, i) for i in range(count)}


def languages(most=200):
    """Which of 24 languages a message of Django's translations is in. A message is held back in all of them."""
    found = []
    for language in LANGUAGES:
        texts = {}
        for path in sorted(packages.folder("django").glob(f"**/locale/{language}/LC_MESSAGES/*.mo")):
            for message, translation in catalogue(path).items():
                # Without the header, plurals, and what is not a phrase.
                if message and "\0" not in translation and len(translation.split()) >= 2:
                    texts[translation] = message
        found.append(texts)
    counts = {}
    for text in (text for texts in found for text in texts):
        counts[text] = counts.get(text, 0) + 1
    return split([{text: key for text, key in texts.items() if counts[text] == 1} for texts in found], most)


def first_paragraphs(path):
    """Of the docstrings of a module's functions and classes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())


def libraries(most=500):
    """Which of 8 libraries a docstring's first paragraph is from, their names masked. A file is held back as a whole."""
    found = []
    for library in LIBRARIES:
        folder, texts = packages.folder(library), {}
        paths = sorted(path for path in folder.rglob("*.py") if "test" not in str(path.relative_to(folder)))
        for path in random.Random(1).sample(paths, min(FILES, len(paths))):
            for text in first_paragraphs(path):
                for name in [*LIBRARIES, "pytorch"]:
                    text = text.lower().replace(name, "it")
                if len(text.split()) >= 5:
                    texts[text] = str(path.relative_to(folder))
        found.append(texts)
    return split(found, most)
