from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.report.changes_view import change_text
from analysis.results.changes import Changes, changes
from analysis.results.differences import differences
from pimreplay.results.reader import open_results
from tracegen.base.errors import UserError

Make = Callable[..., Path]


def compared(before: Path, after: Path, **options: bool) -> Changes:
    return changes(*open_results([before, after]), **options, cost="attention")


def test_a_run_compared_with_its_copy_has_no_change(make: Make) -> None:
    found = compared(make("a"), make("b"))
    assert found.configuration == []
    assert found.methods["latency_change"].to_list() == [0.0] * 5


def test_configuration_differences_come_first_and_are_named(make: Make) -> None:
    found = compared(make("a", seed=1), make("b", seed=2))
    (one,) = found.configuration
    assert (one.entry, one.before, one.after) == ("configuration.seed", "1", "2")


def test_a_setting_that_one_side_lacks_is_shown_as_missing(make: Make) -> None:
    (one,) = compared(make("a"), make("b", batch=2)).configuration
    assert (one.before, one.after) == (None, "2")


def test_changes_are_relative_to_the_first_run(make: Make) -> None:
    found = compared(make("a"), make("b", scale=1.5))
    assert found.methods["latency_change"].to_list() == pytest.approx([0.5] * 5)
    assert found.methods["attention_mass_change"].to_list() == [0.0] * 5


def test_runs_on_two_devices_are_compared_method_by_method(make: Make) -> None:
    found = compared(make("a", hardware=("fast",)), make("b", hardware=("slow",), scale=2.0))
    assert found.relaxed == ["hardware"]
    assert found.methods["latency_change"].to_list() == pytest.approx([1.0] * 5)


def test_methods_of_one_side_are_listed(make: Make) -> None:
    found = compared(make("a"), make("b", policies=("dense", "topk")))
    assert [line.split(",")[0] for line in found.only_before] == [
        "sparq",
        "quest",
        "starc",
    ]
    assert found.only_after == []


def test_different_traces_are_refused_unless_asked_for(make: Make) -> None:
    first, second = make("a"), make("b", trace="lookup", scale=2.0)
    with pytest.raises(UserError, match=r"different traces .* --different-traces"):
        compared(first, second)
    found = compared(first, second, different_traces=True)
    assert found.relaxed == ["trace"]
    assert found.methods["latency_change"].to_list() == pytest.approx([1.0] * 5)


def test_nothing_in_common_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match="no method with the same parameters"):
        compared(make("a", policies=("dense", "topk")), make("b", policies=("quest", "starc")))


def test_the_command_prints_and_writes_what_changed(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "changes.html"
    paths = [str(make("a", seed=1)), str(make("b", seed=2, scale=0.5))]
    result = CliRunner().invoke(app, ["compare", *paths, "--out", str(out)])
    assert result.exit_code == 0
    assert result.output.index("configuration.seed") < result.output.index("starc")
    assert "-50.0 %" in result.output
    page = out.read_text()
    assert page.index("configuration.seed") < page.index("starc")
    assert 'class="number better"' in page
    assert "src=" not in page


def test_names_that_look_like_markup_are_names(make: Make) -> None:
    policies = ("dense", "quest:page=[/bold]", "quest:page=[red]x")
    first, second = make("a", policies=policies), make("b", policies=policies, scale=2.0)
    for folders in ([first], [first, second]):
        result = CliRunner().invoke(app, ["compare", *map(str, folders)], catch_exceptions=False)
        assert result.exit_code == 0
        assert "quest page [/bold] " in result.output
        assert "quest page [red]x " in result.output


def test_a_change_reads_as_percent() -> None:
    assert change_text(-0.254) == "-25.4 %"
    assert change_text(0.00001) == "same"


def test_a_device_is_the_same_under_another_name_if_its_values_are(make: Make) -> None:
    found = compared(
        make("a", hardware=("fast", "slow")), make("b", hardware=("quick", "slow"), scale=1.0)
    )
    assert found.relaxed == []
    assert found.only_before == found.only_after == []
    assert len(found.methods) == 10
    assert [(one.entry, one.before, one.after) for one in found.configuration] == [
        ("configuration.hardware", "fast, slow", "quick, slow"),
    ]


def test_a_sweep_against_a_run_is_told_in_a_line_a_subject(make: Make) -> None:
    sweep = make("a", hardware=("fast", "slow", "other"), budgets=("128", "256"))
    found = compared(sweep, make("b", policies=("dense", "topk")))
    assert [(one.entry, one.before, one.after) for one in found.configuration] == [
        ("configuration.budgets", "128, 256", "256"),
        ("configuration.hardware", "fast, slow, other", "attacc_hbm3_bank"),
        (
            "configuration.policies (in one only)",
            "sparq@sequential, quest@sequential, starc@clustered",
            None,
        ),
        ("hardware (in one only)", "slow, other", None),
    ]


def test_values_of_one_device_that_differ_stand_in_one_line() -> None:
    def recorded(name: str, **energy: float) -> dict[str, object]:
        return {"hardware": [{"name": name, "values": {"title": name, "energy": energy}}]}

    found = list(differences(recorded("one", a=1, b=2, c=3), recorded("two", a=1, b=4, d=5)))
    assert [(one.entry, one.before, one.after) for one in found] == [
        ("hardware.name", "one", "two"),
        ("hardware.values.energy", "b 2, c 3", "b 4, d 5"),
    ]
