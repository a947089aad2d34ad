"""Study files, keys, signatures and the ceremony on one laptop, by the printed steps."""

from __future__ import annotations

import json
import re
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from protocols import SystemEntropy
from secagg.cli import main
from secagg.errors import UsageError
from secagg.study import approval, definition, folder, identity, policy, task, weights
from secagg.study.cohort import tolerance
from secagg.study.fingerprint import fingerprint


@pytest.fixture
def lead(tmp_path: Path) -> Path:
    folder.create(tmp_path / "lead", "trial", "https://coordinator.example.org:8443", SystemEntropy())
    path = tmp_path / "lead" / "study.toml"
    folder.set_model(path, weights.encode({"w": np.zeros(3, np.float32)}))
    for site in (1, 2, 3):
        folder.add_site(path, identity.create(tmp_path / f"{site}.key", f"hospital {site}", SystemEntropy()))
    return path


def test_without_the_server_extra_no_study_is_begun(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert main(["study", "new", str(tmp_path / "st")]) == 2
    assert "pip install 'secagg[server]'" in capsys.readouterr().err
    assert not (tmp_path / "st").exists()


def test_the_ceremony_on_one_laptop(tmp_path: Path, capsys, monkeypatch) -> None:
    """Follow the printed next steps from an empty folder to three signatures on one hash."""
    monkeypatch.chdir(tmp_path)
    assert main(["study", "new", "st", "--name", "Pilot", "--coordinator", "https://localhost:8443"]) == 0
    said = capsys.readouterr().out
    assert "secagg keygen" in said
    assert "you: cd st" in said
    assert re.search(r"│ 3 +│ +3 │ +0 │ +2 │", said), "three sites against an active server: no drop-outs"
    for site in ("a", "b", "c"):
        assert main(["keygen", f"{site}.key", "--name", f"Hospital {site}"]) == 0
        printed = re.search(r"fingerprint +([\d ]+)", capsys.readouterr().out)
        assert main(["study", "add-site", "st/study.toml", f"{site}.pub"]) == 0
        assert printed is not None
        assert printed[1].strip() in capsys.readouterr().out
    signed = set()
    for site in ("a", "b", "c"):
        assert main(["study", "sign", "st/study.toml", "--key", f"{site}.key", "--yes", "--json"]) == 0
        signed.add(json.loads(capsys.readouterr().out)["study"])
    assert len(signed) == 1
    assert main(["study", "show", "st/study.toml"]) == 0
    assert "secagg study sign" in capsys.readouterr().out


def test_keys_stay_private(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    public = identity.create(path, "Klinikum Süd", SystemEntropy(), b"a passphrase")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = identity.load(path, b"a passphrase").secret.reveal()
    assert identity.load(path, b"a passphrase").public.hex() == public.key
    beside = path.with_suffix(".pub").read_text()
    assert secret.hex() not in beside
    assert secret not in path.read_bytes()
    with pytest.raises(UsageError, match="wrong passphrase"):
        identity.load(path, b"another")
    with pytest.raises(UsageError, match="passphrase"):
        identity.load(path)
    path.chmod(0o640)
    with pytest.raises(UsageError, match="chmod 600"):
        identity.load(path, b"a passphrase")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="not overwritten"):
        identity.create(path, "again", SystemEntropy())


@pytest.mark.parametrize(
    "name", ["", "x" * 81, 'quo"ted', "two\nlines", "end\n", "back\\slash", "\x9b2J", "\u202egnp.exe"]
)
def test_names_that_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name"):
        identity.create(tmp_path / "site.key", name, SystemEntropy())


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rounds = 10", "rounds = 0", "training.rounds: expected `int` >= 1"),
        ("rounds = 10", "rounds = ten", "Invalid value"),
        ("min_sites = 3", "min_sites = 2", "training.min_sites"),
        ('adversary = "active"', 'adversary = "lazy"', "protocol.adversary"),
        ("colluders = 1", "coluders = 1", "protocol.coluders"),
        ("bits = 12", "bitz = 12", "quantization"),
        ("phase = 60", "phase = -1", "deadlines.phase"),
        ("https://", "http://", "study.coordinator"),
        ("id = 2", "id = 1", "site[1].id: two sites have the id 1"),
        ('"hospital 2"', '"hospital 1"', "site[1].name"),
        ("id = 3", "id = 70000", "site[2].id"),
    ],
)
def test_errors_name_the_line(lead: Path, old: str, new: str, says: str) -> None:
    text = lead.read_text()
    assert old in text
    changed = text.replace(old, new, 1)
    with pytest.raises(UsageError) as caught:
        definition.parse(changed)
    assert says in str(caught.value)
    line = max(number for number, line in enumerate(changed.splitlines(), 1) if new in line)
    assert f"line {line}" in str(caught.value)


@pytest.mark.parametrize("name", ["HOSPITAL\u00a01", "ho\u200dspital 1", "\uff48ospital 1"])
def test_names_that_look_the_same(lead: Path, name: str) -> None:
    with pytest.raises(UsageError, match="looks the same"):
        folder.add_site(lead, identity.PublicIdentity(name, "ab" * 32))


