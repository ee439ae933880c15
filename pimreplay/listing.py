"""What `pimreplay list` prints: every variant that is there, found and not registered."""

from collections.abc import Callable
from dataclasses import fields
from types import ModuleType

from pimreplay import layouts, policies
from pimreplay.hardware import reading as hardware
from pimreplay.replay.method import usual_layout
from tracegen.base.discover import discover, variant_class


def listing() -> str:
    """Return policies, layouts and devices, each with one sentence and its parameters."""
    lines = ["policies (--policy NAME[:param=value,...][@LAYOUT])"]
    lines += _variants(policies, lambda policy: f" [usual layout: {usual_layout(policy)}]")
    lines += ["", "layouts (--layout NAME[:param=value,...])"]
    lines += _variants(layouts, lambda layout: "")
    lines += ["", "hardware (--hardware NAME or a .toml file)"]
    for name in hardware.names():
        device = hardware.load(name)
        assumed = f" [{len(device.assumed)} assumed values]" if device.assumed else ""
        lines.append(f"  {name:<22} {device.title}{assumed}")
    return "\n".join(lines)


def _variants(package: ModuleType, note: Callable[[type], str]) -> list[str]:
    lines = []
    for name, module in discover(package).items():
        variant = variant_class(module)
        sentence = " ".join((variant.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"  {name:<22} {sentence}{note(variant)}")
        parameters = ", ".join(f"{one.name}={one.default}" for one in fields(variant))
        if parameters:
            lines.append(f"  {'':<22}   {parameters}")
    return lines
