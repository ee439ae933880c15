"""A method: a policy with its parameters resolved, and the layout it is replayed on."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from pimreplay.layouts import Layout, load_layout
from pimreplay.policies import Policy, load_policy


@dataclass(frozen=True, slots=True)
class Method:
    """A policy on a layout, with the names that results know them by."""

    policy: str
    parameters: str
    """Every parameter as `name=value`, defaults included."""
    selector: Policy
    layout: str
    placer: Layout


def method(text: str, layout: str | None = None) -> Method:
    """Resolve `NAME[:param=value,...][@LAYOUT]` to a method.

    The layout is the one after `@`, else `layout`, else the policy's usual one.

    Raises:
        UserError: an unknown policy, parameter or layout.
    """
    policy_text, _, own_layout = text.partition("@")
    found = method_of(load_policy(policy_text), own_layout or layout)
    return replace(found, policy=policy_text.partition(":")[0].strip())


def method_of(selector: Policy, layout: str | None = None) -> Method:
    """Return the method of a policy that is there already, named by its class.

    Raises:
        UserError: an unknown layout.
    """
    layout_text = layout or usual_layout(selector)
    return Method(
        policy=type(selector).__name__,
        parameters=_parameters(selector),
        selector=selector,
        layout=layout_text,
        placer=load_layout(layout_text),
    )


def usual_layout(policy: Policy | type) -> str:
    """Return the layout that a policy is replayed on when none is named: its own, or arrival order.

    A policy that puts tokens in groups says where they should lie: `usual_layout = "clustered"`.
    """
    return str(getattr(policy, "usual_layout", "sequential"))


def _parameters(variant: Any) -> str:
    if not is_dataclass(variant):
        return ""
    return ",".join(f"{field.name}={getattr(variant, field.name)}" for field in fields(variant))
