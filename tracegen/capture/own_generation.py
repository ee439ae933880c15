"""Compare a trace with what its model generates by itself, with nothing recorded.

`verify` recomputes attention from what a trace holds; it cannot see that the model was run in
another way than it generates, for example with a rotary embedding that changes with the length of
the text. Here the model generates the trace's tokens by its own `generate` and attention, and what
it thinks of each of them must be what the trace says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from tracegen.base.errors import UserError
from tracegen.capture.generation import input_device
from tracegen.capture.model import LoadedModel
from tracegen.capture.weights import weights_sha256
from tracegen.trace.store import Trace

TOLERANCE_NATS = {"float16": 0.1, "bfloat16": 0.5, "float32": 1e-3}
"""By the stored type, to which a capture rounds queries and keys; attention is also computed in
another order here and there."""


@dataclass(frozen=True, slots=True)
class OwnGeneration:
    """How far a model's own generation is from a trace."""

    log_prob_error_nats: float
    """Largest difference of a decoded token's log-probability."""
    worst_step: int
    tolerance_nats: float

    @property
    def problem(self) -> str | None:
        """What is wrong, in words; None: nothing is."""
        if self.log_prob_error_nats <= self.tolerance_nats:
            return None
        return (
            f"the model by itself gives the token of step {self.worst_step} a log-probability that "
            f"differs by {self.log_prob_error_nats:.3g}, more than {self.tolerance_nats:g}, so the "
            "trace is not of what this model generates"
        )


def compare(trace: Trace, loaded: LoadedModel) -> OwnGeneration:
    """Let a model generate the tokens of a trace and compare their probabilities.

    Raises:
        UserError: the trace is not of this model, or does not hold what its tokens are.
    """
    manifest, tokens = trace.manifest, trace.tokens()
    ids = tokens["token_id"].to_list()
    stored = tokens["log_prob"].to_list()[manifest.prompt_tokens :]
    if manifest.model_sha256 is None or None in ids or None in stored:
        raise UserError(
            f"{trace.where}: holds no model's hash, tokens and probabilities to compare with; only "
            "captured traces do"
        )
    if weights_sha256(loaded.model, loaded.own_dtype) != manifest.model_sha256:
        raise UserError(
            f"--model {loaded.name}: not the model of {trace.where} ({manifest.model}): its "
            "weights or its configuration are others; give the one that was captured"
        )
    found = _log_probs(loaded, ids[: manifest.prompt_tokens], ids[manifest.prompt_tokens :])
    error = (found - torch.tensor(stored)).abs().nan_to_num(nan=float("inf"))
    step = int(error.argmax())
    return OwnGeneration(float(error[step]), step, TOLERANCE_NATS[manifest.dtype])


def _log_probs(loaded: LoadedModel, prompt: Sequence[int], decoded: Sequence[int]) -> Tensor:
    """Return the log-probability of each decoded token as the model generates it, (steps,)."""
    ids = torch.tensor([list(prompt)], device=input_device(loaded.model))
    answer = loaded.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=len(decoded),
        do_sample=False,
        eos_token_id=None,
        output_logits=True,
        return_dict_in_generate=True,
        logits_processor=[_Forced(len(prompt), decoded)],
    )
    logits = torch.stack([one[0].float().cpu() for one in answer.logits])  # (steps, vocabulary)
    chosen = torch.tensor(list(decoded))[:, None]
    return torch.log_softmax(logits, dim=-1).gather(1, chosen)[:, 0]


class _Forced(LogitsProcessor):  # type: ignore[misc]
    """Leaves one token to choose at each step."""

    def __init__(self, prompt_tokens: int, decoded: Sequence[int]) -> None:
        self._prompt_tokens = prompt_tokens
        self._decoded = decoded

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return scores of -inf for all tokens but the trace's."""
        only = torch.full_like(scores, float("-inf"))
        only[:, self._decoded[input_ids.shape[1] - self._prompt_tokens]] = 0.0
        return only
