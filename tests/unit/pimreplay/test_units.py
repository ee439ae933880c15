"""Conversions between units, by numbers that anyone can check."""

import pytest

from pimreplay.units import clock_period_ps, cycles_to_ns, gigabytes_per_second, ns_to_cycles


@pytest.mark.parametrize(
    ("data_rate_mbps", "period_ps"),
    # four transfers a clock: 5200 Mb/s is 1300 MHz, 769.2 ps; a rate counts in whole quarters
    [(5200, 769), (4000, 1000), (6400, 625), (4003, 1000), (4, 1_000_000)],
)
def test_a_clock_is_a_quarter_of_the_data_rate(data_rate_mbps: int, period_ps: int) -> None:
    assert clock_period_ps(data_rate_mbps) == period_ps


def test_cycles_take_their_period_each() -> None:
    assert cycles_to_ns(2000, 769) == 1538.0
    assert cycles_to_ns(0, 769) == 0.0
    assert cycles_to_ns(3, 769) == 2.307


@pytest.mark.parametrize(
    ("time_ns", "t_ck_ps", "cycles"),
    # JEDEC forgives 2.5% of a cycle, in integers: (1000 t / tCK + 974) / 1000
    [
        *((350, 769, 456), (0, 1000, 0), (0.5, 1000, 1), (1.0, 769, 2), (7.5, 1250, 6)),
        *((10, 1000, 10), (10.001, 1000, 10), (10.025, 1000, 10), (10.026, 1000, 11)),
        (1e6, 1000, 1_000_000),
    ],
)
def test_times_become_whole_cycles_upwards(time_ns: float, t_ck_ps: int, cycles: int) -> None:
    found = ns_to_cycles(time_ns, t_ck_ps)
    assert found == cycles
    assert isinstance(found, int)


def test_a_gigabyte_a_second_is_a_byte_a_nanosecond() -> None:
    assert gigabytes_per_second(6.0, 1.5) == 4.0
    assert gigabytes_per_second(6.0, 0.5) == 12.0
    assert gigabytes_per_second(7.0, 2.0) == 3.5
    assert gigabytes_per_second(6.0, 0.0) is None
