"""Which traces a path stands for: one trace, or a folder of traces, one a prompt.

The traces of a folder are replayed alike, and reports give their means with an interval; so they
must come from one model, captured in one way, and may differ in their prompts alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pyarrow import fs

from pimreplay.study.plan import TraceSource
from tracegen.base.errors import UserError
from tracegen.base.location import file_system, is_url
from tracegen.trace.schema import MANIFEST
from tracegen.trace.store import Trace

ALIKE = (
    *("kind", "model", "layers", "q_heads", "kv_heads", "head_dim", "dtype"),
    *("softmax_scale", "soft_cap", "sliding_window", "kv_layer", "sink_logit"),
)
"""What the manifests of a folder of traces must have in common."""


def trace_sources(path: str) -> list[TraceSource]:
    """Return the trace at a path or URL, or the traces in it, by name.

    Raises:
        UserError: no trace is there, one is damaged, or they are not of one model and capture.
    """
    inside = list(_traces_inside(path))
    if not inside:
        return [_source(path)]
    prompts = _name(path)
    found = [_source(f"{path.rstrip('/')}/{name}") for name in inside]
    _refuse_different(path, found)
    return [replace(one, name=f"{prompts}/{one.name}", prompts=prompts) for one in found]


def _traces_inside(path: str) -> Iterator[str]:
    """Yield the names of the traces in a folder that is not one itself."""
    system, inside = file_system(path)
    if system.get_file_info(f"{inside}/{MANIFEST}").type != fs.FileType.NotFound:
        return
    if system.get_file_info(inside).type != fs.FileType.Directory:
        return
    for info in sorted(system.get_file_info(fs.FileSelector(inside)), key=lambda one: one.path):
        hidden = info.base_name.startswith(".")  # a capture that is not finished
        if info.type == fs.FileType.Directory and not hidden:
            manifest = system.get_file_info(f"{info.path}/{MANIFEST}")
            if manifest.type != fs.FileType.NotFound:
                yield info.base_name


def _source(path: str) -> TraceSource:
    trace = Trace.open(path)
    manifest = trace.manifest
    return TraceSource(
        name=_name(path),
        path=path if is_url(path) else str(Path(path).absolute()),
        hash=trace.hash,
        model=manifest.model,
        kind=manifest.kind,
        manifest=manifest,
    )


def _name(path: str) -> str:
    return path.rstrip("/").rsplit("/", 1)[-1]


def _refuse_different(path: str, found: Sequence[TraceSource]) -> None:
    first = found[0]
    for other in found[1:]:
        for name in ALIKE:
            one, two = getattr(first.manifest, name), getattr(other.manifest, name)
            if one != two:
                raise UserError(
                    f"{path}: {first.name} has {name} {one} and {other.name} has {two}; traces of "
                    "one folder differ in their prompts alone; give others one by one"
                )
