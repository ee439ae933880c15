"""What a model and its KV cache need of memory, and the largest batch that fits.

Source: scale-snu/attacc_simulator @ c600051, src/system.py, get_required_mem_capacity.
"""

from pimreplay.system.data import Model


def required_bytes(
    model: Model, batch: int, tokens: int, word_bytes: int, *, grouped: bool
) -> float:
    """Return the bytes of weights, KV cache and temporaries for `tokens` tokens a sequence."""
    weights, per_sequence = _parts(model, tokens, word_bytes, grouped)
    return weights + batch * per_sequence


def largest_batch(
    model: Model, tokens: int, word_bytes: int, memory_bytes: float, *, grouped: bool
) -> int:
    """Return how many sequences fit beside the weights; 0 where not even one does."""
    weights, per_sequence = _parts(model, tokens, word_bytes, grouped)
    return max(int((memory_bytes - weights) // per_sequence), 0)


def _parts(model: Model, tokens: int, word_bytes: int, grouped: bool) -> tuple[float, float]:
    hidden, inner = model.hidden, model.feedforward_ratio * model.hidden
    share = model.kv_heads / model.q_heads if grouped else 1
    matrices = 3 if model.feedforward == "swiglu" else 2
    attention = (2 + 2 * share) * hidden
    weights = model.layers * hidden * (attention + matrices * inner) * word_bytes
    scores = tokens * model.q_heads
    temporary = word_bytes * max(hidden + scores, 2 * hidden, 2 * scores, inner + hidden)
    cache = model.layers * 2 * tokens * hidden * share * word_bytes
    return weights, cache + temporary + scores
