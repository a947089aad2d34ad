import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from quant.errors import ConfigurationError, InputError
from quant.lanes import BLOCK, LaneLayout

WIDTHS = range(1, 63)


def home(layout, i):
    """(lane, field) of coordinate i, from the words of the module docstring, in plain integers."""
    block, offset = divmod(i, BLOCK * layout.fields)
    run = min(BLOCK, layout.lanes - block * BLOCK)  # the last block is shorter in the same way
    return block * BLOCK + offset % run, offset // run


def naive_pack(layout, values):
    """Reference in plain integers, without numpy."""
    lanes = [0] * layout.lanes
    for i, value in enumerate(values):
        lane, position = home(layout, i)
        lanes[lane] += int(value) << (layout.width * position)
    return [lane % 2**64 for lane in lanes]


def naive_unpack(layout, lanes, lower):
    """Reference: digits from the low end, centred on their range, each carrying its borrow into the next."""
    fields = []
    for lane in lanes:
        rest, digits = int(lane), []
        for _ in range(layout.fields):
            digit = (rest - lower) % 2**layout.width + lower
            digits.append(digit)
            rest = (rest - digit) >> layout.width
        fields.append(digits)
    return [fields[lane][position] for lane, position in (home(layout, i) for i in range(layout.dim))]


def draw(layout, rng, lower=0):
    return rng.integers(lower, lower + 2**layout.width - 1, layout.dim, dtype=np.int64, endpoint=True)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dim", [1, 2, 63, 64, 65, 1000])
