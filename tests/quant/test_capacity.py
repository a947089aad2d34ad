import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.capacity import field_width, max_clients, max_levels
from quant.errors import CapacityError, ConfigurationError
from quant.grid import UniformGrid
from quant.lanes import LaneLayout


@settings(max_examples=120)
@given(st.integers(2, 2**40), st.integers(1, 2**40))
def test_width_is_enough_and_least(levels, clients):
    most = clients * (levels - 1)
    if most > 2**62 - 1:
        with pytest.raises(CapacityError):
            field_width(levels, clients)
        return
    width = field_width(levels, clients)
    assert most <= 2**width - 1
    assert most > 2 ** (width - 1) - 1
    assert max_clients(width, levels) >= clients
    assert max_levels(width, clients) >= levels


@settings(max_examples=120)
@given(st.integers(1, 62), st.integers(1, 2**62))
def test_most_levels_fit_and_one_more_does_not(width, clients):
    if clients > 2**width - 1:
        with pytest.raises(CapacityError, match=f"at least {clients.bit_length()} bits"):
            max_levels(width, clients)
        return
    levels = max_levels(width, clients)
    assert clients * (levels - 1) <= 2**width - 1 < clients * levels


@settings(max_examples=120)
@given(st.integers(1, 62), st.integers(2, 2**62))
def test_most_clients_fit_and_one_more_does_not(width, levels):
    if levels - 1 > 2**width - 1:
        with pytest.raises(CapacityError, match=f"one client needs {(levels - 1).bit_length()} bits"):
            max_clients(width, levels)
        return
    clients = max_clients(width, levels)
    assert clients * (levels - 1) <= 2**width - 1 < (clients + 1) * (levels - 1)


@pytest.mark.parametrize(
    ("levels", "clients", "width"), [(2, 1, 1), (256, 50, 14), (4096, 10, 16), (2, 3, 2), (2, 4, 3), (2**32, 2**30, 62)]
)
def test_known_widths(levels, clients, width):
    assert field_width(levels, clients) == width


def test_levels_need_not_be_a_power_of_two():
    assert max_levels(14, 10) == 1639
    assert field_width(1639, 10) == 14
    assert field_width(1640, 10) == 15


@pytest.mark.parametrize(("width", "bits"), [(w, b) for w in (1, 5, 14, 31, 62) for b in (1, 5, 8, 12) if b <= w])
def test_all_at_the_maximum_do_not_wrap_and_one_more_client_is_refused(width, bits):
    levels = 2**bits
    clients = max_clients(width, levels)
    grid, lanes = UniformGrid(min(levels, 2**32), 1.0), LaneLayout(9, width)
    packed = lanes.pack(grid.encode(np.ones(9))).astype(object) * clients % 2**64  # as if all had added theirs
    total = lanes.unpack(packed.astype(np.uint64))
    assert total.tolist() == [clients * (levels - 1)] * 9
    assert grid.decode(total, clients).tolist() == [float(clients)] * 9
    with pytest.raises(CapacityError, match=f"allow at most {clients} clients"):
        field_width(levels, clients + 1, limit=width)


def test_refusal_says_what_would_fit():
    with pytest.raises(CapacityError) as refused:
        field_width(2**16, 1000, limit=20)
    assert str(refused.value) == (
        "1000 clients with 65536 levels need 26 bits, the limit is 20: "
        "1000 clients can use at most 1049 levels (10 bits); 65536 levels allow at most 16 clients"
    )
    with pytest.raises(CapacityError, match="1000 clients can use at most 2 levels"):
        field_width(2**16, 1000, limit=10)
    with pytest.raises(CapacityError, match=r": 3 levels allow at most 3 clients$"):
        field_width(3, 1000, limit=3)
    with pytest.raises(CapacityError, match="reduce both"):
        field_width(2**16, 1000, limit=3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: field_width(1, 1),
        lambda: field_width(2, 0),
        lambda: field_width(2.0, 1),
        lambda: field_width(2, 1, limit=63),
        lambda: field_width(2, 1, limit=0),
        lambda: max_levels(0, 1),
        lambda: max_levels(63, 1),
        lambda: max_levels(3, True),
        lambda: max_clients(5, 1),
        lambda: max_clients(64, 2),
    ],
)
def test_bad_numbers_are_refused(call):
    with pytest.raises(ConfigurationError):
        call()
