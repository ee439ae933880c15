"""What makes one training run of the reference model: its shape, schedule and seed."""

from dataclasses import dataclass

from transformers import LlamaConfig

from tracegen.reference_model.corpus import BOS_ID

# (share of the training time at which the stage ends, context length in tokens)
STAGES = ((0.35, 512), (0.55, 1024), (0.72, 2048), (0.86, 4096), (1.00, 8192))


@dataclass(frozen=True)
class Recipe:
    """The settings of a training run; a checkpoint of another recipe is refused."""

    vocabulary: int = 4096
    hidden_size: int = 256
    intermediate_size: int = 512
    layers: int = 6
    q_heads: int = 4
    kv_heads: int = 2
    head_dim: int = 128
    context: int = 8192
    rope_theta: float = 1e7
    learning_rate: float = 2e-3
    seed: int = 0

    @property
    def holds_circuits(self) -> bool:
        """Whether the shape has room for the circuits of `tracegen.reference_model.circuits`."""
        return (
            self.hidden_size >= 256
            and self.head_dim == 128
            and self.layers > 4
            and self.kv_heads >= 2
            and self.q_heads == 2 * self.kv_heads
        )

    def config(self) -> LlamaConfig:
        """Return the architecture as transformers describes it."""
        return LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=self.hidden_size,
            intermediate_size=self.intermediate_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.q_heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            max_position_embeddings=self.context,
            rope_parameters={"rope_type": "default", "rope_theta": self.rope_theta},
            tie_word_embeddings=False,
            bos_token_id=BOS_ID,
            eos_token_id=None,
            pad_token_id=None,
            attn_implementation="sdpa",
        )

    def learning_rate_at(self, done_ratio: float) -> float:
        """Return the learning rate after a share of the training: 2% up, flat, 40% down."""
        ramp = min(1.0, done_ratio / 0.02 + 0.02, (1.0 - done_ratio) / 0.4 + 0.02)
        return self.learning_rate * ramp

    def length_at(self, done_ratio: float) -> int:
        """Return the context length in tokens to train with after a share of the training."""
        lengths = [length for end, length in STAGES if done_ratio < end] or [STAGES[-1][1]]
        return min(lengths[0], self.context)


SIZES = {
    "small": Recipe(),
    "medium": Recipe(hidden_size=320, intermediate_size=768, layers=8, learning_rate=1.5e-3),
    "tiny": Recipe(
        vocabulary=384, hidden_size=64, intermediate_size=96, layers=2, head_dim=64, context=512
    ),
}
