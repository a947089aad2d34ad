import json
from collections import OrderedDict, defaultdict, namedtuple
from types import MappingProxyType

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from quant.errors import ConfigurationError, InputError
from quant.layout import Layout, Leaf

F32_MAX = float(np.finfo(np.float32).max)


def model():
    """A nested update with everything that occurs: three widths, counters, masks, 0-d and empty leaves."""
    return {
        "body": {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.float16([0.5, -0.5])},
        "head": [np.float32(7), np.zeros((0, 3), np.float32), (np.arange(3, dtype=np.float32),)],
        "steps": np.int64(12),
        "mask": np.array([True, False]),
    }


def same(a, b):
    """Containers, values, dtypes and shapes are equal."""
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) and a.dtype == b.dtype and a.shape == b.shape


def test_names_shapes_and_exclusions():
    layout = Layout.of(model())
    assert layout.names == ("body.weight", "body.bias", "head.0", "head.1", "head.2.0")
    assert [leaf.shape for leaf in layout.leaves] == [(2, 3), (2,), (), (0, 3), (3,)]
    assert [leaf.dtype for leaf in layout.leaves] == ["float32", "float16", "float32", "float32", "float32"]
    assert layout.excluded == ("steps", "mask")
    assert layout.dim == 12
    assert layout.dtype == np.float32


def test_flatten_lines_leaves_up_in_order():
    vector = Layout.of(model()).flatten(model())
    assert vector.dtype == np.float32
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 0.5, -0.5, 7, 0, 1, 2]


def test_there_and_back_with_like():
    update = model()
    layout = Layout.of(update)
    back = layout.unflatten(layout.flatten(update), like=update)
    assert same(back, update)
    assert back["steps"] is update["steps"]
    assert back["body"]["weight"] is not update["body"]["weight"]


def test_there_and_back_without_like():
    layout = Layout.of(model())
    back = layout.unflatten(layout.flatten(model()))
    expected = model()
    del expected["steps"], expected["mask"]
    expected["head"][0] = np.array(7, np.float32)
    assert same(back, expected)


def test_results_own_their_memory():
    layout = Layout.of(model())
    vector = layout.flatten(model())
    for like in (None, model()):
        layout.unflatten(vector, like)["body"]["weight"][:] = 99
    assert vector.max() == 7
    source = np.ones(3, np.float32)
    layout = Layout.of(source)
    layout.flatten(source)[:] = 5
    layout.unflatten(source)[:] = 5
    assert source.tolist() == [1, 1, 1]


@pytest.mark.parametrize("update", [np.arange(5.0), np.ones((2, 2), np.float32), np.array(3.0)])
def test_a_bare_array_is_an_update(update):
    layout = Layout.of(update)
    assert layout.names == ("update",)
    for like in (None, update):
        assert same(layout.unflatten(layout.flatten(update), like), update)


Pair = namedtuple("Pair", "w b")


def state_dict():
    state = OrderedDict([("layer.weight", np.ones(2, np.float32)), ("layer.steps", np.int64(3))])
    state._metadata = {"version": 1}
    return state


@pytest.mark.parametrize(
    "update",
    [
        [np.ones(2, np.float32), np.zeros(3)],
        (np.ones(2, np.float32), np.zeros(3)),
        Pair(np.ones(2, np.float32), {"x": np.zeros(3)}),
        state_dict(),
        defaultdict(list, {"a": np.ones(2)}),
        [[[np.ones(1)], []], {}],
    ],
)
def test_like_decides_the_containers(update):
    layout = Layout.of(update)
    back = layout.unflatten(layout.flatten(update), like=update)
    assert same(back, update)
    assert getattr(back, "_metadata", None) == getattr(update, "_metadata", None)


def test_other_mappings_become_dicts():
    update = MappingProxyType({"a": np.ones(2)})
    layout = Layout.of(update)
    assert same(layout.unflatten(layout.flatten(update), like=update), {"a": np.ones(2)})


