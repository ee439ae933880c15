"""A decode as AttAcc's own program prints it: the same columns under the same names.

Times in ms, energies in nJ, all of one generated token over all layers; `s_` columns of the prompt.
"""

from collections.abc import Callable
from dataclasses import fields

from pimreplay.system.capacity import required_bytes
from pimreplay.system.data import Model
from pimreplay.system.gpu import Cost
from pimreplay.system.layers import (
    ACTIVATION,
    ATTENTION,
    GPU_LINK,
    NORM,
    PIM_LINK,
    SOFTMAX,
    WEIGHTS,
    Layer,
)
from pimreplay.system.step import Costs, System, as_counted

Value = float | str
_MODES = {"bank": "BA", "bg": "BG", "buffer": "BUFFER"}


def prompt_columns(costs: Costs, model: Model, steps: int, system: System) -> dict[str, Value]:
    """Return the columns of the summarisation stage (`s_`)."""
    time = _sums(costs, model, lambda cost: 1e3 * cost.time_s)
    by_kind = {
        "s_matmul": ATTENTION, "s_fc": WEIGHTS, "s_comm": GPU_LINK, "s_softmax": SOFTMAX,
        "s_act": ACTIVATION, "s_lnorm": NORM,
    }  # fmt: skip
    columns: dict[str, Value] = {name: time(kind) for name, kind in by_kind.items()}
    flops = sum(layer.flops for layer, _ in costs) * system.gpus * model.layers / steps
    return {"s_flops": flops, "s_time": sum(map(time, by_kind.values())), **columns}


def token_columns(costs: Costs, model: Model, system: System) -> dict[str, float]:
    """Return the columns of the generation stage (`g_`) for one step."""
    time = _sums(costs, model, lambda cost: 1e3 * cost.time_s)
    memory = _sums(costs, model, lambda cost: cost.memory_pj / 1e3)
    compute = _sums(costs, model, lambda cost: sum(_compute_parts(cost)) / 1e3)

    def named(*names: str) -> float:
        times = (cost.time_s for layer, cost in costs if layer.name in names)
        return 1e3 * model.layers * sum(times)

    def total(part: str) -> float:
        parts: list[float] = [getattr(cost, part) for _, cost in costs]
        return model.layers * sum(parts) / 1e3

    all_nj = sum(total(field.name) for field in fields(Cost) if field.name.endswith("_pj"))
    return {
        "g_flops": sum(layer.flops for layer, _ in costs) * system.gpus * model.layers,
        "g_time (ms)": 1e3 * model.layers * sum(cost.time_s for _, cost in costs),
        "g_matmul": time(ATTENTION),
        "g_fc": time(WEIGHTS),
        "g_comm": time(GPU_LINK) + time(PIM_LINK),
        "g_etc": time(ACTIVATION) + time(NORM),
        "g_qkv_time": named("qkv"),
        "g_prj_time": named("proj"),
        "g_ff_time": named("ff1", "ff2", "ff3"),
        "g2g_comm": time(GPU_LINK),
        "c2g_comm": time(PIM_LINK),
        "g_softmax": time(SOFTMAX),
        "g_act": time(ACTIVATION),
        "g_lnorm": time(NORM),
        "g_energy (nJ)": all_nj,
        "g_dram_energy": total("memory_pj"),
        "g_l2_energy": total("l2_pj"),
        "g_l1_energy": total("l1_pj"),
        "g_reg_energy": total("register_pj"),
        "g_alu_energy": total("mac_pj"),
        "g_fc_mem_energy": memory(WEIGHTS),
        "g_fc_comp_energy": compute(WEIGHTS),
        "g_attn_mem_energy": memory(ATTENTION) + memory(SOFTMAX),
        "g_attn_comp_energy": compute(ATTENTION) + compute(SOFTMAX),
        "g_etc_mem_energy": memory(ACTIVATION) + memory(NORM),
        "g_etc_comp_energy": compute(ACTIVATION) + compute(NORM),
        "g_comm_energy": total("link_pj"),
    }


def system_columns(
    system: System, model: Model, *, batch: int, prompt: int, output: int, word_bytes: int
) -> dict[str, Value]:
    """Return the columns that describe the system and the request."""
    pim = system.pim
    peak = system.gpu.memory_bytes_per_s
    counted = as_counted(model, system)
    ridge = system.gpu.flops_per_s / peak
    return {
        "model": model.name,
        "dtype": "W16A16" if word_bytes == 2 else "W8A8",
        "xpu": "GPU",
        "cap": float(system.memory_bytes >> 30),
        "bw": pim.bytes_per_s / peak if pim else 1.0,
        # that program never doubles it for one-byte words: it compares unlike types
        "sys_opb": ridge * (2 if system.physical and word_bytes == 1 else 1),
        "hw": _MODES[pim.mode] if pim else "NONE",
        "cores": float(system.gpus),
        "pipe_level": str(system.pipeline),
        "is parallel": str(system.feedforward_parallel),
        "power constraint": str(pim.power_limit if pim else False),
        "gqa_size": 0.0,
        "Lin": float(prompt),
        "Lout": float(output),
        "bs": float(batch),
        "required_cap": required_bytes(
            counted, batch, prompt + output - 1, word_bytes, grouped=system.physical
        ),
    }


def _compute_parts(cost: Cost) -> tuple[float, ...]:
    return cost.l2_pj, cost.l1_pj, cost.register_pj, cost.mac_pj


def _sums(costs: Costs, model: Model, part: Callable[[Cost], float]) -> Callable[[str], float]:
    def of(kind: str) -> float:
        found: list[tuple[Layer, Cost]] = [one for one in costs if one[0].kind == kind]
        return model.layers * sum(part(cost) for _, cost in found)

    return of
