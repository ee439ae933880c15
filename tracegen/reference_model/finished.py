"""Finished models that training starts from, and their mean."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from tracegen.base.errors import UserError


def finished_weights(folder: Path, model: LlamaForCausalLM) -> dict[str, Tensor]:
    """Return the weights of a finished model, in single precision.

    Raises:
        UserError: there is none in `folder`, or it is of another shape than `model`.
    """
    if not (folder / "tokenizer.json").is_file():
        raise UserError(f"{folder}: holds no tokenizer.json; give the folder of a finished model")
    try:
        weights = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError):
        raise UserError(f"{folder}: no finished model that can be read; give its folder") from None
    shapes = {name: tuple(one.shape) for name, one in weights.items()}
    wanted = {name: tuple(one.shape) for name, one in model.state_dict().items()}
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            raise UserError(
                f"{folder}: {name} has the shape {shapes.get(name)} and this --size needs "
                f"{wanted.get(name)}; start from a model of the same --size"
            )
    return {name: one.float() for name, one in weights.items()}


def mean_weights(folders: tuple[Path, ...], model: LlamaForCausalLM) -> dict[str, Tensor]:
    """Return the mean of the weights of finished models that read text alike.

    Models trained further from one another lie close enough for their mean to retrieve better than
    each of them (model soups; Wortsman et al., arXiv 2203.05482).

    Raises:
        UserError: as `finished_weights`, or their tokenizers differ.
    """
    several = [finished_weights(folder, model) for folder in folders]
    tokenizers = [(folder / "tokenizer.json").read_bytes() for folder in folders]
    for folder, tokenizer in zip(folders, tokenizers, strict=True):
        if tokenizer != tokenizers[0]:
            raise UserError(
                f"{folder}: its tokenizer.json is not that of {folders[0]}; "
                "start from models of one tokenizer"
            )
    return {name: torch.stack([one[name] for one in several]).mean(0) for name in several[0]}
