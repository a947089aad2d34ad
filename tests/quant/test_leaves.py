"""Torch tensors, read and written without importing torch: see also test_layout."""

import subprocess
import sys

import numpy as np
import pytest

from quant.errors import InputError
from quant.layout import Layout
from quant.leaves import FLOAT_MAX

torch = pytest.importorskip("torch")

FLOATS = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32, "float64": torch.float64}


def network():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def test_state_dict_there_and_back():
    net = network()
    state = net.state_dict()
    layout = Layout.of(state)
    assert layout.excluded == ("1.num_batches_tracked",)
    assert layout.dim == 12 + 4 + 4 * 4 + 8 + 2
    vector = layout.flatten(state)
    expected = torch.cat([t.reshape(-1) for t in state.values() if t.is_floating_point()])
    assert vector.tolist() == expected.tolist()
    back = layout.unflatten(vector * 2, like=state)
    assert type(back) is type(state)
    assert back._metadata == state._metadata
    assert back["1.num_batches_tracked"] is state["1.num_batches_tracked"]
    for name, tensor in state.items():
        assert (back[name].dtype, back[name].shape) == (tensor.dtype, tensor.shape)
    assert torch.equal(back["0.weight"], 2 * state["0.weight"])
    net.load_state_dict(back)


def test_parameters_with_gradients_are_read_and_not_touched():
    net = network()
    parameters = dict(net.named_parameters())
    layout = Layout.of(parameters, include="2.*")
    assert layout.names == ("2.weight", "2.bias")
    back = layout.unflatten(layout.flatten(parameters), like=parameters)
    assert back["0.weight"] is parameters["0.weight"]
    assert not back["2.weight"].requires_grad
    assert torch.equal(back["2.weight"], parameters["2.weight"])
    back["2.weight"].zero_()
    assert parameters["2.weight"].abs().sum() > 0


@pytest.mark.parametrize("name", FLOATS)
def test_every_float_type_keeps_its_values_and_type(name):
    tensor = torch.tensor([[1.5, -2.25], [0.0, 3.0]], dtype=FLOATS[name])
    layout = Layout.of([tensor])
    assert layout.leaves[0].dtype == name
    assert layout.dtype == (np.float64 if name == "float64" else np.float32)
    vector = layout.flatten([tensor])
    assert vector.tolist() == [1.5, -2.25, 0, 3]
    (back,) = layout.unflatten(vector, like=[tensor])
    assert back.dtype == tensor.dtype
    assert torch.equal(back, tensor)
    (plain,) = layout.unflatten(vector)
    assert plain.dtype == ("float32" if name == "bfloat16" else name)


@pytest.mark.parametrize("name", FLOATS)
def test_largest_value_passes_and_more_is_refused(name):
    tensor = torch.zeros(2, dtype=FLOATS[name])
    layout = Layout.of({"t": tensor})
    most = FLOAT_MAX[name]
    assert most == torch.finfo(FLOATS[name]).max
    back = layout.unflatten(np.array([most, -most]), like={"t": tensor})["t"]
    assert back.tolist() == [most, -most]
    if name != "float64":
        with pytest.raises(InputError, match=f"'t' holds 2 values beyond the range of {name}"):
            layout.unflatten(np.array([most, -most]) * (1 + 2**-30), like={"t": tensor})


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_not_finite_tensors_are_refused_by_name(name, bad):
    update = {"layer.weight": torch.tensor([1, bad, 0], dtype=FLOATS[name])}
    with pytest.raises(InputError, match=r"'layer\.weight' holds 1 values that are NaN or infinite, of 3"):
        Layout.of(update).flatten(update)


def test_zero_dimensional_and_strided_tensors():
    update = [torch.tensor(2.5), torch.arange(6.0).reshape(2, 3).T, torch.arange(8.0)[::2], torch.ones(1).expand(3)]
    layout = Layout.of(update)
    assert layout.flatten(update).tolist() == [2.5, 0, 3, 1, 4, 2, 5, 0, 2, 4, 6, 1, 1, 1]
    back = layout.unflatten(layout.flatten(update), like=update)
    assert all(torch.equal(a, b) for a, b in zip(update, back, strict=True))


def test_numpy_and_torch_share_one_layout():
    assert Layout.of([torch.ones(2)]) == Layout.of([np.ones(2, np.float32)])
    layout = Layout.of([np.ones(2, np.float32)])
    assert isinstance(layout.unflatten(np.ones(2), like=[torch.zeros(2)])[0], torch.Tensor)


@pytest.mark.parametrize(
    "tensor", [torch.ones(3, dtype=torch.complex64), torch.ones(3).to(torch.float8_e4m3fn)], ids=["complex", "float8"]
)
def test_other_kinds_of_numbers_are_refused(tensor):
    with pytest.raises(InputError, match=r"'0' is of type .*; only bfloat16"):
        Layout.of([tensor])


@pytest.mark.parametrize("tensor", [torch.ones(3, device="meta"), torch.eye(3).to_sparse()], ids=["meta", "sparse"])
def test_tensors_without_dense_data_are_refused(tensor):
    with pytest.raises(InputError, match="'0' cannot be read as a dense array"):
        Layout.of([tensor]).flatten([tensor])


class OnTheCard:
    """Stands in for a tensor on a GPU: not readable before ``detach().cpu()``, and makes tensors of its own kind."""

    def __init__(self, tensor):
        self._tensor = tensor
        self.dtype, self.shape = tensor.dtype, tensor.shape

    def detach(self):
        return self

    def cpu(self):
        return self._tensor

    def numpy(self):
        raise TypeError("can't convert cuda tensor to numpy")

    def new_tensor(self, values):
        return OnTheCard(self._tensor.new_tensor(values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tensors_on_a_device_go_through_the_host_and_back(dtype):
    update = {"w": OnTheCard(torch.tensor([1.0, 2.0], dtype=dtype))}
    layout = Layout.of(update)
    assert layout.flatten(update).tolist() == [1, 2]
    back = layout.unflatten(np.array([3.0, 4.0]), like=update)["w"]
    assert isinstance(back, OnTheCard)
    assert back.dtype == dtype
    assert back.cpu().tolist() == [3, 4]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", FLOATS)
def test_tensors_on_a_real_device(name):
    tensor = torch.tensor([[1.0, 2.0]], dtype=FLOATS[name], device="cuda")
    layout = Layout.of([tensor])
    (back,) = layout.unflatten(layout.flatten([tensor]), like=[tensor])
    assert back.device == tensor.device
    assert torch.equal(back, tensor)


def test_quant_does_not_import_torch():
    code = "import sys, quant; assert not {'torch', 'cryptography', 'protocols', 'secagg'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
