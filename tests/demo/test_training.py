import pytest
import torch

from secagg.demo.config import DemoConfig, learning_rate, update_limit
from secagg.demo.models import build_model, copy_of, model_hash, one_torch_thread, parameter_count
from secagg.demo.training import ADAM_DECAY, Consortium, moved, plain_mean


@pytest.fixture(scope="module", params=["breast-cancer", "digits"])
def consortium(request):
    return Consortium(DemoConfig(dataset=request.param, seed=1))


def test_model_is_large_enough_to_measure_bytes(consortium):
    assert parameter_count(consortium.start) >= 20_000
    assert all(tensor.dtype == torch.float32 for tensor in consortium.start.values())


def test_no_training_moves_a_coordinate_past_the_public_limit(consortium):
    for round_index in (0, 29):
        for site in consortium.sites:
            update = consortium.local_update(site, round_index, consortium.start)
            assert max(change.abs().max() for change in update.values()) <= update_limit(round_index, 30)


def test_limit_is_nearly_reached_so_the_grid_is_not_wasted(consortium):
    update = consortium.local_update(1, 0, consortium.start)
    assert max(change.abs().max() for change in update.values()) > 0.5 * update_limit(0, 30)


def test_adam_with_equal_decays_keeps_its_step_below_the_rate_whatever_the_gradients():
    parameter = torch.zeros(1000, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=0.1, betas=ADAM_DECAY)
    draw = torch.Generator().manual_seed(0)
    for _ in range(50):
        before = parameter.detach().clone()
        parameter.grad = torch.randn(1000, generator=draw) * 10 ** (6 * torch.rand(1000, generator=draw) - 3)
        optimizer.step()
        assert (parameter.detach() - before).abs().max() <= 0.1 * 1.0001


def test_local_update_depends_on_its_arguments_only(consortium):
    first = consortium.local_update(2, 4, consortium.start)
    consortium.local_update(3, 4, first)
    again = consortium.local_update(2, 4, consortium.start)
    other = consortium.local_update(2, 5, consortium.start)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_start_is_not_touched_by_training(consortium):
    before = model_hash(consortium.start)
    consortium.local_update(1, 0, consortium.start)
    consortium.accuracy(moved(consortium.start, consortium.start))
    assert model_hash(consortium.start) == before


def test_weights_are_example_counts(consortium):
    assert consortium.weights == {site: len(examples.y) for site, examples in consortium.sites.items()}
    most = max(consortium.weights.values())
    assert most <= consortium.weight_bound < 2 * most


def test_plain_mean_is_weighted_by_examples():
    updates = {1: {"w": torch.tensor([1.0, 2.0])}, 4: {"w": torch.tensor([5.0, 2.0])}}
    assert torch.allclose(plain_mean(updates, {1: 3, 2: 99, 4: 1})["w"], torch.tensor([2.0, 2.0]))


def test_model_is_built_from_the_seed_and_the_global_generator_is_left_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, again, other = (copy_of(build_model(4, 2, seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(3), expected)
    assert model_hash(first) == model_hash(again) != model_hash(other)
    assert len(model_hash(first)) == 32


def test_learning_rate_falls():
    rates = [learning_rate(index, 30) for index in range(30)]
    assert rates == sorted(rates, reverse=True)


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()
    seen = []

    def fail():
        with one_torch_thread():
            seen.append(torch.get_num_threads())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [1]
    assert torch.get_num_threads() == before


def test_sites_trained_together_get_what_they_get_alone(consortium):
    """Up to float32 rounding, which Adam's quotient may enlarge where a gradient is next to nothing."""
    together = consortium.updates(tuple(consortium.sites), 3, consortium.start)
    for site in consortium.sites:
        alone = consortium.local_update(site, 3, consortium.start)
        for name in alone:
            assert torch.allclose(together[site][name], alone[name], atol=0.02 * update_limit(3, 30)), (site, name)
            assert (together[site][name] - alone[name]).abs().median() < 1e-6
