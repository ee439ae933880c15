"""Tiny GGUF files: a random Llama, quantised, with a tokenizer of one token a byte."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import pre_tokenizers

CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>"
_HIDDEN, _LAYERS, _Q_HEADS, _KV_HEADS, _FFN = 64, 2, 4, 2, 96


def write_gguf(path: Path, *, without: str = "", **changed: Any) -> Path:
    """Write a file that can be loaded, but for what is `changed` or left out.

    Args:
        path: where.
        without: tokenizer, template or nothing.
        changed: `architecture`, `parts` (of a split file) or `tensor_type` (a GGML type).
    """
    writer = gguf.GGUFWriter(path, changed.get("architecture", "llama"))
    writer.add_block_count(_LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(_HIDDEN)
    writer.add_feed_forward_length(_FFN)
    writer.add_head_count(_Q_HEADS)
    writer.add_head_count_kv(_KV_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(_HIDDEN // _Q_HEADS)
    if "parts" in changed:
        writer.add_uint16("split.count", changed["parts"])
    tokens = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab"]
    writer.add_vocab_size(len(tokens))
    if without != "tokenizer":
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_list(tokens)
        writer.add_token_types([3, 3] + [1] * (len(tokens) - 2))
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(0)
        writer.add_eos_token_id(1)
        if without != "template":
            writer.add_chat_template(CHAT)
    rng = np.random.default_rng(0)
    shapes = {"token_embd": (len(tokens), _HIDDEN), "output_norm": (_HIDDEN,)}
    for layer in range(_LAYERS):
        kv = _HIDDEN * _KV_HEADS // _Q_HEADS
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_norm": (_HIDDEN,),
                "attn_q": (_HIDDEN, _HIDDEN),
                "attn_k": (kv, _HIDDEN),
                "attn_v": (kv, _HIDDEN),
                "attn_output": (_HIDDEN, _HIDDEN),
                "ffn_norm": (_HIDDEN,),
                "ffn_gate": (_FFN, _HIDDEN),
                "ffn_up": (_FFN, _HIDDEN),
                "ffn_down": (_HIDDEN, _FFN),
            }.items()
        }
    for name, shape in shapes.items():
        values = (0.3 * rng.standard_normal(shape)).astype(np.float32)
        if len(shape) == 1:
            writer.add_tensor(f"{name}.weight", np.ones(shape, np.float32))
        elif "tensor_type" in changed:
            kind = changed["tensor_type"]
            block_values, block_bytes = gguf.GGML_QUANT_SIZES[kind]
            bytes_ = np.zeros((shape[0], max(1, shape[1] // block_values) * block_bytes), np.uint8)
            writer.add_tensor(f"{name}.weight", bytes_, raw_dtype=kind)
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
