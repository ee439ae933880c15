"""Hardware files and presets: what they hold, and everything that makes one wrong."""

from pathlib import Path

import pytest

from pimreplay import mappings
from pimreplay.hardware import reading as hardware
from pimreplay.hardware.organisation import organisation_problems
from pimreplay.hardware.preset_files import (
    load_organisation,
    load_timing,
    organisation_names,
    timing_names,
    timing_values,
)
from pimreplay.hardware.timing import timing_problems
from tracegen.base.errors import UserError

NAMES = [name for name in hardware.names() if mappings.load(name).mapping == "attacc"]


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_file_is_sound_and_says_its_sources(name: str) -> None:
    device = hardware.load(name)
    for table in ("organisation", "timing", "pim"):
        assert device.sources[table]
    assert device.assumed, "published HBM timings are scaled: say so"


def test_a_variant_keeps_what_its_base_assumes_about_tables_it_does_not_fill(
    tmp_path: Path,
) -> None:
    variant = tmp_path / "half.toml"
    variant.write_text(
        'schema = 1\nbase = "attacc_hbm3_bank"\nassumed = ["energy: a what-if value"]\n'
        '[energy]\nsource = "what-if"\nactivation_pj = 450.56\n'
    )
    base = hardware.load("attacc_hbm3_bank").assumed
    kept = [text for text in base if not text.startswith("energy:")]
    assert len(kept) < len(base)
    assert list(hardware.load(str(variant)).assumed) == [*kept, "energy: a what-if value"]


@pytest.mark.parametrize("name", organisation_names())
def test_an_organisation_preset_fits_its_density(name: str) -> None:
    org = load_organisation(name)
    assert org.channel_density_mbit << 20 == org.capacity_bytes // org.channels * 8


