"""``secagg attack``: what each attack comes to under a configuration (test_list.py: each of them wins under some)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import quant
from protocols.suites import CLASSICAL
from secagg.attack import catalogue, grid_leaks, inversion, leakage
from secagg.attack.adversary import AttackFailedError
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.setting import Setting, read_setting
from secagg.cli import main
from secagg.errors import UsageError
from secagg.public import JointRandomness
from tests.support.entropy import InsecureSeededEntropy
from tests.support.scenarios import NOT_STOPPED, SCENARIOS


def by_name(setting: Setting, only: str = "protocol") -> dict[str, Result]:
    return {result.name: result for result in catalogue.run_all(setting, only)}


def end_of(name: str, setting: Setting) -> Result:
    """Run one attack on the protocol alone."""
    refused = catalogue._refused(setting)
    if name == "parameter confusion and downgrade":
        return leakage.confuse_parameters(setting, refused)
    (entry,) = [entry for entry in catalogue.ENTRIES if entry.name == name]
    return catalogue._entry(entry, setting, refused)


def test_a_sound_configuration_stops_every_attack_on_the_protocol() -> None:
    results = by_name(Setting())
    assert {result.name for result in results.values() if result.outcome is Outcome.POSSIBLE} == set()
    assert {result.number for result in results.values()} >= {1, 2, 3, 4, 5, 6, 7, 8, 9, 14, 17, 18, 19, 20, 21}
    assert "C26" in results["both shares of one client"].by
    assert "C14" in results["Sybil, fake keys"].by


def test_a_curious_round_falls_to_what_it_does_not_withstand() -> None:
    results = by_name(Setting(adversary="curious"))
    possible = {name for name, result in results.items() if result.outcome is Outcome.POSSIBLE}
    assert possible == {"Sybil, fake keys", "an input changed on its way"}
    assert "active" in results["Sybil, fake keys"].change


WEAK: list[tuple[str, dict[str, Any]]] = [
    ("partition in unmasking", {"adversary": "curious", "threshold": 4, "clients": 9}),
    ("set differencing: the query renamed", {"pin_task": False}),
    ("parameter confusion and downgrade", {"pin_task": False}),
    ("small cohort, colluders subtract themselves", {
        "adversary": "curious", "threshold": 4, "colluders": 3,
        "policy": {"colluders": 1, "min_threshold": 1},
    }),
]  # fmt: skip


@pytest.mark.parametrize(("name", "weak"), WEAK, ids=[name for name, _ in WEAK])
def test_a_weak_configuration_loses(name: str, weak: dict[str, Any]) -> None:
    sound = {key: value for key, value in weak.items() if key == "clients"}
    assert end_of(name, Setting(**sound)).outcome is Outcome.STOPPED
    lost = end_of(name, Setting(**weak))
    assert lost.outcome is Outcome.POSSIBLE
    assert lost.change


def test_sites_refuse_a_weak_round_under_their_default_policy() -> None:
    results = by_name(Setting(threshold=5))
    assert {result.by[:2] for result in results.values() if result.outcome is Outcome.STOPPED} == {"C3"}


def test_every_form_wins_when_its_rules_are_off() -> None:
    """What the catalogue runs is what test_rule_removal.py shows winning, or wins in test_list.py."""
    shown = {scenario.attack for scenario in (*SCENARIOS, *NOT_STOPPED)}
    here = {leakage.subtract_two_rounds, leakage.subtract_two_runs, catalogue._few_tries}
    forms = {form for entry in catalogue.ENTRIES for form in entry.forms}
    assert forms - shown - here == set()


def test_another_round_separates_the_masks_of_cloned_machines() -> None:
    """Keys are bound to the session: machines that draw the same again still mask another round differently."""
    cohort = Setting(adversary="curious").cohort()
    cloned = replace(cohort, source=lambda seed, client: InsecureSeededEntropy("same", client))
    with pytest.raises(AttackFailedError, match="not the victim's vector"):
        leakage.subtract_two_rounds(cloned)


# -- sums ------------------------------------------------------------------------------------------------------------


def test_a_model_built_to_tell_tells_unless_it_is_pinned_or_the_sum_is_noisy() -> None:
    ends = [
        {result.name: result.outcome for result in inversion.run_all(setting)}
        for setting in (Setting(), Setting(model_pinned=True), Setting(noise_multiplier=5.0))
    ]
    trap = "linear-layer leakage: a model built to tell"
    assert [end[trap] for end in ends] == [Outcome.POSSIBLE, Outcome.STOPPED, Outcome.STOPPED]


def test_gradient_inversion_grows_with_the_bits() -> None:
    *_, result = inversion.run_all(Setting())
    assert [bits for bits, _ in result.curve] == list(inversion.CURVE_BITS)
    shares = [share for _, share in result.curve]
    assert shares[0] == 0.0
    assert shares[-1] > 0.5
    examples, gradients = inversion.real_gradients(1, 1, trap=False)
    assert inversion.found(examples, gradients[0]) == 1.0  # one example's gradient alone is that example


# -- the grid --------------------------------------------------------------------------------------------------------


def test_dither_is_never_the_same_twice_and_would_tell_if_it_were() -> None:
    dithered = {"bits": 4, "range": 1.0, "rounding": "dither"}
    assert by_name(Setting(quantization=dithered), "grid")["dither used twice"].outcome is Outcome.STOPPED
    codec = quant.from_config(dithered, 4096)
    same = JointRandomness(CLASSICAL, bytes(32))
    assert grid_leaks.tell_equal_updates(codec, same, same)


# -- the command -----------------------------------------------------------------------------------------------------


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.toml").write_text(
        '[round]\nclients = 6\nadversary = "curious"\n[policy]\nmin_cohort_difference = 2\n'
        '[quantization]\nbits = 8\nrange = 1.0\n[leakage]\nclear = ["loss"]\ndim = 128\n'
    )
    page = tmp_path / "attack.html"
    assert main(["attack", str(tmp_path / "study.toml"), "--json", "--html", str(page)]) == 0
    printed = json.loads(capsys.readouterr().out)
    ends = {entry["attack"]: entry["outcome"] for entry in printed["attacks"]}
    assert ends["metadata: clear numbers, message sizes"] == "possible"
    assert ends["set differencing: cohorts in rotation"] == "stopped"
    assert printed["possible"] == list(ends.values()).count("possible")
    html = page.read_text()
    assert "<svg" in html
    assert "http" not in html
    assert main(["attack", "--only", "grid"]) == 0
    assert "saturation" in capsys.readouterr().out


def test_the_file_of_a_consortium_is_a_configuration(tmp_path: Path) -> None:
    sites = "".join(f'[[site]]\nid = {site}\nname = "s{site}"\nkey = "00"\n' for site in range(1, 6))
    (tmp_path / "study.toml").write_text(
        '[study]\nname = "x"\n[protocol]\nadversary = "curious"\n[quantization]\nbits = 6\nrange = 1.0\n' + sites
    )
    setting = read_setting(tmp_path / "study.toml", colluders=0)
    assert (setting.clients, setting.adversary, setting.colluders) == (5, "curious", 0)
    assert setting.quantization == {"bits": 6, "range": 1.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[round]\nclient = 6", "unknown key 'client'"),
        ("[rounds]\n", "has 'rounds'"),
        ("[round]\nclients = 2", "3 or more"),
        ("[policy]\nroster = 1", "no 'roster'"),
        ("not toml", "cannot read"),
    ],
)
def test_bad_configurations_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(UsageError, match=says):
        read_setting(tmp_path / "study.toml")


@pytest.mark.slow
def test_a_sparse_round_is_attacked_on_its_own_graph() -> None:
    results = by_name(Setting(clients=100, protocol="secagg+", adversary="curious"))
    graph = results["biased or ground graph"]
    assert graph.outcome is Outcome.STOPPED, graph
    assert results["one joint seed too many"].by == "C30"
    never = {name for name, result in results.items() if result.outcome is Outcome.NOT_APPLICABLE}
    assert never == {"correlated ciphertexts"}