def test_the_order_of_a_dict_does_not_matter_to_flatten():
    layout = Layout.of({"a": np.ones(2), "b": np.zeros(1)})
    assert layout.flatten({"b": np.zeros(1), "a": np.ones(2)}).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("include", "names"),
    [
        ("head.*", ("head.0", "head.1", "head.2.0")),
        ("*.bias", ("body.bias",)),
        (["*weight", "head.0"], ("body.weight", "head.0")),
        ("body.[bw]*", ("body.weight", "body.bias")),
        (("*",), ("body.weight", "body.bias", "head.0", "head.1", "head.2.0")),
    ],
)
def test_include_picks_by_pattern(include, names):
    layout = Layout.of(model(), include)
    assert layout.names == names
    assert {"steps", "mask"} <= set(layout.excluded)
    update = model()
    back = layout.unflatten(layout.flatten(update) * 0, like=update)
    for name in ("body", "head"):
        assert same(back[name], model()[name]) == (not any(n.startswith(name) for n in names))
    if "body.weight" not in names:
        assert back["body"]["weight"] is update["body"]["weight"]


def test_a_named_part_may_come_alone():
    layout = Layout.of(model(), "head.*")
    assert layout.flatten({"head": model()["head"]}).tolist() == [7, 0, 1, 2]


def test_include_that_matches_nothing_says_what_there_is():
    with pytest.raises(
        ConfigurationError, match=r"include='tail.\*' matches no float leaf; the update has: body.weight"
    ):
        Layout.of(model(), "tail.*")
    with pytest.raises(ConfigurationError, match="matches no float leaf"):
        Layout.of(model(), "steps")
    with pytest.raises(ConfigurationError, match="matches no float leaf"):
        Layout.of(model(), "HEAD.*")
    with pytest.raises(ConfigurationError, match=r"a1, .*, \.\.\.$"):
        Layout.of({f"a{i}": np.ones(1) for i in range(20)}, "b")


@pytest.mark.parametrize("update", [[], {}, (), np.empty(0), [np.empty((3, 0))], {"n": np.int64(3)}, [[], {}]])
def test_empty_updates_are_refused(update):
    with pytest.raises(InputError, match="the update is empty"):
        Layout.of(update)


@pytest.mark.parametrize(
    ("update", "says"),
    [
        (None, "'update' is of type NoneType"),
        (1.5, "'update' is of type float"),
        ([1.0, 2.0], "'0' is of type float"),
        ({"a": {"b": "text"}}, "'a.b' is of type str"),
        ({"a": [np.ones(1), None]}, "'a.1' is of type NoneType"),
        ({3: np.ones(1)}, "has the key 3"),
        ([np.ones(2, complex)], "'0' is of type complex128; only bfloat16, float16, float32, float64"),
        ({"t": np.array(["a"])}, "'t' is of type str"),
        ({"t": np.array([None])}, "'t' is of type object"),
        ([np.ones(2, np.longdouble)], "only bfloat16"),
    ],
)
def test_what_is_no_update_is_refused_by_name(update, says):
    with pytest.raises(InputError, match=says):
        Layout.of(update)


def test_two_leaves_of_one_name_are_refused():
    clash = {"a": {"b": np.ones(1)}, "a.b": np.ones(1)}
    with pytest.raises(ConfigurationError, match=r"two leaves are called 'a\.b'"):
        Layout.of(clash)
    layout = Layout.of({"a": {"b": np.ones(1)}})
    with pytest.raises(InputError, match=r"two leaves called 'a\.b'"):
        layout.flatten(clash)


def changed(**changes):
    return {**model(), **changes}


@pytest.mark.parametrize(
    ("update", "says"),
    [
        (changed(extra=np.ones(1)), "a leaf 'extra' that the layout does not know"),
        (changed(body={"weight": np.ones((2, 3))}), "lacks the leaf 'body.bias'"),
        (
            changed(body={"weight": np.ones((3, 2)), "bias": np.ones(2)}),
            r"'body.weight' has shape \(3, 2\), .* \(2, 3\)",
        ),
        (changed(body={"weight": np.ones(6), "bias": np.ones(2)}), r"'body.weight' has shape \(6,\)"),
        (changed(body={"weight": np.ones((2, 3), int), "bias": np.ones(2)}), "'body.weight' is of type int64"),
        (np.ones(12), "a leaf 'update' that the layout does not know"),
        ([], "lacks the leaf 'body.weight'"),
    ],
)
def test_other_updates_are_refused_by_the_first_difference(update, says):
    layout = Layout.of(model())
    with pytest.raises(InputError, match=says):
        layout.flatten(update)
    with pytest.raises(InputError, match=says):
        layout.unflatten(np.ones(12), like=update)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_not_finite_leaves_are_refused_by_name_and_number(dtype, bad):
    update = {"a": np.ones(2, np.float32), "b": np.array([[1, bad], [bad, 2]], dtype)}
    with pytest.raises(InputError, match="'b' holds 2 values that are NaN or infinite, of 4"):
        Layout.of(update).flatten(update)


