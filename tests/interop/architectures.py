"""Derives checkpoint/src/naming/memory/architectures.txt: the names, kinds and places of weights in memory, by class of model.

transformers renames, stacks, joins and splits weights while it loads a checkpoint, and PEFT needs the names of modules
in memory. Every class is built on the meta device; its weights are named as save_pretrained names them, and loaded
back as from_pretrained would, so that each name on disk has its place in memory.

    python architectures.py                          writes the file
    python architectures.py --check                  exits with 1 if the file differs from what is derived
    python architectures.py --check --only TYPE,…    the same of the sections of some model types
"""

import argparse
import ast
import collections
import copy
import difflib
import functools
import importlib
import inspect
import itertools
import multiprocessing
import os
import pathlib
import pkgutil
import re
import sys
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
import peft.tuners.lora.layer as peft_layers
import peft.utils.transformers_weight_conversion as peft_conversion
import torch
import transformers
from peft.tuners.tuners_utils import _check_lora_target_modules_mamba
from torch import nn
from transformers import AutoConfig, PreTrainedModel
from transformers import core_model_loading as loading
from transformers.conversion_mapping import get_checkpoint_conversion_mapping, get_model_conversion_mapping
from transformers.initialization import no_init_weights
from transformers.models.auto import modeling_auto as auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from architectures_rules import apply, generalise, numbers, shortest_moves, star
from architectures_settings import ASIDE, CALLED, FLAGS, LITERAL, SETTINGS, USED, VARIANTS

FILE = pathlib.Path(__file__).parents[2] / "checkpoint/src/naming/memory/architectures.txt"
TASKS = {
    "CAUSAL_LM": "MODEL_FOR_CAUSAL_LM_MAPPING",
    "SEQ_2_SEQ_LM": "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "SEQ_CLS": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING",
    "TOKEN_CLS": "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING",
    "QUESTION_ANS": "MODEL_FOR_QUESTION_ANSWERING_MAPPING",
    "FEATURE_EXTRACTION": "MODEL_MAPPING",
}
LM_MAPPINGS = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM", "SEQ_TO_SEQ_CAUSAL_LM", "SPEECH_SEQ_2_SEQ")
# Fields of configurations that say how many experts there are: eight show as much as hundreds.
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
# Bare parameters that their module multiplies with or looks up in, and stacks of matrices outside of experts.
MATRICES = {"weight", "fn", "hc_fn", "proj", "mm_input_projection_weight", "index_kpool_compress_gate", "w_g"}
TABLES = {"relative_attention_bias", "relative_position_bias_table", "rel_pos_h", "rel_pos_w"}
STACKS = {"input_gate_weight", "recurrent_gate_weight", "x_proj_weight", "dt_proj_weight"}
# Subclasses of nn.Linear with a forward of their own that computes the same.
PLAIN_LINEAR = {"FalconLinear"}
# Classes around a model of timm, whose names and kinds depend on an architecture that only timm knows.
TIMM = {"TimmBackbone", "TimmWrapperForImageClassification", "TimmWrapperModel"}
# Reasons against factors that hold against a module in the place of the layer as well.
LISTED = "its class keeps the layer in a list that PEFT does not change"
TIED = "tied to another layer, and PEFT adapts each by itself"
UNREACHED = {LISTED, TIED, "multi-head attention of torch with separate projections"}


# Which classes there are

def auto_classes():
    """{model type: {class name: names of the auto mappings that list it}}, the bare models first."""
    found = collections.defaultdict(dict)
    mappings = [name for name in dir(auto) if name.startswith("MODEL_FOR_") and name.endswith("_MAPPING")]
    for mapping in ["MODEL_MAPPING"] + [f"MODEL_FOR_{name}_MAPPING" for name in LM_MAPPINGS] + sorted(mappings):
        for model_type, classes in getattr(auto, mapping)._model_mapping.items():
            for name in [classes] if isinstance(classes, str) else classes:
                uses = found[model_type].setdefault(name, [])
                if mapping not in uses:
                    uses.append(mapping)
    return found


def exported_classes():
    """(model type, class) of the models that modules export, whether an auto mapping lists them or not."""
    for package in pkgutil.iter_modules(importlib.import_module("transformers.models").__path__):
        try:
            module = importlib.import_module(f"transformers.models.{package.name}.modeling_{package.name}")
        except ImportError:
            continue
        for name in getattr(module, "__all__", []):
            value = getattr(module, name)
            if inspect.isclass(value) and issubclass(value, PreTrainedModel) and not name.endswith("PreTrainedModel"):
                if getattr(value.config_class, "model_type", ""):
                    yield value.config_class.model_type, value