@pytest.mark.parametrize("name", timing_names())
def test_a_timing_preset_is_sound(name: str) -> None:
    timing = load_timing(name, load_organisation("HBM3_8Gb_2R"))
    assert timing.t_ck_ps == int(1e6 / (timing.data_rate_mbps // 4))
    # 350 ns, rounded up but for the last 2.5% of a cycle
    assert (
        (timing.n_rfc_cycles - 1) * timing.t_ck_ps
        < 350_000
        <= timing.n_rfc_cycles * 1.03 * (timing.t_ck_ps)
    )


def test_a_row_cycle_may_miss_its_sum_by_one_rounding_only() -> None:
    values = timing_values("HBM3_5.2Gbps")
    assert values["n_rc_cycles"] == values["n_ras_cycles"] + values["n_rp_cycles"] - 1
    assert timing_problems(values, 350.0) == []
    values["n_rc_cycles"] -= 1
    (problem,) = timing_problems(values, 350.0)
    assert "n_rc_cycles = 62 is less than n_ras_cycles + n_rp_cycles = 64" in problem


def test_all_problems_of_a_timing_table_come_at_once() -> None:
    values = timing_values("HBM3_5.2Gbps")
    del values["n_faw_cycles"]
    values |= {"n_rp_cycles": -1, "n_cl_cycles": 1.5, "n_rpp_cycles": 3}
    text = "; ".join(timing_problems(values, 350.0))
    for expected in ("n_faw_cycles is missing", "-1 must be above 0", "whole", "n_rpp_cycles"):
        assert expected in text


def test_contradicting_organisation_numbers_are_refused() -> None:
    values = {
        "channels": 16,
        "pseudo_channels": 2,
        "ranks": 2,
        "bank_groups": 4,
        "banks": 4,
        "rows": 1 << 13,
        "columns": 32,
        "access_bytes": 32,
        "channel_density_mbit": 8192,
        "t_rfc_ns": 350,
    }
    (problem,) = organisation_problems(values)
    assert "4096 Mbit" in problem
    assert "8192" in problem
    assert "power of two" in "; ".join(organisation_problems({**values, "columns": 33}))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_variant_starts_from_its_base(tmp_path: Path) -> None:
    path = write(
        tmp_path / "fast.toml",
        'schema = 1\nbase = "attacc_hbm3_bank"\n'
        '[timing]\nsource = "a test"\npreset = "HBM3_6.4Gbps"\nn_rfc_cycles = 500\n',
    )
    device = hardware.load(path)
    assert device.timing.data_rate_mbps == 6400
    assert device.timing.n_rfc_cycles == 500
    assert device.level.name == "bank"


def test_all_problems_of_a_hardware_file_come_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad.toml",
        "schema = 1\n"
        '[organisation]\nsource = "x"\npreset = "HBM3_8Gb_2R"\nrows = 1000\n'
        '[timing]\npreset = "HBM3_5.2Gbps"\nn_rc_cycles = 20\n'
        '[pim]\nsource = "x"\nlevel = "banc"\n'
        '[energy]\nsource = "x"\nmac_pj = -1\ncell_pj_per_bit = 0\nmack_pj = 2\n',
    )
    with pytest.raises(UserError) as caught:
        hardware.load(path)
    text = str(caught.value)
    for expected in (
        str(path),
        "rows = 1000 must be a power of two",
        "[timing] has no source",
        "n_rc_cycles = 20",
        "level = 'banc'",
        "mac_pj = -1",
        "zero means free",
        "did you mean mac_pj",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("level", "table", "expected"),
    [
        ("bg", "t_rfc_ns = 4500", "the device would do nothing but refresh"),
        ("bg", "t_rfc_ns = inf", "t_rfc_ns is inf, not a finite number"),
        ("bg", "t_rfc_ns = true", "t_rfc_ns = True must be above 0, at most 1e\\+09"),
        ("bg", "t_rfc_ns = 1e308", "t_rfc_ns = 1e\\+308 must be above 0, at most 1e"),
        ("bg", "channels = 1000000000", "1,000,000,000 channels; at most 4,096"),
    ],
)
def test_a_variant_that_cannot_work_is_refused(
    tmp_path: Path, level: str, table: str, expected: str
) -> None:
    path = write(
        tmp_path / "bad.toml",
        f'schema = 1\nbase = "attacc_hbm3_{level}"\n[organisation]\nsource = "x"\n{table}\n',
    )
    with pytest.raises(UserError, match=expected):
        hardware.load(path)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ('[pim]\nrefresh = "no"', "[pim] refresh = 'no' must be true or false"),
        ("[pim]\nrefresh = 0", "[pim] refresh = 0 must be true or false"),
        ("[pim]\nlevel = 3", "[pim] level = 3; known: bank, bg, buffer"),
        ("[pim]\nsource = 3", "[pim] source = 3 must be a text"),
        ("[timing]\npreset = 5200", "[timing] preset = 5200 must be a text"),
        ("[timing]\nn_rp_cycles = true", "n_rp_cycles = True is not a whole number"),
        ("[timing]\nn_rp_cycles = 19.0", "n_rp_cycles = 19.0 is not a whole number"),
        (f"[timing]\nn_refi_cycles = {2**63 - 1}", "is above 100,000 cycles, which no DRAM"),
        ("[energy]\nactivation_pj = 1e308", "activation_pj = 1e+308 must be a number from 0 to"),
        ("[energy]\nmac_pj = true", "mac_pj = True must be a number"),
        ("[energy]\nexternal_link_pj_per_bit = 1.3", "external_link_pj_per_bit is unknown"),
        (
            "[host]\npj_per_flop = 1e300",
            "pj_per_flop = 1e+300 must be a number above 0 and at most 1e+09",
        ),
        ("[host]\nflops_per_ns = 0", "flops_per_ns = 0 must be a number above 0"),
        ("organisation = 5", "organisation = 5 must be a table"),
        ("title = 5", "title = 5 must be a text"),
        ('assumed = "all"', "assumed = 'all' must be a list of texts"),
        ("notes = [1]", "notes = [1] must be a list of texts"),
        ("base = 5", "base = 5 is unknown"),
        ("schema = true", "schema = True; this version reads schema = 1"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(tmp_path: Path, table: str, expected: str) -> None:
    head = "" if table.startswith("schema") else "schema = 1\n"
    head += "" if table.startswith("base") else 'base = "attacc_hbm3_bank"\n'
    above = "" if table.startswith("[") else table
    below = table if table.startswith("[") else ""
    path = write(tmp_path / "bad.toml", f"{head}{above}\n{below}\n")
    with pytest.raises(UserError) as caught:
        hardware.load(path)
    assert expected in str(caught.value)


def test_a_file_that_turns_refresh_off_has_it_off(tmp_path: Path) -> None:
    text = 'schema = 1\nbase = "attacc_hbm3_bank"\n[pim]\nrefresh = false\n'
    assert not hardware.load(write(tmp_path / "off.toml", text)).refresh


def test_a_device_whose_pim_table_says_no_level_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bare.toml",
        'schema = 1\n[organisation]\nsource = "x"\npreset = "HBM3_8Gb_2R"\n'
        '[timing]\nsource = "x"\npreset = "HBM3_5.2Gbps"\n[pim]\nsource = "x"\n',
    )
    with pytest.raises(UserError, match=r"\[pim\] level is missing; known: bank, bg, buffer"):
        hardware.load(path)


def test_a_byte_order_mark_is_read_over(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_text('schema = 1\nbase = "attacc_hbm3_bank"\n', encoding="utf-8-sig")
    assert hardware.load(path).level == hardware.load("attacc_hbm3_bank").level


def test_a_preset_that_leads_back_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    write(path, f'[timing]\npreset = "{path}"\n')
    with pytest.raises(UserError, match="leads back to itself"):
        timing_values(str(path))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x" * 5000, "is unknown"),
        ("attacc_hbm3_bnak", "did you mean attacc_hbm3_bank"),
        ("none.toml", "no such file"),
    ],
)
def test_an_unknown_device_is_refused(name: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        hardware.load(name)


def test_a_file_that_is_no_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.toml", "schema = 1\n[timing\n")
    with pytest.raises(UserError, match="line 2"):
        hardware.load(path)


def test_a_base_that_leads_back_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.toml", 'base = "b"\n')
    path = write(tmp_path / "b.toml", 'base = "a"\n')
    with pytest.raises(UserError, match="leads back to itself"):
        hardware.load(path)


def test_geometry_follows_from_the_organisation() -> None:
    geometry = hardware.load("attacc_hbm3_bank").geometry(128)
    # 16 lanes of 4 banks; 256 bytes over 4 banks are 2 columns of 32 bytes
    assert (geometry.block_tokens, geometry.key_columns, geometry.key_blocks_per_row) == (16, 2, 16)
    assert (geometry.value_slices, geometry.value_blocks_per_row) == (2, 32)
    assert hardware.load("attacc_hbm3_bank").geometry(128, 8).key_columns == 1


def test_a_vector_that_fits_no_row_is_refused() -> None:
    with pytest.raises(UserError, match="smaller head size"):
        hardware.load("attacc_hbm3_bg").geometry(1024)
    with pytest.raises(UserError, match="has 4, 8, 16, 32 bits"):
        hardware.load("attacc_hbm3_bank").geometry(128, 3)