def test_other_floats_are_converted():
    layout = Layout.of([np.ones(2, np.float32)])
    for dtype in ("f2", "f4", "f8", ">f2", ">f4", ">f8"):
        vector = layout.flatten([np.array([1.5, -2], dtype)])
        assert vector.dtype == np.float32
        assert vector.dtype.isnative
        assert vector.tolist() == [1.5, -2]


def test_one_float64_leaf_makes_the_vector_float64():
    update = [np.float32([0.1]), np.array([1e300])]
    layout = Layout.of(update)
    assert layout.dtype == np.float64
    assert layout.flatten(update).tolist() == [float(np.float32(0.1)), 1e300]
    assert Layout.of(update, "0").dtype == np.float32


@pytest.mark.parametrize("value", [1e39, -1e39, 1.7e308, F32_MAX * (1 + 2**-24)])
def test_beyond_float32_is_refused_in_a_float32_layout(value):
    layout = Layout.of({"w": np.ones(3, np.float32)})
    with pytest.raises(InputError, match="'w' holds 1 values beyond the range of float32"):
        layout.flatten({"w": np.array([0, value, 1])})


def test_edges_of_float32_pass_without_a_flag():
    layout = Layout.of({"w": np.ones(4, np.float32)})
    with np.errstate(all="raise"):
        vector = layout.flatten({"w": np.array([F32_MAX, -F32_MAX, 1e-320, -0.0])})
        back = layout.unflatten(np.array([F32_MAX, -F32_MAX, 1e-320, -0.0]))
    assert vector.tolist() == back["w"].tolist() == [F32_MAX, -F32_MAX, 0, 0]
    assert np.signbit(vector[3])


@pytest.mark.parametrize("like", [None, {"h": np.zeros(2, np.float16)}])
def test_beyond_float16_is_refused_on_the_way_back(like):
    layout = Layout.of({"h": np.zeros(2, np.float16)})
    with np.errstate(all="raise"):
        assert layout.unflatten(np.array([65504.0, 1e-30]), like)["h"].tolist() == [65504, 0]
        with pytest.raises(InputError, match=r"'h' holds 1 values beyond the range of float16 \(\+-65504\), of 2"):
            layout.unflatten(np.array([0.0, 65520.0]), like)
        with pytest.raises(InputError, match="'h' holds 1 values that are NaN"):
            layout.unflatten(np.float32([0, np.nan]), like)


@pytest.mark.parametrize(
    ("vector", "says"), [(np.ones(3), "2 coordinates, not 3"), (np.ones((1, 2)), "shape"), ([1.0, 2.0], "list")]
)
def test_wrong_vectors_are_refused_on_the_way_back(vector, says):
    with pytest.raises(InputError, match=says):
        Layout.of(np.ones(2)).unflatten(vector)


def test_odd_memory_is_read_right():
    base = np.arange(24, dtype=np.float64)
    update = [base[::-2], base.reshape(4, 6).T, np.asfortranarray(base.reshape(2, 12)), base.astype(">f8")]
    layout = Layout.of(update)
    assert np.array_equal(layout.flatten(update), np.concatenate([np.ascontiguousarray(a).ravel() for a in update]))
    back = layout.unflatten(layout.flatten(update), like=update)
    assert all(np.array_equal(a, b) and b.dtype == np.float64 for a, b in zip(update, back, strict=True))


def test_masked_arrays_are_refused():
    update = [np.ma.masked_array([1.0, 2.0], mask=[True, False])]
    with pytest.raises(InputError, match="'0' cannot be read as a dense array: masked array"):
        Layout.of(update).flatten(update)


class Foreign:
    """Some other framework's array: a dtype, a shape, and a way to numpy."""

    def __init__(self, values):
        self._values = values
        self.dtype, self.shape = values.dtype, values.shape

    def __array__(self, dtype=None, copy=None):
        return self._values