@pytest.mark.parametrize(
    ("text", "says"),
    [("x = " + "9" * 5000, "digits"), ("x = " + "[" * 3000 + "]" * 3000, "too deep"), ("\udcff", "UTF-8")],
)
def test_traps_in_toml(lead: Path, text: str, says: str) -> None:
    lead.write_bytes(f"{lead.read_text()}\n[task.more]\n{text}\n".encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=says):
        definition.load(lead)


def test_two_sites_with_one_key(lead: Path, tmp_path: Path) -> None:
    again = identity.load_public(tmp_path / "2.pub")
    with pytest.raises(UsageError, match=r"site\[3\].key: two sites have the same key"):
        folder.add_site(lead, type(again)("another name", again.key))


def test_comments_survive_editing(lead: Path) -> None:
    before = lead.read_text()
    folder.remove_site(lead, 2)
    study = definition.load(lead)
    assert study.ids == (1, 3)
    assert "# Whose signature stands under answers" in lead.read_text()
    removed = set(before.splitlines()) - set(lead.read_text().splitlines())
    assert {"id = 2", 'name = "hospital 2"'} < removed
    assert len(removed) == 3


def test_a_signature_is_on_this_study_only(lead: Path, tmp_path: Path) -> None:
    study, key = definition.load(lead), identity.load(tmp_path / "1.key")
    given = approval.sign(study, key)
    assert approval.is_valid(study, given)
    lead.write_text(lead.read_text().replace("rounds = 10", "rounds = 11"))
    changed = definition.load(lead)
    assert changed.fingerprint != study.fingerprint
    assert not approval.is_valid(changed, given)
    path = approval.path_beside(lead, 1)
    path.write_text(json.dumps({"site": 1, "study": given.study, "signature": given.signature}))
    with pytest.raises(UsageError, match="not the one that this site approved"):
        approval.load(changed, path, 1)
    with pytest.raises(UsageError, match="not in the roster"):
        approval.sign(study, identity.load(lead.parent / "coordinator.key"))


def test_comments_and_order_do_not_change_the_hash(lead: Path) -> None:
    study = definition.load(lead)
    without = "\n".join(line for line in lead.read_text().splitlines() if not line.startswith("#"))
    assert definition.parse(without).hash == study.hash


def test_fingerprints_can_be_read_aloud() -> None:
    digits = fingerprint(b"roster")
    assert re.fullmatch(r"\d{5}( \d{5}){7}", digits)
    assert fingerprint(b"rosters") != digits


@pytest.mark.parametrize("adversary", ["active", "curious"])
@pytest.mark.parametrize("sites", range(3, 21))
def test_tolerance_keeps_two_inputs_hidden(sites: int, adversary: str) -> None:
    row = tolerance(sites, adversary, 1)
    assert row is not None
    assert row.hidden >= 2
    assert row.threshold + row.dropouts == sites
    if adversary == "active":
        assert 2 * row.threshold > sites + 1


def test_a_policy_is_not_overridden(lead: Path) -> None:
    study = definition.load(lead)
    assert policy.SitePolicy().for_rounds(study).adversary == "active"
    curious = definition.parse(lead.read_text().replace('adversary = "active"', 'adversary = "curious"'))
    with pytest.raises(UsageError, match="offers only"):
        policy.SitePolicy().for_rounds(curious)
    with pytest.raises(UsageError, match="does not allow the study"):
        policy.SitePolicy(studies=("another",)).for_rounds(study)
    with pytest.raises(UsageError, match="tolerated colluders"):
        policy.SitePolicy(colluders=2).for_rounds(study)


def test_the_written_policy_is_the_default_one(lead: Path) -> None:
    written = policy.load(lead.with_name("policy.toml"))
    assert written == policy.SitePolicy(studies=("trial",))


def test_models_wait_for_a_person(tmp_path: Path) -> None:
    rules = policy.SitePolicy(approve_models="manual")
    model = bytes(range(32))
    assert not rules.allows_model(tmp_path, model)
    (tmp_path / rules.approved_models).write_text(f"{'0' * 64}\n{model.hex()}\n")
    assert rules.allows_model(tmp_path, model)
    (tmp_path / rules.approved_models).write_text(f"# rejected: {model.hex()}\n#{model.hex()}\n")
    assert not rules.allows_model(tmp_path, model)
    (tmp_path / rules.approved_models).write_text(f"{model.hex().upper()}  # seen by Anna\n")
    assert rules.allows_model(tmp_path, model)


def test_weights_come_back_in_one_order() -> None:
    made = {name: np.arange(3, dtype=np.float32) for name in "zyxwvutsrqponmlkjihgfedcba"}
    orders = {tuple(weights.decode(weights.encode(made))) for _ in range(20)}
    assert orders == {tuple(sorted(made))}


@pytest.mark.parametrize("spec", ["task", "../task:train", "task:train()", "a/b:train", "nothing_of_this_name:train"])
def test_tasks_that_are_none(spec: str) -> None:
    with pytest.raises(UsageError):
        task.load(spec)


def test_removed_site_of_a_study_with_its_coordinator(lead: Path) -> None:
    lead.write_text(lead.read_text().replace("member = 0", "member = 3"))
    assert definition.load(lead).colluders == 1
    with pytest.raises(UsageError, match=r"study.member: there is no site 3"):
        folder.remove_site(lead, 3)