def all_classes():
    """{model type: {class: uses}} of both."""
    found = collections.defaultdict(dict)
    for model_type, classes in auto_classes().items():
        for name, uses in classes.items():
            try:
                found[model_type][auto.MODEL_MAPPING._load_attr_from_module(model_type, name)] = uses
            except ValueError:
                pass  # the mapping names a class that does not exist
    listed = {cls for classes in found.values() for cls in classes}
    for model_type, cls in exported_classes():
        if cls not in listed and model_type in CONFIG_MAPPING_NAMES:
            found[model_type][cls] = []
    return found


def fewer_experts(config):
    for part in [config] + [getattr(config, key, None) for key in config.sub_configs]:
        for field in EXPERTS:
            if isinstance(getattr(part, field, None), int) and getattr(part, field) > 8:
                setattr(part, field, 8)
    return config


def configurations(model_type, cls):
    """The default configuration, or those that show more kinds of layers; that of the part if the class is a part."""
    kind = CONFIG_MAPPING[model_type]
    if cls.config_class is not None and not issubclass(kind, cls.config_class):
        kind = cls.config_class
    settings = SETTINGS.get(cls.__name__, SETTINGS.get(kind.model_type, {}))
    return [functools.partial(kind, **settings | more) for more in [{}] + VARIANTS.get(kind.model_type, [])]


def build(model_type, cls):
    """The models on the meta device, their tied weights tied."""
    def on_meta(config):
        with torch.device("meta"), no_init_weights():
            return cls(config)
    models = []
    for configuration in configurations(model_type, cls):
        try:
            models.append(on_meta(fewer_experts(configuration())))
        except Exception:
            models.append(on_meta(configuration()))
    for field, value in FLAGS.items():
        if getattr(models[0].config, field, value) is (not value):
            try:
                models.append(on_meta(fewer_experts(configurations(model_type, cls)[0](**{field: value}))))
            except Exception:
                continue  # the field goes with others only
    for model in models:
        model.tie_weights()
    return models


# Kinds of parameters

def own_forward(module, *classes):
    return type(module).forward not in [cls.forward for cls in classes]


def convolution_kind(module):
    if module.transposed:
        return "X", "transposed convolution"
    if module.groups > 1:
        return "X", "grouped convolution"
    if set(module.dilation) != {1}:
        return "X", "dilated convolution"
    if module.padding_mode != "zeros":
        return "X", "convolution with other padding than zeros"
    if own_forward(module, nn.Conv1d, nn.Conv2d, nn.Conv3d) and not adapts(module):
        return "X", "convolution with a forward of its own"
    return "C", ""


source_of = functools.cache(inspect.getsource)


@functools.cache
def methods_source(kind):
    """The source of all methods of a class but its constructor, of those that transformers defines."""
    functions = [value for cls in kind.__mro__ if cls.__module__.startswith("transformers")
                 for key, value in vars(cls).items() if inspect.isfunction(value) and key != "__init__"]
    return "".join(source_of(function) for function in functions)


def adapts(module):
    """Whether PEFT's layer around a convolution computes what the convolution does after merging."""
    torch.manual_seed(1)
    size = [module.in_channels] + [16] * len(module.kernel_size)
    inputs = [torch.randn(2, *size), torch.randn(2, *size).transpose(1, -1)]
    module = copy.deepcopy(module).to_empty(device="cpu").float()
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    layer = {1: peft_layers.Conv1d, 2: peft_layers.Conv2d, 3: peft_layers.Conv3d}[len(module.kernel_size)]
    try:
        wrapped = layer(module, "default", config=peft.LoraConfig(init_lora_weights=False), r=2, lora_alpha=2)
    except Exception:
        return False
    ran = 0
    for each in inputs:
        try:
            adapted = wrapped(each)
            wrapped.merge()
            merged = wrapped(each)
            wrapped.unmerge()
        except Exception:
            continue
        if not torch.allclose(adapted, merged, rtol=1e-3, atol=1e-3):
            return False
        ran += 1
    return ran > 0


def reads(module, name):
    """Whether the module itself reads its parameter: PEFT adapts it while the module's forward runs, no longer."""
    return f"self.{name}" in methods_source(type(module))


