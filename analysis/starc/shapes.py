"""Model shapes and the system of the STARC artefact's cost model.

Source: EPIC-RPI/STARC @ 30d4ce9, `simulator_starc/src/config.py`, `src/model.py`,
`src/ramulator_wrapper.py` and the commands of its README.
"""

from dataclasses import dataclass

from tracegen.base.errors import UserError, nearest


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cost model knows of a model: its attention layers."""

    name: str
    """As in the tables' file names, lower case."""
    title: str
    q_heads: int
    layers: int
    head_dim: int
    note: str
    """Where the shape comes from, and what is assumed."""


@dataclass(frozen=True, slots=True)
class System:
    """The artefact's system: 8 devices of 5 HBM3-PIM stacks, tensor-parallel over devices."""

    batch: int = 16
    prompt_tokens: int = 2048
    """Context before the first decode step: step i reads a context of prompt + i + 1 tokens."""
    devices: int = 8
    stacks_per_device: int = 5
    element_bytes: int = 2

    @property
    def kv_bits(self) -> int:
        """Bits of a KV element."""
        return 8 * self.element_bytes

    @property
    def stacks(self) -> int:
        """PIM stacks of the system."""
        return self.devices * self.stacks_per_device

    def heads_per_device(self, shape: Shape) -> int:
        """Attention heads (requests times query heads) that one device serves."""
        return shape.q_heads // self.devices * self.batch

    def heads(self, shape: Shape) -> int:
        """Attention heads of the whole system: requests times query heads."""
        return self.heads_per_device(shape) * self.devices

    def heads_per_stack(self, shape: Shape) -> int:
        """Heads of the stack that is simulated: rounded up, every stack is charged as much."""
        return -(-self.heads_per_device(shape) // self.stacks_per_device)


SHAPES = (
    Shape(
        "gpt",
        "GPT-13B",
        q_heads=40,
        layers=40,
        head_dim=128,
        note="assumed: neither the tables nor the README say which GPT; of the GPT entries of the"
        " artefact's model table only the 13B's keys and values fit its 640 GB of PIM stacks at"
        " batch 16 and 34k tokens",
    ),
    Shape(
        "llama",
        "Llama 7B/8B",
        q_heads=32,
        layers=32,
        head_dim=128,
        note="32 layers of 32 query heads of 128, as LLAMA-7B in the artefact's model table and"
        " Llama-8B in its authors' earlier fork",
    ),
    Shape(
        "mistral",
        "Mistral-7B",
        q_heads=32,
        layers=32,
        head_dim=128,
        note="32 layers of 32 query heads of 128, as Mistral-7B in the artefact's model table",
    ),
)
METHODS = {"quest": "Quest", "sparq": "SparQ", "starc": "STARC"}
"""Methods that the artefact has tables of, by the name in the file."""
TITLES = {"full": "Full"} | METHODS


def shape_named(name: str, where: str) -> Shape:
    """Return the shape of a model name; `where` begins the error."""
    for shape in SHAPES:
        if shape.name == name.lower():
            return shape
    raise UserError(
        f"{where}: model {name!r} is unknown; {nearest(name.lower(), [s.name for s in SHAPES])};"
        " name the file <model>_<method>.txt or kv_budget_<model>_<method>.txt"
    )


def method_named(name: str, where: str) -> str:
    """Return a method's name in lower case; `where` begins the error."""
    if name.lower() not in METHODS:
        raise UserError(
            f"{where}: method {name!r} is unknown; {nearest(name.lower(), METHODS)};"
            " name the file <model>_<method>.txt or kv_budget_<model>_<method>.txt"
        )
    return name.lower()
