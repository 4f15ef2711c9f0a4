"""Small models made here at random, as transformers would hold them and as GGUF."""

from types import SimpleNamespace

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import gguf_model
import test_models

EXPERTS = SimpleNamespace(
    model_type="mixtral",
    vocab_size=100,
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    num_local_experts=4,
    num_experts_per_tok=2,
    max_position_embeddings=64,
    rms_norm_eps=1e-6,
    rope_parameters={"rope_theta": 10000.0},
)


def state(model):
    return {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}


def as_gguf(model, path, dtype=np.float32):
    return gguf_model.write(path, gguf_model.from_hf(state(model), model.config), model.config, dtype)


def tuned(model):
    return test_models.tune(model)


def train(adapted, rate):
    """Some steps of a PEFT model on random tokens."""
    torch.manual_seed(1)
    optimiser = torch.optim.AdamW([p for p in adapted.train().parameters() if p.requires_grad], lr=rate)
    for _ in range(6):
        tokens = torch.randint(0, adapted.config.vocab_size, (4, 24))
        adapted(input_ids=tokens, labels=tokens).loss.backward()
        optimiser.step()
        optimiser.zero_grad()


def tied():
    """Qwen2: grouped heads, biases, tied embeddings."""
    return test_models.qwen2()


def wide():
    """A Llama whose matrices have rows of 256 and 512, whole blocks of the K formats."""
    torch.manual_seed(4)
    sizes = dict(hidden_size=256, intermediate_size=512, num_hidden_layers=2, vocab_size=100)
    heads = dict(num_attention_heads=8, num_key_value_heads=4, max_position_embeddings=64)
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads, tie_word_embeddings=False))


def experts():
    """{GGUF name: float64 array} of a Mixtral: a stack of four experts' matrices in each block, two at work."""
    random, c = np.random.default_rng(6), EXPERTS
    inner, keys = c.intermediate_size, c.hidden_size // 2
    shapes = {
        "attn_q": (c.hidden_size, c.hidden_size),
        "attn_k": (keys, c.hidden_size),
        "attn_v": (keys, c.hidden_size),
        "attn_output": (c.hidden_size, c.hidden_size),
        "ffn_gate_inp": (c.num_local_experts, c.hidden_size),
        "ffn_gate_exps": (c.num_local_experts, inner, c.hidden_size),
        "ffn_up_exps": (c.num_local_experts, inner, c.hidden_size),
        "ffn_down_exps": (c.num_local_experts, c.hidden_size, inner),
    }
    tensors = {
        "token_embd.weight": random.standard_normal((c.vocab_size, c.hidden_size)),
        "output_norm.weight": np.ones(c.hidden_size),
        "output.weight": 0.1 * random.standard_normal((c.vocab_size, c.hidden_size)),
    }
    for layer in range(c.num_hidden_layers):
        for norm in ("attn_norm", "ffn_norm"):
            tensors[f"blk.{layer}.{norm}.weight"] = np.ones(c.hidden_size)
        for name, shape in shapes.items():
            tensors[f"blk.{layer}.{name}.weight"] = 0.1 * random.standard_normal(shape)
    return tensors


def tuned_experts(tensors):
    """The same, with rank 4 and weak noise added to each matrix of each block, every expert's by itself."""
    random = np.random.default_rng(7)
    changed = {}
    for name, tensor in tensors.items():
        if name.startswith("blk.") and tensor.ndim > 1:
            *stack, rows, columns = tensor.shape
            left, right = random.standard_normal((*stack, rows, 4)), random.standard_normal((*stack, 4, columns))
            tensor = tensor + 0.02 * left @ right + 0.0005 * random.standard_normal(tensor.shape)
        changed[name] = tensor
    return changed
