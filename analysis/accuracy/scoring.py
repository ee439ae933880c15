"""What one block of steps says about its targets, step by step."""

from collections.abc import Sequence

import pyarrow as pa
import torch
from torch import Tensor

from analysis.accuracy.tasks import Example
from analysis.results.accuracy import STEPS

_ROWS = 64
"""Steps at a time: a few rows of a large vocabulary."""


def score(
    task: str, example: Example, policy: str, budget: str, logits: Tensor, dense: Tensor
) -> pa.Table:
    """Return the rows of the table of steps.

    Args:
        task: Name of the task.
        example: What was asked.
        policy: The policy as it was named.
        budget: The budget as it was given.
        logits: (steps, vocabulary) of the model with the policy.
        dense: The same of the model without.
    """
    target = torch.tensor(example.target_ids, device=logits.device)
    nats, divergence = [], []
    for first in range(0, len(target), _ROWS):
        part = slice(first, first + _ROWS)
        own, exact = logits[part].log_softmax(-1), dense[part].log_softmax(-1)
        nats.append(-own.gather(1, target[part, None])[:, 0])
        divergence.append((exact.exp() * (exact - own)).sum(-1))
    choice, dense_choice = logits.argmax(-1), dense.argmax(-1)
    steps = len(target)
    begin = len(example.prompt_ids)
    columns: dict[str, Sequence[object]] = {
        "task": [task] * steps,
        "example": [example.number] * steps,
        "policy": [policy] * steps,
        "budget": [budget] * steps,
        "step": range(steps),
        "position": range(begin, begin + steps),
        "target_id": example.target_ids,
        "target_bytes": example.target_bytes,
        "answer": [None if one < 0 else one for one in example.answer],
        "nats": torch.cat(nats).tolist(),
        "dense_divergence_nats": torch.cat(divergence).tolist(),
        "is_target": (choice == target).tolist(),
        "is_dense_choice": (choice == dense_choice).tolist(),
    }
    return pa.table({k: list(v) for k, v in columns.items()}, schema=STEPS)