def test_sizes(width, dim):
    layout = LaneLayout(dim, width)
    assert layout.fields == 64 // width
    assert layout.lanes == -(-dim // layout.fields)
    assert layout.lane_bits == layout.fields * width <= 64
    assert layout.waste == pytest.approx(1 - dim * width / (64 * layout.lanes))
    homes = [home(layout, i) for i in range(dim)]
    assert len(set(homes)) == dim


def test_the_format_is_pinned():
    # Sites and server of different versions must agree on who sits where.
    assert BLOCK == 8192
    layout = LaneLayout(BLOCK * 4 + 6, 16)
    packed = layout.pack(np.arange(layout.dim) % 65521)
    assert [f"{lane:016x}" for lane in packed[[0, 1, -3, -2, -1]].tolist()] == [
        "6000400020000000",
        "6001400120010001",
        "7fff5fff3fff1fff",
        "0000800480028000",
        "0000800580038001",
    ]


def test_waste_of_the_usual_widths():
    assert [round(LaneLayout(10**6, width).waste, 3) for width in (8, 14, 16, 20, 32)] == [0, 0.125, 0, 0.063, 0]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("dim", [1, 7, 64, 130, 131])
def test_pack_and_unpack_against_plain_integers(width, dim, rng):
    layout = LaneLayout(dim, width)
    half = 2 ** (width - 1)
    for lower in (0, -half, 1 - 2**width, 5):
        totals = draw(layout, rng, lower)
        packed = naive_pack(layout, totals)
        if lower <= 0:
            assert layout.pack(totals).tolist() == packed
        lanes = np.array(packed, np.uint64)
        kept = lanes.copy()
        assert layout.unpack(lanes, lower).tolist() == totals.tolist() == naive_unpack(layout, packed, lower)
        assert np.array_equal(lanes, kept)


@pytest.mark.parametrize("fields", [1, 2, 4, 5, 64])
def test_blocks_against_plain_integers(fields, rng):
    width = min(64 // fields, 62)
    for dim in (BLOCK * fields, BLOCK * fields + 1, 2 * BLOCK * fields - 1, BLOCK * fields + 3 * fields + 1):
        if dim > 200_000:
            continue
        layout = LaneLayout(dim, width)
        assert layout.fields == fields
        values = draw(layout, rng)
        packed = layout.pack(values)
        assert packed.tolist() == naive_pack(layout, values.tolist())
        assert np.array_equal(layout.unpack(packed), values)


@pytest.mark.parametrize("width", [1, 9, 14, 31, 62])
def test_whole_blocks_can_be_packed_and_unpacked_apart(width, rng):
    fields = 64 // width
    layout = LaneLayout(BLOCK * fields * 2 + 17, width)
    values = draw(layout, rng)
    packed = layout.pack(values)
    cut = BLOCK * fields
    first, second, rest = LaneLayout(cut, width), LaneLayout(cut, width), LaneLayout(17, width)
    pieces = [first.pack(values[:cut]), second.pack(values[cut : 2 * cut]), rest.pack(values[2 * cut :])]
    assert np.array_equal(np.concatenate(pieces), packed)
    assert np.array_equal(LaneLayout(cut + 17, width).unpack(packed[BLOCK:]), values[cut:])


@pytest.mark.parametrize(("width", "fields"), [(1, 3), (2, 2), (2, 3), (3, 2)])
def test_exhaustive_totals_of_one_lane(width, fields):
    layout = LaneLayout(fields, width)
    top = 2**width
    for lower in range(1 - top, 1):
        for totals in itertools.product(range(lower, lower + top), repeat=fields):
            packed = layout.pack(np.array(totals))
            assert packed.tolist() == naive_pack(layout, totals)
            assert layout.unpack(packed, lower).tolist() == list(totals)


@pytest.mark.parametrize("width", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_exhaustive_sums_of_two(width):
    layout = LaneLayout(2, width)
    lower = -(2 ** (width - 1))
    packed = {v: layout.pack(np.array(v)) for v in itertools.product(range(1 - 2**width, 2**width), repeat=2)}
    for a, b in itertools.product(packed, repeat=2):
        total = [x + y for x, y in zip(a, b, strict=True)]
        if all(lower <= t < lower + 2**width for t in total):
            assert layout.unpack(packed[a] + packed[b], lower).tolist() == total


@settings(max_examples=100)
@given(st.integers(1, 62), st.integers(1, 200), st.integers(1, 12), st.booleans(), st.integers(0, 2**64))
def test_sum_of_packed_is_packed_sum(width, dim, clients, signed, seed):
    rng = np.random.default_rng(seed)
    layout = LaneLayout(dim, width)
    lower = -(2 ** (width - 1)) if signed else 0
    # Totals first, then random shares of them: the sums fit, the shares may have either sign.
    totals = draw(layout, rng, lower)
    most = (2**width - 1) // (clients + 1)
    shares = rng.integers(-most, most, (clients - 1, dim), dtype=np.int64, endpoint=True) // clients
    last = totals - shares.sum(axis=0)
    last = np.clip(last, 1 - 2**width, 2**width - 1)
    totals = shares.sum(axis=0) + last
    fits = bool((totals >= lower).all() and (totals <= lower + 2**width - 1).all())
    packed = sum((layout.pack(share) for share in [*shares, last]), np.zeros(layout.lanes, np.uint64))
    expected = np.array(naive_pack(layout, totals), np.uint64)
    assert np.array_equal(packed, expected)
    if fits:
        assert np.array_equal(layout.unpack(packed, lower), totals)


@pytest.mark.parametrize("width", WIDTHS)
def test_exact_modulo_lane_bits_and_under_masks(width, rng):
    layout = LaneLayout(130, width)
    modulus = 2**layout.lane_bits
    lower = -(2 ** (width - 1))
    totals = draw(layout, rng, lower)
    packed = layout.pack(totals)
    reduced = np.array([lane % modulus for lane in packed.tolist()], np.uint64)
    assert np.array_equal(layout.unpack(reduced, lower), totals)
    mask = rng.integers(0, 2**64 - 1, layout.lanes, np.uint64, endpoint=True)
    noise = np.array([(int(m) // modulus * modulus) % 2**64 for m in mask], np.uint64)
    assert np.array_equal(layout.unpack(reduced + noise, lower), totals)  # whatever stands in the unused bits
    masked = np.array([(int(p) + int(m)) % modulus for p, m in zip(packed, mask, strict=True)], np.uint64)
    assert np.array_equal(layout.unpack(masked - mask, lower), totals)


@pytest.mark.parametrize("width", [1, 14, 62])
def test_non_negative_values_leave_unused_bits_zero(width, rng):
    layout = LaneLayout(100, width)
    assert all(lane < 2**layout.lane_bits for lane in layout.pack(draw(layout, rng)).tolist())


def test_odd_memory_is_read_right():
    layout, values = LaneLayout(10, 14), np.arange(40)
    assert np.array_equal(layout.unpack(layout.pack(values[::-4])), values[::-4])
    lanes = np.zeros(2 * layout.lanes, np.uint64)
    lanes[::2] = layout.pack(values[:10])
    assert np.array_equal(layout.unpack(lanes[::2]), values[:10])


@pytest.mark.parametrize("value", [2**14, -(2**14), 2**62, -(2**63)])
def test_values_that_no_field_holds_are_refused(value):
    values = np.zeros(9, np.int64)
    values[4] = value
    with pytest.raises(InputError, match="beyond its field of 14 bits"):
        LaneLayout(9, 14).pack(values)


def test_wrong_arrays_are_refused():
    layout = LaneLayout(9, 14)
    with pytest.raises(InputError, match=r"int64 of shape \(9,\), not list"):
        layout.pack([0] * 9)
    with pytest.raises(InputError, match=r"int64 of shape \(9,\), not int64 of shape \(8,\)"):
        layout.pack(np.zeros(8, np.int64))
    with pytest.raises(InputError, match=r"uint64 of shape \(3,\), not int64"):
        layout.unpack(np.zeros(3, np.int64))
    with pytest.raises(InputError, match="lowest total"):
        layout.unpack(np.zeros(3, np.uint64), -(2**62))
    with pytest.raises(InputError, match="lowest total"):
        layout.unpack(np.zeros(3, np.uint64), 0.5)


@pytest.mark.parametrize(("dim", "width"), [(0, 8), (-1, 8), (2**40 + 1, 8), (1.0, 8), (8, 0), (8, 63), (8, "8")])
def test_bad_layouts_are_refused(dim, width):
    with pytest.raises(ConfigurationError):
        LaneLayout(dim, width)
