"""What `pimreplay list` prints: every variant that is there, found and not registered."""

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType

from pimreplay import layouts, mappings, policies
from pimreplay.hardware import reading as hardware
from pimreplay.replay.method import usual_layout
from tracegen.base.discover import discover, variant_class
from tracegen.base.text_table import text_table


def listing() -> str:
    """Return policies, layouts and devices, each with one sentence and its parameters."""
    lines = ["policies (--policy NAME[:param=value,...][@LAYOUT])"]
    lines += _variants(policies, lambda policy: f" [usual layout: {usual_layout(policy)}]")
    lines += ["", "layouts (--layout NAME[:param=value,...])"]
    lines += _variants(layouts, lambda layout: "")
    lines += ["", "hardware (--hardware NAME or a .toml file)"]
    devices = []
    for name in hardware.names():
        device = mappings.load(name)
        assumed = f" [{len(device.assumed)} assumed values]" if device.assumed else ""
        mapping = f" [mapping: {device.mapping}]"
        devices.append([f"  {name}", device.title + mapping + assumed])
    return "\n".join([*lines, *text_table([], devices)])


def _variants(package: ModuleType, note: Callable[[type], str]) -> list[str]:
    rows = []
    for name, module in discover(package).items():
        variant = variant_class(module)
        sentence = " ".join((variant.__doc__ or "").split("\n\n")[0].split())
        rows.append([f"  {name}", sentence + note(variant)])
        parameters = ", ".join(f"{one.name}={one.default}" for one in fields(variant))
        if parameters:
            rows.append(["", f"  {parameters}"])
    return text_table([], rows)
