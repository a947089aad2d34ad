"""The field's list of attacks, one row each: its name in ``secagg attack``, and a weak configuration where it wins.

A row wins either as a configuration (``Setting``: what a consortium could write into its file) or with the rule that
stops it switched off in the machines (``SCENARIOS``). Rows are the list's own words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

import quant
from protocols.suites import CLASSICAL
from secagg.attack import catalogue, grid_leaks, inversion, leakage
from secagg.attack import client_attacks as by_client
from secagg.attack import noise_attacks as by_noise
from secagg.attack import server_attacks as by_server
from secagg.attack import sparse_attacks as by_graph
from secagg.attack import survivor_attacks as by_survivors
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import Setting
from secagg.public import JointRandomness
from tests.support.entropy import InsecureSeededEntropy
from tests.support.scenarios import NOT_STOPPED, SCENARIOS
from tests.support.switches import switch_off

Win = Callable[[pytest.MonkeyPatch], None]


def without_its_rules(*attacks: Callable[..., None]) -> Win:
    """Every scenario of these attacks returns, which means that it holds its prize."""

    def win(monkeypatch: pytest.MonkeyPatch) -> None:
        found = [scenario for scenario in (*SCENARIOS, *NOT_STOPPED) if scenario.attack in attacks]
        assert {scenario.attack for scenario in found} == set(attacks)
        for scenario in found:
            with monkeypatch.context() as patch:
                switch_off(patch, *scenario.stops)
                scenario.attack(scenario.cohort())

    return win


def under(attack: Callable[[Setting], Result], **weak: Any) -> Win:
    """This attack is possible under a configuration, which names what to change."""

    def win(monkeypatch: pytest.MonkeyPatch) -> None:
        lost = attack(Setting(**weak))
        assert lost.outcome is Outcome.POSSIBLE, lost
        assert lost.change

    return win


def of_the_catalogue(name: str) -> Callable[[Setting], Result]:
    def attack(setting: Setting) -> Result:
        (entry,) = [entry for entry in catalogue.ENTRIES if entry.name == name]
        return catalogue._entry(entry, setting, catalogue._refused(setting))

    return attack


def of_inversion(place: int) -> Callable[[Setting], Result]:
    return lambda setting: list(inversion.run_all(setting))[place]


def on_cloned_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = Setting(adversary="curious").cohort()
    leakage.subtract_two_runs(replace(cohort, source=lambda seed, client: InsecureSeededEntropy("same", client)))


def without_a_fresh_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = quant.from_config({"bits": 4, "range": 1.0, "rounding": "dither"}, 4096)
    same = JointRandomness(CLASSICAL, bytes(32))
    assert grid_leaks.tell_equal_updates(codec, same, same)


LIST: list[tuple[str, str, Win]] = [
    (
        "model inconsistency", "model inconsistency",
        without_its_rules(by_server.train_another_model, by_server.tell_another_model),
    ),
    ("both shares", "both shares of one client", without_its_rules(by_survivors.ask_for_both_shares)),
    (
        "partition", "partition in unmasking",
        under(of_the_catalogue("partition in unmasking"), adversary="curious", threshold=4, clients=9),
    ),
    ("Sybil", "Sybil, fake keys", under(of_the_catalogue("Sybil, fake keys"), adversary="curious")),
    ("reflection", "share reflection and mix-up", without_its_rules(by_server.reflect_shares)),
    (
        "graph bias", "biased or ground graph",
        without_its_rules(by_graph.choose_the_neighbours, by_graph.cut_the_ring, by_graph.hide_the_neighbours),
    ),
    ("graph grinding", "one joint seed too many", without_its_rules(by_survivors.try_again_and_again)),
    (
        "late message", "late message, false drop-out",
        without_its_rules(by_survivors.call_it_dropped_and_keep_its_input, by_survivors.use_one_that_is_left_out),
    ),
    (
        "set differencing", "set differencing: the query renamed",
        under(of_the_catalogue("set differencing: the query renamed"), pin_task=False),
    ),
    (
        "set differencing", "set differencing: the same query again",
        without_its_rules(by_survivors.try_the_round_again, by_survivors.ask_the_same_next_round),
    ),
    (
        "set differencing", "set differencing: cohorts in rotation",
        under(leakage.rotate_the_cohort, policy={"min_cohort_difference": 1}),
    ),
    (
        "resend under the same masks", "another input resent under the same masks",
        without_its_rules(by_survivors.resend_under_the_same_masks),
    ),
    (
        "small cohort", "small cohort, colluders subtract themselves",
        under(
            of_the_catalogue("small cohort, colluders subtract themselves"), adversary="curious", threshold=4,
            colluders=3, policy={"colluders": 1, "min_threshold": 1},
        ),
    ),
    ("linear-layer leakage", "linear-layer leakage: a model built to tell", under(of_inversion(0))),
    ("linear-layer leakage", "samples from sums of a dense layer", under(of_inversion(1), clients=3, batch=1)),
    ("membership inference on the sum", "membership inference on the sum", under(leakage.membership)),
    ("sparse coordinates", "coordinates that one site touches", under(leakage.single_contributor)),
    ("mask reuse", "masks used twice", on_cloned_machines),
    ("overflow", "overflow of the sum", under(leakage.overflow, field_bits=13)),
    ("metadata", "metadata: clear numbers, message sizes", under(leakage.metadata, clear=("examples",))),
    (
        "poisoning", "malicious clients: keys, shares, answers",
        without_its_rules(
            by_client.publish_another_share, by_client.falsify_the_sum_with_a_share, by_client.mask_with_another_seed
        ),
    ),
    (
        "removable noise", "malicious clients: removable noise",
        without_its_rules(
            by_noise.commit_to_no_noise, by_noise.publish_another_root, by_noise.answer_without_noise,
            by_noise.reveal_a_false_link, by_noise.remove_other_noise, by_noise.commit_to_other_noise,
        ),
    ),
    (
        "removable noise", "crash, restore, more noise comes off than may",
        without_its_rules(by_noise.open_more_noise_after_a_restore),
    ),
    (
        "removable noise", "more noise comes off where fewer are said to be missing",
        without_its_rules(by_noise.let_regions_disagree),
    ),
    ("poisoning", "poisoning by an update in range", under(leakage.in_range_poison, quantization={"bits": 12})),
    ("tampered sum", "the server reports another sum", under(leakage.tampered_sum)),
    (
        "tampered sum", "an input changed on its way",
        under(of_the_catalogue("an input changed on its way"), adversary="curious"),
    ),
    (
        "crash replay", "crash, restore, answer again",
        without_its_rules(by_survivors.ask_again_after_a_restore, by_survivors.sign_again_after_a_restore),
    ),
    (
        "parameter confusion", "parameter confusion and downgrade",
        under(lambda setting: leakage.confuse_parameters(setting, ""), pin_task=False),
    ),
    ("saturation", "saturation: sums at the edge of the grid", under(grid_leaks.saturation)),
    ("bit width", "bit width per site", under(grid_leaks.bit_width, own_grid=True)),
    ("sparsity pattern", "sparsity pattern per site", under(grid_leaks.sparsity_pattern, own_pattern=True)),
    ("reused dither", "dither used twice", without_a_fresh_seed),
    ("gradient inversion from 1 to 32 bits", "gradient inversion over the bits of the grid", under(of_inversion(2))),
]  # fmt: skip


@cache
def printed() -> dict[str, Result]:
    """What ``secagg attack`` says of a sound configuration."""
    return {result.name: result for result in catalogue.run_all(Setting())}


@pytest.mark.parametrize("name", list(dict.fromkeys(name for _, name, _ in LIST)))
def test_it_is_in_the_catalogue(name: str) -> None:
    result = printed()[name]
    assert result.by
    assert bool(result.change) == (result.outcome is Outcome.POSSIBLE)


@pytest.mark.parametrize(("word", "name", "win"), LIST, ids=[f"{word}-{name}" for word, name, _ in LIST])
def test_it_wins_against_a_weak_configuration(word: str, name: str, win: Win, monkeypatch: pytest.MonkeyPatch) -> None:
    win(monkeypatch)


def test_the_catalogue_has_no_other_attack() -> None:
    """What is printed is in the table above, but for what there is no code to attack."""
    assert set(printed()) - {name for _, name, _ in LIST} == {"correlated ciphertexts"}


SOUND: list[tuple[Callable[[Setting], Result], dict[str, Any]]] = [
    (leakage.single_contributor, {"noise_multiplier": 2.0}),
    (leakage.membership, {"noise_multiplier": 10.0}),
    (leakage.overflow, {}),
    (leakage.metadata, {}),
    (leakage.tampered_sum, {"evidence": True}),
    (leakage.rotate_the_cohort, {}),
    (grid_leaks.saturation, {"noise_multiplier": 1.0}),
    (grid_leaks.saturation, {"quantization": {"bits": 12, "range": 1.0, "clip": 1.0, "rotation": True}}),
    (grid_leaks.bit_width, {}),
    (grid_leaks.sparsity_pattern, {}),
    (grid_leaks.dither, {"quantization": {"bits": 4, "range": 1.0, "rounding": "dither"}}),
    (of_inversion(0), {"model_pinned": True}),
    (of_inversion(1), {"noise_multiplier": 5.0}),
]


@pytest.mark.parametrize(("attack", "sound"), SOUND, ids=lambda value: str(getattr(value, "__name__", value)))
def test_what_to_change_stops_it(attack: Callable[[Setting], Result], sound: dict[str, Any]) -> None:
    assert attack(Setting(**sound)).outcome is Outcome.STOPPED


def test_a_clip_bounds_what_poison_in_range_does() -> None:
    """Not stopped, but by one clip over the number of sites at most."""
    moved = {}
    for clip in (None, 1.0):
        quantization = {"bits": 12, "range": 1.0, **({} if clip is None else {"clip": clip})}
        by = leakage.in_range_poison(Setting(quantization=quantization)).by
        moved[clip] = float(by.split("mean by ")[1].split()[0])
    assert moved[1.0] < 1 < moved[None] / 10