def stack_kind(module, name, parameter):
    if parameter.ndim == 3 and min(parameter.shape) > 1:
        if type(module).__name__.endswith(("Experts", "CodebooksHead")) or name in STACKS:
            return ("ST" if getattr(module, "is_transposed", False) else "S"), ""
    return "X", f"parameter of {parameter.ndim} axes"


def matrix_kind(module, name, parameter, path):
    if type(module).__module__.startswith("torch.nn.modules.rnn"):
        return "X", "recurrent layer of torch"
    if not reads(module, name):
        return "X", "parameter read by another module"
    if "Norm" in type(module).__name__ or name not in MATRICES | TABLES or 1 in parameter.shape and name != "w_g":
        return "X", "parameter that is no matrix product"
    if len(inspect.signature(module.forward).parameters) == 0:
        return "X", "module called without an argument"
    return ("P", "") if path else ("X", "parameter of the top-level module")


def attention_kind(module, name):
    """PEFT adapts the joint projection of a multi-head attention of torch, and with it the linear layer within."""
    if isinstance(module, nn.Linear) or name == "in_proj_weight":
        return "M", ""
    return "X", "multi-head attention of torch with separate projections"


def parameter_kind(module, name, parameter, path):
    """(letter, reason) of a parameter with two or more axes; None for the weight of a plain nn.Linear."""
    if isinstance(module, nn.MultiheadAttention) or type(module).__name__ == "NonDynamicallyQuantizableLinear":
        return attention_kind(module, name)
    if type(module).__name__ == "ParametrizationList":
        return "X", "weight norm, or another parametrization"
    if name == "weight" and isinstance(module, nn.Linear):
        plain = not own_forward(module, nn.Linear) or type(module).__name__ in PLAIN_LINEAR
        return None if plain else ("P", "")
    if name == "weight" and isinstance(module, nn.Embedding):
        return ("P", "") if own_forward(module, nn.Embedding) and not hasattr(module, "embed_scale") else ("E", "")
    if name == "weight" and isinstance(module, Conv1D):
        return "T", ""
    if name == "weight" and isinstance(module, nn.modules.conv._ConvNd):
        return convolution_kind(module)
    if parameter.ndim == 2:
        return matrix_kind(module, name, parameter, path)
    return stack_kind(module, name, parameter)


def refused(model, module_name):
    """Whether PEFT raises an error for a module of this name in this type of model."""
    try:
        _check_lora_target_modules_mamba(peft.LoraConfig(), model, module_name)
    except ValueError:
        return True
    return False


class WithoutTraining(ast.NodeTransformer):
    """Takes out the branches that only training takes, and those of a setting that no published model has."""

    def visit_If(self, node):
        self.generic_visit(node)
        parts = node.test.values if isinstance(node.test, ast.BoolOp) and isinstance(node.test.op, ast.And) else [node.test]
        if any(ast.unparse(part) in ("self.training", "self.pretraining_tp > 1") for part in parts):
            return node.orelse or ast.Pass()
        return node


@functools.cache
def inference_source(function):
    """The source of a function as inference runs it; nothing of one that sets values at the beginning."""
    if re.match("__init__|_?init_weights|_?reset|apply_weight_norm|remove_weight_norm", function.__name__):
        return ""
    source = source_of(function)
    tree = ast.parse(f"if 1:\n{source}" if source[0].isspace() else source)
    return ast.unparse(ast.fix_missing_locations(WithoutTraining().visit(tree)))


def asked_for(model, path, function):
    """Whether running a model of this class calls the function for the module at this path."""
    aside = ASIDE.get(function.__qualname__)
    return aside is None or model.config.model_type not in aside and not re.search(r"(^|\.)decoder(_seanet)?\.", path)


def misused(model, path, module):
    """Why PEFT's layer in the place of a module does not serve the class that holds it; None where it does."""
    owner, _, name = path.rpartition(".")
    if any(module in held for held in vars(model.get_submodule(owner)).values() if type(held) is list):
        return LISTED
    if f"{type(model.get_submodule(owner)).__name__}.{name}" in CALLED:
        return None
    functions = [value for cls in type(model.get_submodule(owner)).__mro__ if cls.__module__.startswith("transformers")
                 for value in vars(cls).values() if inspect.isfunction(value) and asked_for(model, path, value)]
    source = "\n".join(inference_source(function) for function in functions if name.isidentifier())
    if isinstance(module, nn.modules.conv._ConvNd):
        if re.search(rf"self\.{name}\.(stride|kernel_size|padding|dilation)\b|\(\w+, self\.{name}\)", source):
            return "its class reads attributes that PEFT's layer lacks"
    elif isinstance(module, nn.Embedding) and f"self.{name}(" in source:
        return None
    elif re.search(rf"(?<!isinstance\()self\.{name}\.weight\b(?!\.(dtype|device|shape|size|to)\b)", source):
        return "its class uses the weight without calling the layer"
    return None


