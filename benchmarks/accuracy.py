"""What a policy inside the model costs: a block of steps under it over the dense block.

One prompt, read once; each policy's block runs next to a dense one, clustering included, in
several rounds. Printed are the medians of the ratios in processor and in wall time. Run with
`python benchmarks/accuracy.py` (needs the package of `smollm2`, or another `--model`).
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from analysis.accuracy.closed_loop import Chooser, decode_block
from analysis.accuracy.prefill import prefill
from pimreplay.policies import load_policy
from pimreplay.selection.budget import Budget
from tracegen.capture.model import load
from tracegen.prompts.prompt import build

MOST = {"topk": 1.5, "quest": 1.5, "streaming_llm": 1.5, "starc": 3.0, "clusterkv": 3.0}
"""The ratio that each policy should stay below."""


def seconds(work: Callable[[], Any]) -> tuple[float, float]:
    """Return processor and wall seconds of one call."""
    processor, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - processor, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=512)
    parser.add_argument("--budget", default="256")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    loaded = load(given.model, dtype=given.dtype)
    ids = build("text", loaded.tokenizer, given.tokens + given.steps).token_ids

    def block(policy: str) -> Callable[[], Any]:
        chooser = Chooser(load_policy(policy), Budget.parse(given.budget))
        return lambda: decode_block(prompt, ids[given.tokens :], chooser)

    processor, _ = seconds(lambda: prefill(loaded.model, ids[: given.tokens]))
    print(f"prefill of {given.tokens} tokens: {processor:.1f} s of a processor")
    prompt = prefill(loaded.model, ids[: given.tokens])
    dense = block("dense")
    seconds(dense)  # compiles and warms what the first call does
    for policy, most in MOST.items():
        pairs = [(seconds(dense), seconds(block(policy))) for _ in range(given.rounds)]
        ratios = [
            statistics.median(own[kind] / base[kind] for base, own in pairs) for kind in (0, 1)
        ]
        base = statistics.median(one[0] for one, _ in pairs)
        print(
            f"{policy}: {ratios[0]:.2f} x the dense block's {base:.2f} s of a processor, "
            f"{ratios[1]:.2f} x in wall time (at most {most:g} wanted)",
            flush=True,
        )


if __name__ == "__main__":
    main()
