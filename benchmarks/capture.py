"""What capturing costs: a capture's time over that of the library's own generation.

Both run in turn in one process, several times; each ratio is of two neighbouring runs, and their
median is printed last. Run with `python benchmarks/capture.py`.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tracegen.base.cpu import make_bfloat16_safe
from tracegen.capture.model import LoadedModel, load
from tracegen.capture.plan import Request
from tracegen.capture.run import capture
from tracegen.capture.source import REFERENCE_FOLDER


def random_model(dtype: str) -> LoadedModel:
    """Return a random model of the reference model's shape."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=128,
        intermediate_size=688,
        vocab_size=4096,
        max_position_embeddings=16_384,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, dtype)).eval()
    return LoadedModel("random", model, None)


def generate(model: Any, prompt: torch.Tensor, steps: int) -> None:
    """Decode greedily as a user of the library does; no token ends the text early."""
    with torch.inference_mode():
        model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=steps + 1,  # a capture feeds the last token too
            min_new_tokens=steps + 1,
            do_sample=False,
        )


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="default: reference, or random without it")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--prompt-tokens", type=int, default=4096)
    parser.add_argument("--decode-steps", type=int, default=128)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    make_bfloat16_safe()
    if options.model is None and not (REFERENCE_FOLDER / "config.json").exists():
        loaded = random_model("bfloat16" if options.dtype == "auto" else options.dtype)
    else:
        loaded = load(options.model or "reference", dtype=options.dtype)
    vocabulary = loaded.model.config.get_text_config().vocab_size
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, vocabulary, (options.prompt_tokens,), generator=generator).tolist()
    loaded.model.set_attn_implementation("sdpa")
    request = Request(ids, options.decode_steps)
    print(
        f"{loaded.name}, {loaded.model.dtype}, {options.prompt_tokens} prompt tokens, "
        f"{options.decode_steps} steps, {torch.get_num_threads()} threads"
    )
    prompt = torch.tensor([ids], device=loaded.model.device)
    wall_ratios, processor_ratios = [], []
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs + 1):
            plain = seconds(lambda: generate(loaded.model, prompt, options.decode_steps))
            captured = seconds(
                lambda: capture(loaded, request, Path(folder) / "trace", overwrite=True)
            )
            if run == 0:
                continue  # the first round also loads libraries and warms caches
            wall_ratios.append(captured[0] / plain[0])
            processor_ratios.append(captured[1] / plain[1])
            print(
                f"generation {plain[0]:.3f} s, capture {captured[0]:.3f} s: {wall_ratios[-1]:.3f} "
                f"(processor time {processor_ratios[-1]:.3f})"
            )
    print(f"processor time, capture / generation: {statistics.median(processor_ratios):.3f}")
    print(f"capture / generation: {statistics.median(wall_ratios):.3f} (target: at most 1.05)")


if __name__ == "__main__":
    main()
