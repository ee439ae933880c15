"""The tables of a results folder: their columns, in order and with types.

`docs/results_format.md` describes every column, and a test keeps the two the same.
"""

from collections.abc import Iterator

import pyarrow as pa

from pimreplay.cost.energy_parts import ENERGY_PARTS
from pimreplay.cost.overheads import OVERHEADS

SCHEMA_VERSION = 3
"""Since 2 the tables are sealed in `run.json`; since 3 layers have latencies with overheads. Older
folders open with a warning."""

SINCE_3 = ("latency_with_scoring_ns", "latency_with_overheads_ns", "value_blocks")
"""Columns that folders of 2 lack."""

CONFIGURATION = {
    "trace": pa.string(),
    "model": pa.string(),
    "trace_kind": pa.string(),
    "policy": pa.string(),
    "policy_parameters": pa.string(),
    "layout": pa.string(),
    "hardware": pa.string(),
    "budget": pa.string(),
}
"""Columns that name a configuration, first in every table."""

PHASES = ("score_ns", "softmax_ns", "context_ns", "move_ns")
"""What the latency of attention is made of."""

_OVERHEADS_NS = tuple(f"{name}_ns" for name in OVERHEADS)
_OVERHEADS_PJ = tuple(f"{name}_pj" for name in OVERHEADS)

STEP_VALUES = {
    "visible_tokens": pa.int64(),
    "selected_tokens": pa.float64(),
    "union_tokens": pa.int64(),
    "q_head_blocks": pa.float64(),
    "blocks": pa.int64(),
    "value_blocks": pa.int64(),
    "dense_blocks": pa.int64(),
    "key_rows": pa.int64(),
    "value_rows": pa.int64(),
    "activations": pa.int64(),
    "mac_commands": pa.int64(),
    "move_commands": pa.int64(),
    "cycles": pa.int64(),
    **dict.fromkeys(("latency_ns", *PHASES, *_OVERHEADS_NS), pa.float64()),
    **dict.fromkeys(("energy_pj", *ENERGY_PARTS, *_OVERHEADS_PJ), pa.float64()),
    "remapped_tokens": pa.float64(),
    "clustered_tokens": pa.float64(),
    "wasted_slots": pa.int64(),
    "lane_utilisation_ratio": pa.float64(),
    "overfetch_ratio": pa.float64(),
    "attention_mass_ratio": pa.float64(),
    "topk_overlap_ratio": pa.float64(),
    "output_error_ratio": pa.float64(),
}
"""What is measured of one KV head at one step."""

SCHEMAS = {
    "steps": pa.schema(
        {
            **CONFIGURATION,
            "dense_layer": pa.bool_(),
            "layer": pa.int32(),
            "kv_head": pa.int32(),
            "step": pa.int32(),
            **STEP_VALUES,
            "lane_tokens": pa.list_(pa.int32()),
        }
    ),
    "layers": pa.schema(
        {
            **CONFIGURATION,
            "dense_layer": pa.bool_(),
            "layer": pa.int32(),
            "step": pa.int32(),
            "latency_ns": pa.float64(),
            "latency_with_scoring_ns": pa.float64(),
            "latency_with_overheads_ns": pa.float64(),
            "energy_pj": pa.float64(),
            "busiest_channel_ns": pa.float64(),
            "mean_channel_ns": pa.float64(),
        }
    ),
    "channels": pa.schema(
        {
            **CONFIGURATION,
            "dense_layer": pa.bool_(),
            "layer": pa.int32(),
            "channel": pa.int32(),
            "lane": pa.int32(),
            "tokens": pa.int64(),
        }
    ),
    "points": pa.schema(
        {
            "point": pa.string(),
            **CONFIGURATION,
            "status": pa.string(),
            "error": pa.string(),
        }
    ),
    "selections": pa.schema(
        {
            **CONFIGURATION,
            "layer": pa.int32(),
            "kv_head": pa.int32(),
            "q_head": pa.int32(),
            "step": pa.int32(),
            "selected": pa.binary(),
            "blocks": pa.binary(),
        }
    ),
    "tokens": pa.schema(
        {
            "trace": pa.string(),
            "token": pa.int64(),
            "token_id": pa.int64(),
            "text": pa.string(),
            "position": pa.int64(),
            "phase": pa.string(),
            "log_prob": pa.float64(),
        }
    ),
}
"""The tables of a results folder. `selections` is there when the run kept its selections."""

REQUIRED_TABLES = ("steps", "layers", "channels", "points")


def schema_lines() -> Iterator[tuple[str, str, str]]:
    """Yield (table, column, type) of every column, as `docs/results_format.md` lists them."""
    for table, schema in SCHEMAS.items():
        for field in schema:
            is_list = pa.types.is_list(field.type)
            kind = f"list<{field.type.value_type}>" if is_list else str(field.type)
            yield table, field.name, kind
