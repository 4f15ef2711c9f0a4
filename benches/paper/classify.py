"""Full fine-tuning of a classifier, and its accuracy. Every model here has its head in `classifier`."""

import torch
from torch import nn

BATCH = 32
PROBED = 3000  # examples that a frozen model's head is fitted to


def rows(inputs, at):
    """Some rows of a dictionary of tensors; of token ids only the columns that they fill."""
    part = {name: tensor[at] for name, tensor in inputs.items()}
    if "attention_mask" in part:
        longest = int(part["attention_mask"].sum(1).max())
        part = {name: tensor[:, :longest] for name, tensor in part.items()}
    return part


@torch.no_grad()
def outputs(model, inputs):
    """Logits, or features where the head is an identity."""
    count = len(next(iter(inputs.values())))
    return torch.cat([model(**rows(inputs, slice(at, at + 128))).logits for at in range(0, count, 128)])


def accuracy(model, inputs, labels):
    return (outputs(model.eval(), inputs).argmax(1) == labels).float().mean().item()


def probe(model, inputs, labels, classes):
    """Gives the frozen model the best linear head: multinomial logistic regression with a small ridge."""
    width = model.classifier.in_features
    model.classifier = nn.Identity()
    features = outputs(model.eval(), inputs)
    mean, deviation = features.mean(0), features.std(0) + 1e-6
    features = (features - mean) / deviation
    head = nn.Linear(width, classes)
    nn.init.zeros_(head.weight), nn.init.zeros_(head.bias)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=150, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(head(features), labels) + 1e-3 * head.weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        head.weight /= deviation
        head.bias -= head.weight @ mean
    model.classifier = head


def fine_tune(model, batch, steps, rate):
    """Trains every weight on batch(step) -> (inputs, labels): AdamW, warm-up over a tenth, linear to zero."""
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, 10 * (step + 1) / steps) * (1 - step / steps)
        inputs, labels = batch(step)
        nn.functional.cross_entropy(model(**inputs).logits, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def drawn(inputs, labels, seed):
    """batch(step) of random rows."""
    generator = torch.Generator().manual_seed(seed)

    def batch(_):
        at = torch.randint(len(labels), (BATCH,), generator=generator)
        return rows(inputs, at), labels[at]

    return batch
