"""One attention layer of one decode step, generated, run and costed: `pimreplay attention`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from pimreplay.attacc.export import export
from pimreplay.attacc.layer_commands import attention_requests
from pimreplay.attacc.shape import AttentionShape
from pimreplay.bank_model.scheduler import schedule
from pimreplay.bank_model.simulate import report
from pimreplay.cost.energy import MODELS, layer_energy
from pimreplay.cost.energy_parts import Energy
from pimreplay.hardware.device import Hardware
from pimreplay.hardware.levels import LEVELS
from pimreplay.hardware.preset_files import load_organisation, load_timing
from pimreplay.hardware.reading import load
from tracegen.base.errors import UserError, nearest


def device(
    hardware_name: str | None,
    mode: str | None,
    timing: str | None,
    organisation: str | None,
    *,
    refresh: bool = True,
) -> Hardware:
    """Return the device asked for, with what overrides its file.

    Without a name it is AttAcc's of the mode (bank without that either).
    """
    if mode is not None and mode not in LEVELS:
        raise UserError(f"--mode {mode!r}: unknown; {nearest(mode, LEVELS)}")
    if hardware_name is None:
        hardware_name = f"attacc_hbm3_{mode or 'bank'}"
    hardware = load(hardware_name)
    if mode is not None:
        hardware = replace(hardware, level=LEVELS[mode])
    org = hardware.organisation if organisation is None else load_organisation(organisation)
    times = hardware.timing if timing is None else load_timing(timing, org)
    if timing is None and organisation is not None:
        times = replace(times, n_rfc_cycles=_refresh_cycles(org.t_rfc_ns, times.t_ck_ps))
    return replace(hardware, organisation=org, timing=times, refresh=hardware.refresh and refresh)


def _refresh_cycles(t_rfc_ns: float, t_ck_ps: int) -> int:
    from pimreplay.units import ns_to_cycles

    return ns_to_cycles(t_rfc_ns, t_ck_ps)


def attention_layer(
    *,
    hardware_name: str | None,
    mode: str | None,
    head_dim: int,
    heads: int,
    tokens: int,
    kv_budget: int | None = None,
    element_bytes: int = 2,
    max_tokens: int | None = None,
    cluster_step: bool = False,
    timing: str | None = None,
    organisation: str | None = None,
    refresh: bool = True,
    export_to: Path | None = None,
) -> dict[str, Any]:
    """Generate the layer's commands, run them and return everything as one JSON object."""
    hardware = device(hardware_name, mode, timing, organisation, refresh=refresh)
    shape = AttentionShape(
        head_dim=head_dim,
        heads=heads,
        tokens=tokens,
        element_bytes=element_bytes,
        kv_budget=kv_budget,
        max_tokens=max_tokens,
        cluster_step=cluster_step,
    )
    requests = attention_requests(hardware, shape)
    if export_to is not None:
        export(requests, export_to)
    outcome = schedule(requests, hardware.organisation, hardware.timing, refresh=hardware.refresh)
    geometry = hardware.geometry(head_dim, 8 * element_bytes)
    charged, attacc = layer_energy(geometry, outcome, heads, shape.read_tokens)
    result = report(outcome, hardware.organisation, hardware.timing)
    row = result.row("", timing or "of the device", organisation or "of the device", refresh)
    del row["file"]
    return {
        "hardware": hardware.name,
        "mode": hardware.level.name,
        "head_dim": head_dim,
        "heads": heads,
        "tokens": tokens,
        "kv_budget": kv_budget,
        "read_tokens": shape.read_tokens,
        "bytes_per_element": element_bytes,
        "cluster_step": cluster_step,
        **row,
        "energy_model": hardware.energy_model,
        "energy_pj": _number(charged.total_pj),
        "energy": _parts(charged),
        "energy_notes": list(MODELS[hardware.energy_model].NOTES),
        "attacc_energy_pj": _number(attacc.total_pj),
        "attacc_energy": _parts(attacc),
        "assumed": list(hardware.assumed),
    }


def _number(value: Any) -> float | None:
    return None if value is None else float(value[0])


def _parts(energy: Energy) -> dict[str, float | None]:
    return {name: _number(part) for name, part in energy.parts().items()}