def key_of(name):
    """What PEFT's file calls the factors of a parameter; of those that lie within others, but for `base_layer`."""
    return f"base_model.model.{name.rpartition('.')[0]}.lora_A.weight"


def spelled_for_peft(model, names):
    """{name: a name whose factors PEFT gives the place of this one's while it loads an adapter}; None where none does."""
    config = peft.LoraConfig(target_modules=[])

    def loaded_as(name):
        state = {key_of(name): torch.zeros(1, 1)}
        return next(iter(peft_conversion.convert_peft_adapter_state_dict_for_transformers(model, config, state)))

    def spellings(name):
        parts = name.split(".")
        for place, part in enumerate(parts[:-1]):
            yield ".".join(parts[:place] + parts[place + 1:])
            yield ".".join(parts[:place] + [part.removesuffix("s")] + parts[place + 1:])

    keys = {key_of(name): torch.zeros(1, 1) for name in names}
    try:
        found = peft_conversion.convert_peft_adapter_state_dict_for_transformers(model, config, keys)
        moved = [name for name in names if key_of(name) not in found]
        return {name: next((s for s in spellings(name) if loaded_as(s) == key_of(name)), None) for name in moved}
    except ValueError:
        return {}


def tied_layers(model):
    """The names of weights that several layers read which are no lookup tables and no heads over one."""
    found, tables = collections.defaultdict(list), {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    for path, module in model.named_modules():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.ndim > 1 and id(parameter) not in tables:
                found[id(parameter)].append(f"{path}.{name}".removeprefix("."))
    several = [names for names in found.values() if len(names) > 1]
    return [name for names in several for name in names if not any(one in USED for one in names)]


def saved_whole(model, name):
    """Whether PEFT's modules_to_save can take the layer of a weight: one with nothing but a weight and a bias."""
    path, _, last = name.rpartition(".")
    module = model.get_submodule(path)
    held = set(module._parameters) | set(module._buffers)
    layer = isinstance(module, (nn.Linear, Conv1D, nn.modules.conv._ConvNd))
    return layer and last == "weight" and held <= {"weight", "bias"} and not module._modules


def kinds_of(model):
    """{name: kind} of the parameters with two or more axes."""
    kinds, timm = {}, ()
    for path, module in model.named_modules():
        if type(module).__name__ in TIMM and module.config.model_type != "gemma3n_vision":
            timm += (f"{path}.",)
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.ndim > 1:
                kind = parameter_kind(module, name, parameter, path)
                if refused(model, path.rpartition(".")[2]):
                    kind = "R", "refused by PEFT in Mamba models"
                elif name == "weight" and (kind is None or kind[0] in "CTEP") and (why := misused(model, path, module)):
                    kind = "X", why
                if kind and kind[0] == "C" and path.startswith(timm):
                    kind = None  # of another architecture a convolution of this name may be grouped
                kinds[f"{path}.{name}".removeprefix(".")] = kind
    for name in tied_layers(model):
        if kinds.get(name, ("E",)) is None or kinds.get(name, ("E",))[0] in "TCPMS":
            kinds[name] = "X", TIED
    for path, module in model.named_modules():
        if isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is None:
            kinds[f"{path}.out_proj.weight"] = "X", "multi-head attention of torch with separate projections"
    for name, kind in kinds.items():
        if kind and kind[0] in "XR" and kind[1] not in UNREACHED and not name.startswith(timm) and saved_whole(model, name):
            kinds[name] = "W", kind[1]
    return kinds


def kind_lines(models):
    """Lines E, T, C, X, W, P, M, S, ST and R, in the order of the parameters, and lines key."""
    kinds, lines, spelled = {}, [], {}
    for model in models:
        kinds = kinds_of(model) | kinds
        adapted = [name for name, kind in kinds.items() if kind is None or kind[0] in {"T", "C", "P", "M", "S", "ST"}]
        moved = spelled_for_peft(model, adapted)
        for name, other in moved.items():
            if other is None:
                kinds[name] = "X", "renamed once more by PEFT when it loads an adapter"
        spelled |= {name: moved.get(name, name) for name in adapted if moved and moved.get(name, name) is not None}
    for pattern, kind in generalise(kinds).items():
        if kind is not None:
            lines.append(f"{kind[0]} {pattern}" + (f" : {kind[1]}" if kind[1] else ""))
    return lines + sorted(f"key {name} > {other}" for name, other in shortest_moves(spelled))


# Names on disk and in memory

def saved(model, conversions):
    """What save_pretrained would write, with these conversions undone."""
    model._weight_conversions = conversions or None
    tensors = model.state_dict()
    return loading.revert_weight_conversion(model, tensors) if conversions else tensors


def loaded(model, tensors):
    """[(sources by pattern, converter or None, {name in memory: shape})], as from_pretrained loads the tensors."""
    mapping = get_model_conversion_mapping(model)
    renamings = [entry for entry in mapping if isinstance(entry, loading.WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, loading.WeightConverter)]
    by_pattern = {pattern: converter for converter in converters for pattern in converter.source_patterns}
    memory, prefix = model.state_dict(), model.base_model_prefix
    places, sources = {}, collections.defaultdict(lambda: collections.defaultdict(list))
    for name in sorted(tensors, key=loading.dot_natural_key):
        renamed, pattern = loading.rename_source_key(name, renamings, converters, prefix, memory)
        if renamed not in memory and name in memory:
            renamed, pattern = loading.rename_source_key(name, [], [], prefix, memory)
        if renamed not in memory:
            continue
        if pattern is not None:
            converter = places.setdefault(renamed, copy.deepcopy(by_pattern[pattern]))
            converter.add_tensor(renamed, name, pattern, tensors[name])
        else:
            places.setdefault(renamed, None)
        sources[renamed][pattern].append(name)
    result = []
    for renamed, converter in places.items():
        order = converter.source_patterns if converter else [None]
        groups = [sources[renamed][pattern] for pattern in order if pattern in sources[renamed]]
        made = {renamed: tensors[groups[0][0]]}
        if converter is not None:
            made = converter.convert(renamed, model=model, config=model.config)
        made = {USED.get(name, name) if USED.get(name) in memory else name: t for name, t in made.items()}
        result.append((groups, converter, {name: getattr(t, "shape", None) for name, t in made.items()}))
    return result


def variants(model):
    """The dictionaries of tensors that checkpoints of this class may hold, the usual one first."""
    mapping = get_model_conversion_mapping(model, add_legacy=False)
    prefixes = [entry for entry in mapping if isinstance(entry, loading.PrefixChange)]
    plain = [entry for entry in mapping if not isinstance(entry, loading.PrefixChange)]
    yield saved(model, plain)
    for kept in [prefixes] + [[entry] for entry in prefixes] if prefixes else []:
        yield saved(model, [entry for entry in mapping if entry in kept or entry in plain])
    names = {old: f".parametrizations.weight.original{number}" for number, old in enumerate([".weight_g", ".weight_v"])}
    old = model.state_dict()
    for short, long in names.items():
        old = {name.replace(long, short): tensor for name, tensor in old.items()}
    if old.keys() != model.state_dict().keys():
        yield old
    if mapping:
        yield model.state_dict()


def operation(converter):
    """[(name, dimensions)] of a converter."""
    found = []
    for op in converter.operations:
        dims = (op.dim0, op.dim1) if isinstance(op, loading.Transpose) else getattr(op, "dim", None)
        found.append((type(op).__name__, dims))
    return found


def count_of(config, field, path=""):
    """A number of the configuration as its file has it, with its default: `vision_config.num_heads=16`."""
    part, path = (getattr(config, path), path) if path and hasattr(config, path) else (config, "")
    key = part.attribute_map.get(field, field)
    return f"{path}.{key}={getattr(type(part)(), key, 1)}".removeprefix(".")


def turn_of(model, shape):
    """The word of a weight that may be turned already: which axis is the width of the language model in memory."""
    path = "text_config" if hasattr(model.config, "text_config") else ""
    width, own = count_of(model.config, "hidden_size", path), getattr(model.config, path) if path else model.config
    axes = [axis for axis in (len(shape) - 2, len(shape) - 1) if shape[axis] == own.hidden_size]
    return f"turnunless {axes[0]}:{width}" if len(axes) == 1 else "other"


def order_of(model, converter, made, axes):
    """Word and targets of a conversion that puts rows into another order, or shares them out unequally; else None."""
    *before, last = converter.operations
    targets, names = [star(name) for name in made], [type(op).__name__ for op in converter.operations]
    if names == ["Interleave"] and not last.inverse and last.dim == axes - 2:
        return "order heads=1", targets
    if names == ["Split"] and last.dim == 0 and len(made) == 3:
        for path in [""] + [key for key in model.config.sub_configs if getattr(model.config, key, None) is not None]:
            part = getattr(model.config, path) if path else model.config
            heads, keys = (getattr(part, field, None) for field in ("num_attention_heads", "num_key_value_heads"))
            first, second, third = (shape[0] for shape in made.values())
            if heads and keys and second == third and first * keys == second * heads:
                queries, others = (count_of(model.config, f, path) for f in ("num_attention_heads", "num_key_value_heads"))
                return f"cut {queries},{others},{others}", targets
    if names == ["ErnieFuseAndSplitTextVisionExperts"]:
        return f"joingroups {count_of(model.config, 'num_experts', 'text_config')}", targets
    if names[-1] != "PermuteForRope" or last.inverse or names[:-1] not in ([], ["Chunk"]) or any(op.dim for op in before):
        return None
    heads = count_of(model.config, "num_attention_heads", last.subconfig_key or "")
    if not before:
        return f"order {heads}", targets
    turned = last.permute_layer_names or [""]
    return f"splitorder {heads}", [t + "~" * any(name in t for name in turned) for t in targets]


def conversion_line(model, groups, converter, made):
    """The line of a conversion that is more than a new name."""
    ops = operation(converter)
    stacked = ops[0] == ("MergeModulelist", 0)
    sources, targets = [star(group[0]) for group in groups], [star(name) for name in made]
    axes = len(next(iter(made.values())))
    wanted = numbers(next(iter(made)))
    regular = all(numbers(name) == wanted for name in made)
    for group in groups:
        experts = [str(number) for number in range(len(group))]
        regular &= [numbers(name) for name in group] == ([wanted + [e] for e in experts] if stacked else [wanted])
    grouped = len(made) > 1 and len(groups[0]) > 1 and order_of(model, converter, made, axes)
    word = "other"
    if regular and ops in ([("MergeModulelist", 0)], [("MergeModulelist", 0), ("Concatenate", 1)]):
        word = "join"
    elif regular and ops == [("Concatenate", 0)]:
        word = "join"
    elif regular and ops == [("Concatenate", 1)] and axes == 3:
        word = "joinstack"
    elif regular and ops == [("Chunk", 0)]:
        word = "split"
    elif regular and len(ops) == 1 and ops[0] in [("Transpose", (axes - 2, axes - 1))]:
        word = turn_of(model, next(iter(made.values()))) if sources == targets else "turn"
    elif order := grouped or (regular and order_of(model, converter, made, axes)):
        word, targets = order
    line = f"{word} {' '.join(dict.fromkeys(sources))} > {' '.join(dict.fromkeys(targets))}"
    return line if word != "other" else f"{line} : {'+'.join(name for name, _ in ops)}"


class Places:
    """What is known of the names on disk of a class."""

    def __init__(self):
        self.moves, self.converted, self.lines, self.notes = {}, {}, set(), []

    def add_conversion(self, model, groups, converter, made):
        line = conversion_line(model, groups, converter, made)
        self.lines.add(line)
        self.converted.update({name: (line, set(made)) for group in groups for name in group})

    def add_move(self, disk, place, identity, literal):
        if len(numbers(disk)) == len(numbers(place)) and numbers(disk) != numbers(place) and not literal:
            line = f"other {star(disk)} > {star(place)} : renumbered"
            self.lines.add(line)
            self.converted[disk] = line, {place}
        elif identity and disk != place and USED.get(disk) != place:
            return
        elif self.moves.setdefault(disk, place) != place and not identity:
            self.notes.append(f"unclear: {{}}: {star(disk)} has two places")

    def add(self, model):
        """Adds the names of all variants of a model's checkpoints."""
        parameters = {name: p.shape for name, p in model.named_parameters(remove_duplicate=False)}
        memory, reached = model.state_dict(), set(all_tied(model)) | USED.keys()
        for tensors in variants(model):
            identity = tensors.keys() == memory.keys()
            for groups, converter, made in loaded(model, tensors):
                if all(name in parameters and parameters[name] == shape for name, shape in made.items()):
                    reached.update(made)
                    if converter is not None:
                        self.add_conversion(model, groups, converter, made)
                    else:
                        literal = model.config.model_type in LITERAL
                        self.add_move(groups[0][0], next(iter(made)), identity, literal)
        missing = sorted({star(name) for name in parameters if name not in reached})
        self.notes.extend(f"unclear: {{}}: {name} is not reached" for name in missing)

    def rules(self):
        """Lines move, join, joinstack, split, turn and other, verified on every name."""
        moves = {disk: place for disk, place in self.moves.items() if disk not in self.converted}
        lines = sorted(f"move {disk} > {place}" for disk, place in shortest_moves(moves)) + sorted(self.lines)
        expected = {disk: {place} for disk, place in moves.items()}
        expected |= {disk: places for disk, (line, places) in self.converted.items() if not line.startswith("other")}
        # A rule with a number outweighs one without, also where it is not meant.
        wrong = [disk for disk, places in expected.items() if apply(lines, disk) != places and len(places) == 1]
        if len(wrong) <= 16:
            lines = sorted(f"move {disk} > {next(iter(expected[disk]))}" for disk in wrong) + lines
        for disk, places in expected.items():
            if apply(lines, disk) != places:
                self.notes.append(f"unclear: {{}}: {disk} becomes {sorted(apply(lines, disk))}, not {sorted(places)}")
        return lines


# Further facts

def all_tied(model):
    """{name: the name it is or may be tied to}."""
    found, first = {}, {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            found[name] = first[id(parameter)]
    names = dict(model.named_parameters(remove_duplicate=False))
    for config in [model.config] + [getattr(model.config, key, None) for key in model.config.sub_configs]:
        if config is not None:
            config.tie_word_embeddings = True
    try:
        possible = model.get_expanded_tied_weights_keys(all_submodels=True)
    except Exception:
        possible = {}
    for name, source in possible.items():
        if name in names and source in names and name not in found and found.get(source) != name:
            found[name] = source
    return found


def tied_lines(model):
    pairs = {(star(source), star(name)) for name, source in all_tied(model).items() if name.endswith(".weight")}
    return [f"tied {source} {name}" for source, name in sorted(pairs) if source != name]


def moved_lines(model):
    """The names of modules that PEFT moves to the experts."""
    model_type = model.config.model_type
    family = peft_conversion._MODEL_TO_CONVERSION_PATTERN.get(model_type)
    modules = peft_conversion._MOE_TARGET_MODULE_MAPPING.get(family)
    if not modules or not peft_conversion._MOE_FUSED_TARGETS.get(family):
        return []
    return [f"moves {' '.join(modules)}"] if get_checkpoint_conversion_mapping(model_type) is not None else []


def open_configs(config, path=""):
    """(path, configuration) of the parts that may be of any model type."""
    for key, kind in config.sub_configs.items():
        part = getattr(config, key, None)
        if part is not None and hasattr(part, "sub_configs"):
            if kind is AutoConfig:
                yield path + key, part
            yield from open_configs(part, f"{path}{key}.")


def part_lines(model, bare):
    """Lines sub: the parts of a model that may be of other types."""
    lines, seen = [], []
    for name, module in model.named_modules():
        if not isinstance(module, PreTrainedModel) or not name or any(name.startswith(s + ".") for s in seen):
            continue
        for path, config in open_configs(model.config):
            if module.config is config:
                kind = type(module).__name__
                other = "" if kind in bare.get(config.model_type, ()) else f" {kind}"
                lines.append(f"sub {name} {path} {config.model_type}{other}")
                seen.append(name)
                break
    return sorted(set(lines))


def tasks_of(cls, uses):
    """PEFT's task of a language model, else None."""
    modalities = getattr(cls, "input_modalities", "text")
    if cls.main_input_name != "input_ids" or set([modalities] if isinstance(modalities, str) else modalities) != {"text"}:
        return None
    for task, mapping in TASKS.items():
        if mapping in uses and (not task.endswith("_LM") or hasattr(cls, "prepare_inputs_for_generation")):
            return task


# The file

def first_line(error):
    return (str(error).strip().splitlines() or [""])[0].strip()[:160]


def derive_class(model_type, cls, uses, bare):
    """(lines of its section, its notes, its task), or why it cannot be built."""
    if cls.__name__ in TIMM:
        return "its names and kinds are those of any model of timm"
    try:
        models = build(model_type, cls)
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    model, places = models[0], Places()
    kinds, parts = kind_lines(models), part_lines(model, bare)
    for each in models:
        places.add(each)
    body = kinds + places.rules() + moved_lines(model) + tied_lines(model) + parts
    return body, places.notes, tasks_of(cls, uses)


def in_processes(function, arguments):
    """The results of a function in the order of its arguments, by a process for each core."""
    global work  # forked with what is imported: classes need not be sent
    work = function
    with multiprocessing.get_context("fork").Pool(len(os.sched_getaffinity(0))) as pool:
        return pool.map(_work, arguments, chunksize=1)


def _work(argument):
    return work(argument)


def derive(only):
    classes = all_classes()
    bare = {kind: [c.__name__ for c, uses in found.items() if "MODEL_MAPPING" in uses] for kind, found in classes.items()}
    classes = {kind: found for kind, found in sorted(classes.items()) if not only or kind in only}
    bodies, notes, cannot, tasks = {}, [], {}, collections.defaultdict(set)

    def of_type(model_type):
        return [derive_class(model_type, cls, uses, bare) for cls, uses in classes[model_type].items()]
    for (model_type, found), results in zip(classes.items(), in_processes(of_type, classes)):
        for name, result in zip((cls.__name__ for cls in found), results):
            if isinstance(result, str):
                cannot[name] = result
                continue
            body, remarks, task = result
            if task:
                tasks[task].add(name)
            if bodies.setdefault(name, body) != body:
                remarks.append(f"unclear: {{}}: differs as {model_type}")
            notes.extend(note.replace("{}", name) for note in remarks)
    return classes, bodies, tasks, notes, {name: why for name, why in cannot.items() if name not in bodies}


def wrapped(start, names, size=20):
    names = sorted(names)
    return [" ".join([start] + names[at:at + size]) for at in range(0, len(names), size)]


def text(only=()):
    classes, bodies, tasks, notes, cannot = derive(only)
    lines = [
        f"# Names, kinds and places of weights in memory, by class. Derived from transformers {transformers.__version__}"
        f" and PEFT {peft.__version__} by", "# tests/interop/architectures.py; do not edit."]
    for model_type, found in sorted(classes.items()):
        lines.append(" ".join(["type", model_type] + [cls.__name__ for cls in found]))
    for task in TASKS:
        lines += wrapped(f"task {task}", tasks[task])
    sections = collections.defaultdict(list)
    for name, body in bodies.items():
        sections[tuple(body)].append(name)
    for body, names in sorted(sections.items(), key=lambda item: min(item[1])):
        lines.append(" ".join(["class"] + sorted(names)))
        lines += [f"  {line}" for line in body]
    lines += [f"# {note}" for note in sorted(set(notes))]
    lines += [f"# cannot: {name}: {why}" for name, why in sorted(cannot.items())]
    return "\n".join(lines) + "\n"


def facts(table):
    """{what a table is about: its lines}: types, and classes with their task and what is noted of them."""
    found, named = collections.defaultdict(list), []
    for line in table.splitlines():
        word, *words = line.split()
        if line.startswith(" "):
            for name in named:
                found[f"class {name}"].append(line.strip())
        elif word == "class":
            named = words
        elif word == "type":
            found[f"type {words[0]}"] = [line]
        elif word == "task":
            for name in words[1:]:
                found[f"class {name}"].append(f"task {words[0]}")
        elif words[0] in ("unclear:", "cannot:"):
            found[f"class {words[1].rstrip(':')}"].append(line)
    return found


def difference(known, derived, only):
    """Lines that tell how tables differ, by type and class; `derived` may be of some types only."""
    old, new = facts(known), facts(derived)
    lines = []
    for about in sorted(new if only else old | new):
        found = list(difflib.unified_diff(old[about], new[about], n=0, lineterm=""))[2:]
        lines += [about] + [f"  {line}" for line in found if not line.startswith("@@")] if found else []
    return lines or ([] if only or known == derived else ["the same facts in another order or by other versions"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare the file with what is derived")
    parser.add_argument("--only", help="with --check: model types, separated by commas")
    options = parser.parse_args()
    only = options.only.split(",") if options.only else []
    if only and not options.check:
        parser.error("the file is written as a whole")
    transformers.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    re._MAXCACHE = 1 << 16  # transformers compiles an expression for each rule and each tensor, some hundred of them
    derived = text(only)
    if not options.check:
        FILE.write_text(derived)
        return 0
    lines = difference(FILE.read_text(), derived, only)
    print("\n".join(lines[:400]))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