def test_foreign_arrays_are_read():
    update = {"w": Foreign(np.float32([1, 2]))}
    layout = Layout.of(update)
    assert layout.flatten(update).tolist() == [1, 2]
    assert same(layout.unflatten(np.ones(2), like=update), {"w": np.ones(2, np.float32)})


leaves = hnp.arrays(
    st.sampled_from(["f2", "f4", ">f4", "f8", "i4", "?"]), hnp.array_shapes(min_dims=0, max_dims=3, max_side=3)
).filter(lambda a: bool(np.isfinite(a).all()))
updates = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3).filter(lambda key: "." not in key), inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(updates)
def test_any_update_survives_the_round_trip(update):
    try:
        layout = Layout.of(update)
    except InputError as refused:
        assert "empty" in str(refused)  # noqa: PT017
        return
    except ConfigurationError as refused:
        assert "two leaves" in str(refused)  # noqa: PT017  # keys such as '' collide
        return
    vector = layout.flatten(update)
    assert vector.shape == (layout.dim,)
    back = layout.unflatten(vector, like=update)
    assert Layout.of(back) == layout
    assert np.array_equal(layout.flatten(back), vector)
    plain = layout.unflatten(vector)
    assert np.array_equal(Layout.of(plain).flatten(plain), vector)
    again = Layout.from_config(json.loads(json.dumps(layout.config(), sort_keys=True)))
    assert again == layout
    assert hash(again) == hash(layout)
    assert same(again.unflatten(vector), plain)


def test_equality_is_by_value():
    assert Layout.of(model()) == Layout.of(model())
    assert Layout.of(model()) != Layout.of(model(), "head.*")
    assert Layout.of([np.ones(2)]) != Layout.of((np.ones(2),))
    assert Layout.of([np.ones(2)]) != Layout.of([np.ones(2, np.float32)])


def good():
    return Layout.of({"a": {"b": np.ones((2, 3))}, "n": np.int64(1)}).config()


def broken(edit):
    config = json.loads(json.dumps(good()))
    edit(config)
    return config


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.pop("leaves"),
        lambda c: c.pop("excluded"),
        lambda c: c.update(more=1),
        lambda c: c.update(leaves=[]),
        lambda c: c.update(leaves=3),
        lambda c: c.update(excluded="n"),
        lambda c: c.update(excluded=[1]),
        lambda c: c.update(excluded=["a.b"]),
        lambda c: c["leaves"].append(c["leaves"][0]),
        lambda c: c["leaves"][0].update(shape=[2, -3]),
        lambda c: c["leaves"][0].update(shape=[2, 3.0]),
        lambda c: c["leaves"][0].update(shape=[2, 0]),
        lambda c: c["leaves"][0].update(shape=[2**39, 2**39]),
        lambda c: c["leaves"][0].update(shape=[True]),
        lambda c: c["leaves"][0].update(shape="23"),
        lambda c: c["leaves"][0].update(dtype="int64"),
        lambda c: c["leaves"][0].update(dtype=None),
        lambda c: c["leaves"][0].update(path="ab"),
        lambda c: c["leaves"][0].update(path=[["dict", 3]]),
        lambda c: c["leaves"][0].update(path=[["set", "a"]]),
        lambda c: c["leaves"][0].update(more=1),
        lambda c: c["leaves"][0].pop("shape"),
        lambda c: c["leaves"].append({"path": [["dict", "a"]], "shape": [1], "dtype": "float32"}),
        lambda c: c["leaves"].append({"path": [["dict", "a"], ["list", "0"]], "shape": [1], "dtype": "float32"}),
        lambda c: c["leaves"].append({"path": [], "shape": [1], "dtype": "float32"}),
    ],
)
def test_descriptions_are_read_strictly(edit):
    assert Layout.from_config(good()).dim == 6
    with pytest.raises(ConfigurationError):
        Layout.from_config(broken(edit))


@pytest.mark.parametrize("config", [None, [], "x", 3, {}])
def test_what_is_no_description_is_refused(config):
    with pytest.raises(ConfigurationError, match="not the description of a layout"):
        Layout.from_config(config)


def test_leaves_refuse_at_construction():
    with pytest.raises(ConfigurationError, match="int8"):
        Leaf((("dict", "a"),), (1,), "int8")
    with pytest.raises(ConfigurationError, match="no coordinates"):
        Layout(())
