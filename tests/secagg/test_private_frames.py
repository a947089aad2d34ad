"""Every number that leaves a site in a private round, enumerated: only the noised update may depend on data."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import quant
from protocols import LocalProtocolError, RemoteProtocolError
from protocols.pairwise.messages import CODEC, MaskedInput, limits_at_server
from secagg.attempts import run_attempts
from secagg.config import UPDATE, WITHHELD, RoundConfig
from secagg.contribution import Contribution
from secagg.errors import UsageError
from secagg.privacy import (
    BudgetExhausted,
    Ledger,
    LedgerError,
    LocalPrivacyPolicy,
    PatientUpdates,
    PrivacyRefused,
    SitePrivacy,
    Unit,
)
from secagg.session import ClientSession
from tests.secagg.conftest import MODEL
from tests.secagg.private_cohort import Exchange, fitted, private_config, rehearsal
from tests.support.entropy import InsecureSeededEntropy

DIM = 70

DATA = {
    "nobody": np.zeros((0, DIM)),
    "one": np.ones((1, DIM)),
    "a patient of zeros": np.zeros((3, DIM)),
    "huge": np.full((5, DIM), 1e300),
    "tiny": np.full((5, DIM), 1e-300),
    "nan": np.full((2, DIM), np.nan),
    "infinite": np.full((2, DIM), -np.inf),
    "many": np.linspace(-1, 1, 400 * DIM).reshape(400, DIM),
    "alike": np.tile(np.linspace(-1, 1, DIM), (400, 1)),
}


def frames(config: RoundConfig, make: Any) -> tuple[list[tuple[int, str, bytes]], np.ndarray]:
    """What every client sends in a round of fixed entropy, as (client, kind, bytes); and the opened integers."""
    round_ = Exchange(config, seed="frames")
    round_.submit(make)
    opened = round_.open()
    kinds = []
    for client, frame in round_.sent:
        _, message = CODEC.decode(frame, limits_at_server(config.params))
        inside = isinstance(message, MaskedInput)
        name = config.params.vectors[message.vector].name if inside else type(message).__name__
        kinds.append((client, name, frame))
    return kinds, opened.integers


@pytest.mark.parametrize("settings", [{}, {"rotation": False}], ids=["rotated", "plain"])
def test_only_the_noised_update_depends_on_patients(settings: dict[str, Any]) -> None:
    config = private_config(fitted(DIM, **settings), DIM)
    assert [spec.name for spec in config.params.vectors] == [UPDATE]
    nothing, noise = frames(config, lambda client: PatientUpdates(DATA["nobody"]))
    seen = {name for _, name, _ in nothing}
    assert seen == {"AdvertiseKeys", "ShareKeys", UPDATE, "Unmasking"}
    half = config.codec.facts.levels // 2
    centred = noise - half * len(config.clients)
    assert np.mean(centred.astype(float) ** 2) > float(fitted(DIM, **settings).privacy.target) / 2
    for rows in DATA.values():
        sent, integers = frames(config, lambda client, rows=rows: PatientUpdates(rows))
        assert [entry[:2] for entry in sent] == [entry[:2] for entry in nothing]
        for (_, name, frame), (_, _, before) in zip(sent, nothing, strict=True):
            assert len(frame) == len(before)
            assert name == UPDATE or frame == before
        # The same noise is in it: what is left of the difference is data on the grid, at most 2 half per site.
        assert np.abs(integers - noise).max() <= 2 * half * len(config.clients)


def test_only_the_noised_update_depends_on_a_sites_update() -> None:
    config = private_config(fitted(DIM, unit=Unit.SITE), DIM)
    assert [spec.name for spec in config.params.vectors] == [UPDATE]
    nothing, _ = frames(config, lambda client: np.zeros(DIM))
    for value in (1.0, -1e300, 1e-300, np.nan, np.inf):
        sent, _ = frames(config, lambda client, value=value: np.full(DIM, value))
        for (_, name, frame), (_, known, before) in zip(sent, nothing, strict=True):
            assert (name, len(frame)) == (known, len(before))
            assert name == UPDATE or frame == before


def test_an_update_that_is_not_finite_counts_as_zero() -> None:
    config = private_config(fitted(DIM, unit=Unit.SITE), DIM)
    _, zero = frames(config, lambda client: np.zeros(DIM))
    update = np.zeros(DIM)
    update[3] = np.nan
    _, broken = frames(config, lambda client: update)
    assert np.array_equal(zero, broken)


def test_every_setting_of_a_round_is_public_or_withheld() -> None:
    """A setting that somebody adds to ``RoundConfig`` has to be thought about here."""
    public = {
        *("clients", "layout", "quantization", "threshold", "study", "round_index", "attempt", "adversary", "roster"),
        *("colluders", "protocol", "tolerated_dropouts", "attempt_limit", "joint_randomness", "downlink_bits"),
        *("privacy", "error_feedback"),
    }
    assert {field.name for field in fields(RoundConfig)} == public | set(WITHHELD)


@pytest.mark.parametrize(
    "setting",
    [
        {"max_weight": 10},
        {"monitor": True},
        {"counters": ("right",)},
        {"metrics": {"loss": 1.0}},
        {"devices": {1: 1}},
        {"adaptive_clip": quant.AdaptiveClip(1.0)},
        {"error_feedback": True},
    ],
    ids=lambda setting: next(iter(setting)),
)
def test_what_would_leave_a_site_without_noise_is_refused(setting: dict[str, Any]) -> None:
    found = fitted(DIM)
    if "adaptive_clip" in setting:
        found.quantization.pop("clip")
    with pytest.raises((UsageError, quant.ConfigurationError), match=next(iter(setting)).split("_")[0]):
        private_config(found, DIM, **setting)


def test_other_inputs_beside_the_update_are_refused() -> None:
    config = private_config(fitted(DIM), DIM)
    session = Exchange(config).sessions[1]
    nobody = PatientUpdates(DATA["nobody"])
    for beside in ({"weight": 1}, {"counters": {"right": 1}}, {"metrics": {"loss": 0.1}}):
        with pytest.raises(UsageError, match="nothing beside"):
            session.prepare(nobody, **beside)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"threshold": 4}, "sized for 3 survivors"),
        ({"quantization": {"clip": 2.0}}, "clip"),
        ({"quantization": {"levels": 100}}, "odd"),
        ({"quantization": {"rounding": "dither"}}, "stochastic"),
        ({"quantization": {"random_k": 4}}, "rotation"),
    ],
)
def test_a_round_that_does_not_go_with_its_noise_is_refused(change: dict[str, Any], what: str) -> None:
    found = fitted(DIM)
    found.quantization.update(change.pop("quantization", {}))
    with pytest.raises(UsageError, match=what):
        private_config(found, DIM, **change)


# --- charge first, release once ----------------------------------------------------------------------


def touched(config: RoundConfig, session: ClientSession, error: type[Exception], what: str) -> bool:
    """Whether data was touched by a ``prepare`` that must fail."""
    asked = []

    def update() -> PatientUpdates:
        asked.append(True)
        return PatientUpdates(DATA["one"])

    with pytest.raises(error, match=what):
        session.prepare(update)
    return bool(asked)


def test_a_restarted_site_never_makes_a_second_version_of_a_charged_release(tmp_path: Path) -> None:
    config = private_config(fitted(DIM, releases=5), DIM)
    terms = config.privacy_terms
    assert terms is not None
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.open_cohort("c", rehearsal(config).ledger.budget("rehearsal"))
        site = SitePrivacy(ledger, LocalPrivacyPolicy(max_survivors=5, clip=1.0), "c")
        sites = {client: rehearsal(config) for client in config.clients} | {1: site}
        round_ = Exchange(config, sites)
        session = round_.sessions[1]
        saved = session.snapshot()
        session.prepare(PatientUpdates(DATA["one"]))
        spent = ledger.epsilon("c")
        assert spent > 0
        assert not touched(config, session, LedgerError, "charged before")  # prepared twice
        memory = session._machine._ledger
        again = ClientSession.restore(config, 1, saved, ledger=memory, privacy=site)
        assert not touched(config, again, LedgerError, "charged before")  # killed between charge and sending
        assert not touched(config, Exchange(config, sites | {2: rehearsal(config)}).sessions[1], LedgerError, "before")
        assert ledger.epsilon("c") == spent
        ledger.verify()
        other = replace(config, attempt=1)  # another attempt is another release, and is paid for
        Exchange(other, {c: rehearsal(other) for c in config.clients} | {1: site}).submit(
            lambda client: PatientUpdates(DATA["one"])
        )
        assert ledger.epsilon("c") > spent


def test_nothing_is_charged_for_an_input_that_cannot_be_sent() -> None:
    config = private_config(fitted(DIM), DIM)
    round_ = Exchange(config)
    ledger = round_.sites[1].ledger
    for update in (PatientUpdates(np.zeros((1, DIM - 1))), np.zeros(DIM), {"weights": np.zeros(DIM)}):
        with pytest.raises(UsageError):
            round_.sessions[1].prepare(update)
    with pytest.raises(RemoteProtocolError, match="C20"):
        list(round_.sessions[1].submit(PatientUpdates(DATA["one"]), bytes(32)))
    assert ledger.epsilon("rehearsal") == 0
    assert len(list(round_.sessions[1].submit(PatientUpdates(DATA["one"]), MODEL))) == 1


def test_integers_without_noise_are_not_sent() -> None:
    config = private_config(fitted(DIM), DIM)
    round_ = Exchange(config)
    half = np.full(config.codec.facts.encoded_dim, config.codec.facts.levels // 2, np.int64)
    bare = Contribution(half, 0, {UPDATE: config.lanes.fold(half)})
    with pytest.raises(UsageError, match="noise included"):
        round_.sessions[1].submit(bare, MODEL)


def test_an_attempt_that_ends_before_inputs_is_free() -> None:
    """The joint seed of a rotation cannot be made in the first attempt; the second is the one that is charged."""
    config = private_config(fitted(DIM), DIM)
    sites = {client: rehearsal(config) for client in config.clients}
    opened, attempt = run_attempts(
        config,
        MODEL,
        lambda client, session: session.prepare(PatientUpdates(DATA["many"])),
        dropouts={4: "share-keys"},
        privacy=sites,
    )
    assert attempt.record.attempts == 2
    assert attempt.record.exact
    assert opened.included == (1, 2, 3, 5)
    assert sites[1].ledger.charged("rehearsal", "study/0/1")
    assert not sites[1].ledger.charged("rehearsal", "study/0/0")
    assert sites[4].ledger.epsilon("rehearsal") == 0


def test_the_same_release_under_other_terms_is_refused() -> None:
    config = private_config(fitted(DIM, releases=5), DIM)
    site = rehearsal(config)
    Exchange(config, {c: rehearsal(config) for c in config.clients} | {1: site}).submit(
        lambda client: PatientUpdates(DATA["one"])
    )
    other = private_config(fitted(DIM, releases=5, epsilon=2.0), DIM)
    session = Exchange(other, {c: rehearsal(other) for c in config.clients} | {1: site}).sessions[1]
    assert not touched(other, session, LedgerError, "charged before")


def test_an_empty_budget_stops_a_site_before_anything_is_sent_and_before_data() -> None:
    config = private_config(fitted(DIM, releases=2), DIM)
    site = rehearsal(config)
    sites = {client: rehearsal(config) for client in config.clients} | {1: site}
    for round_index in range(2):
        Exchange(replace(config, round_index=round_index), sites).submit(lambda client: PatientUpdates(DATA["one"]))
    with pytest.raises(PrivacyRefused, match="P7"):
        ClientSession(replace(config, round_index=2), 1, privacy=site)
    two = [Exchange(replace(config, round_index=i), {c: rehearsal(config) for c in config.clients}) for i in (3, 4)]
    assert two  # other sites go on without it


def test_two_open_rounds_cannot_spend_the_same_budget_twice() -> None:
    """Reviewed while there was room for one release; the ledger gives it to one of the two."""
    config = private_config(fitted(DIM, releases=1), DIM)
    site = rehearsal(config)
    sites = {client: rehearsal(config) for client in config.clients}
    first, second = (Exchange(replace(config, round_index=i), sites | {1: site}).sessions[1] for i in (0, 1))
    first.prepare(PatientUpdates(DATA["one"]))
    assert not touched(config, second, (PrivacyRefused, BudgetExhausted), "budget")  # type: ignore[arg-type]


def test_data_is_not_asked_for_before_the_round_wants_it() -> None:
    config = private_config(fitted(DIM), DIM)
    session = ClientSession(config, 1, privacy=rehearsal(config), entropy=InsecureSeededEntropy("early"))
    assert not touched(config, session, LocalProtocolError, "wait")


def test_units_take_their_own_kind_of_update() -> None:
    patient = private_config(fitted(DIM), DIM)
    with pytest.raises(UsageError, match="PatientUpdates"):
        Exchange(patient).sessions[1].prepare(np.zeros(DIM))
    site = private_config(fitted(DIM, unit=Unit.SITE), DIM)
    with pytest.raises(UsageError, match="one update"):
        Exchange(site).sessions[1].prepare(PatientUpdates(DATA["one"]))
    public = RoundConfig(patient.clients, patient.layout)
    with pytest.raises(UsageError, match="not private"):
        Exchange(public).sessions[1].prepare(PatientUpdates(DATA["one"]))


@pytest.mark.parametrize("settings", [{"adversary": "active", "colluders": 1}, {"protocol": "secagg+"}])
def test_other_protocols_carry_the_noise_too(settings: dict[str, Any]) -> None:
    from secagg.inprocess import InProcessRound, simulated_identities

    clients = 40 if settings.get("protocol") == "secagg+" else 5
    blank = RoundConfig(tuple(range(1, clients + 1)), quant.Layout.of(np.zeros(DIM)), monitor=False)
    if settings.get("adversary") == "active":
        identities, roster = simulated_identities(blank.clients)
        settings = settings | {"roster": roster.hash()}
    else:
        identities, roster = {}, None
    least = replace(blank, **settings).params.least_survivors
    found = fitted(DIM, clients=clients, least=least)
    keep = {} if settings.get("protocol") == "secagg+" else {"threshold": least}
    config = private_config(found, DIM, clients=clients, **(settings | {"threshold": None} | keep))
    sites = {client: rehearsal(config) for client in config.clients}
    gone = {config.clients[1]: "masked-input"} if config.params.noise_components else {}
    round_ = InProcessRound(config, MODEL, identities=identities, roster=roster, privacy=sites, dropouts=gone)
    opened = round_.run(lambda client, session: session.prepare(PatientUpdates(DATA["nobody"])))
    assert round_.record.exact
    assert opened.noise is not None
    noise = np.std(opened.sum)
    assert 0.4 * opened.noise.total < noise < 2 * opened.noise.total
