"""Start the reference model from attention circuits that small models need long to find.

A transformer copies and retrieves with two cooperating heads: one that looks at the previous token,
and a later one that looks at the token after the previous occurrence of the current one (induction
heads; Olsson et al., arXiv 2209.11895). A few million parameters trained for a few million tokens
do not find them, so the weights are initialised with them, in the spirit of mimetic initialisation
(Trockman and Kolter, arXiv 2305.09828), and every weight is then trained.

The residual stream at the start: `IDENTITY` holds a random code of the current token, `PREVIOUS`
and `BEFORE` codes of the tokens one and two back, `RECENT` the sum of the last few, `CONSTANT` one
value that is the same for every token and gives a head something to point with.
"""

import math

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

N_IDENTITY, N_PREVIOUS, N_BEFORE, N_RECENT = 128, 48, 40, 39
IDENTITY = slice(0, 128)
PREVIOUS = slice(128, 176)
BEFORE = slice(176, 216)
RECENT = slice(216, 255)
CONSTANT = 255
CONSTANT_SIZE = 6.0
INDUCTION_LAYERS = (2, 3, 4)
# A rotary pair turns by less than this angle over the whole context: it carries content, the
# faster pairs carry position.
MAX_CONTENT_ANGLE = 0.5


def start_from_circuits(model: LlamaForCausalLM, bos_token_id: int, seed: int) -> None:
    """Overwrite parts of a freshly initialised model with previous-token and induction heads.

    The model must have a width of at least 256, head_dim 128, two query heads a KV head, at least
    2 KV heads and at least 5 layers; heads beyond the first 2 KV heads stay as they are.
    """
    random = torch.Generator().manual_seed(seed)
    code = _orthogonal(N_IDENTITY, random)
    with torch.no_grad():
        embedding = model.model.embed_tokens.weight
        embedding[:, IDENTITY] = torch.randn(len(embedding), N_IDENTITY, generator=random)
        embedding[:, 128:] *= 0.5
        embedding[:, CONSTANT] = CONSTANT_SIZE
        copied = _orthogonal(N_IDENTITY, random)
        model.lm_head.weight.mul_(0.5)
        model.lm_head.weight[:, IDENTITY] += 0.06 * embedding[:, IDENTITY] @ copied.T
        _look_back(model, code)
        for layer in INDUCTION_LAYERS:
            _look_after_match(model, layer, code, copied, embedding[bos_token_id, IDENTITY], random)


def _orthogonal(size: int, random: torch.Generator) -> Tensor:
    rotation: Tensor = torch.linalg.qr(torch.randn(size, size, generator=random))[0]
    return rotation


def _rotation_rates(config: LlamaConfig) -> Tensor:
    theta = config.rope_parameters["rope_theta"]
    pairs = torch.arange(config.head_dim // 2)
    rates: Tensor = theta ** -(pairs / len(pairs))
    return rates


def _look_back(model: LlamaForCausalLM, code: Tensor) -> None:
    """Layer 0: heads that read one token back, two back, and two bells over the recent ones."""
    attention = model.model.layers[0].self_attn
    rates = _rotation_rates(model.config)
    half = model.config.head_dim // 2
    # (query head, offset, rotary pairs used, peak logit a pair, rows written, gain)
    heads = [
        (0, 1, slice(0, 5), 9.0, PREVIOUS, 1.0),
        (1, 2, slice(0, 5), 9.0, BEFORE, 1.0),
        (2, 4, slice(4, 16), 1.6, RECENT, 2.0),
        (3, 8, slice(8, 20), 1.2, RECENT, 2.0),
    ]
    width = model.config.hidden_size
    x_constant = CONSTANT_SIZE / math.sqrt((N_IDENTITY + CONSTANT_SIZE**2) / width)
    attention.q_proj.weight.mul_(0.1)
    attention.k_proj.weight.mul_(0.1)
    for head, offset, pairs, logit, written, gain in heads:
        size = math.sqrt(logit * math.sqrt(model.config.head_dim)) / x_constant
        query = attention.q_proj.weight[head * 128 : (head + 1) * 128]
        query[:half][pairs, CONSTANT] = size * torch.cos(offset * rates[pairs])
        query[half:][pairs, CONSTANT] = -size * torch.sin(offset * rates[pairs])
        key = attention.k_proj.weight[(head // 2) * 128 : (head // 2 + 1) * 128]
        key[:half][pairs, CONSTANT] = size
        rows = attention.o_proj.weight[written, head * 128 : (head + 1) * 128]
        rows += gain * code[: rows.shape[0]]
    for kv_head in (0, 1):
        value = attention.v_proj.weight[kv_head * 128 : (kv_head + 1) * 128]
        value[:, IDENTITY] += 0.8 * torch.eye(128)


def _look_after_match(
    model: LlamaForCausalLM,
    layer: int,
    code: Tensor,
    copied: Tensor,
    bos_code: Tensor,
    random: torch.Generator,
) -> None:
    """One layer of heads that look after an earlier place with the same recent tokens."""
    attention = model.model.layers[layer].self_attn
    rates = _rotation_rates(model.config)
    half = model.config.head_dim // 2
    slow = int((rates * model.config.max_position_embeddings > MAX_CONTENT_ANGLE).sum())
    content = [*range(slow, half), *range(half + slow, 2 * half)]
    shares = {2: (26, 12), 3: (20, 14), 4: (16, 10)}[layer]
    for kv_head in (0, 1):
        shuffled = torch.tensor(content)[torch.randperm(len(content), generator=random)]
        sink, rows = shuffled[0], shuffled[1:]
        n_previous, n_before = shares
        previous, before, recent = rows.tensor_split([n_previous, n_previous + n_before])
        key = attention.k_proj.weight[kv_head * 128 : (kv_head + 1) * 128]
        key[shuffled] = 0.0
        mixes = {
            name: _orthogonal(size, random)[: len(at)]
            for name, at, size in (
                ("previous", previous, N_PREVIOUS),
                ("before", before, N_BEFORE),
                ("recent", recent, N_RECENT),
            )
        }
        key[previous, PREVIOUS] = 2.4 * mixes["previous"]
        key[before, BEFORE] = 2.0 * mixes["before"]
        key[recent, RECENT] = 2.0 * mixes["recent"]
        key[sink, IDENTITY] = 4.0 * bos_code / N_IDENTITY
        value = attention.v_proj.weight[kv_head * 128 : (kv_head + 1) * 128]
        value[:, IDENTITY] += 0.9 * torch.eye(128)
        for head in (2 * kv_head, 2 * kv_head + 1):
            query = attention.q_proj.weight[head * 128 : (head + 1) * 128]
            query[shuffled] = 0.0
            tilt = 1.0 + 0.25 * (head % 2)
            query[previous, IDENTITY] = 2.4 * tilt * mixes["previous"] @ code[:N_PREVIOUS]
            query[before, PREVIOUS] = 2.0 * mixes["before"] @ torch.eye(N_BEFORE, N_PREVIOUS)
            query[recent, RECENT] = 2.0 / tilt * mixes["recent"]
            query[recent, IDENTITY] = 1.0 / tilt * mixes["recent"] @ code[:N_RECENT]
            query[sink, CONSTANT] = 6.0
            rows_out = attention.o_proj.weight[IDENTITY, head * 128 : (head + 1) * 128]
            rows_out += 0.5 * copied
