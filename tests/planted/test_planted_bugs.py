"""Bugs that somebody could write, each planted in a copy of the tree: the suite must fail. One small test for each.

The list is that of the field's own failures, so far as they are code; ``what`` says what the bug would have cost.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Bug(NamedTuple):
    """One planted bug: in ``path``, ``right`` becomes ``wrong``; ``caught_by`` is the test that must fail."""

    name: str
    path: str
    right: str
    wrong: str
    caught_by: str


BUGS = [
    Bug(
        "sign-of-a-pairwise-mask", "protocols/pairwise/masking.py",
        "negative=client > other)", "negative=False)",
        "tests/secagg/test_aggregation.py::test_mean_of_flat_vectors",
    ),
    Bug(
        "self-mask-missing", "protocols/pairwise/masked_input.py",
        "terms = [masking.self_mask(client, state.self_mask_seed)]", "terms: list[masking.MaskTerm] = []",
        "tests/secagg/test_aggregation.py::test_mean_of_flat_vectors",
    ),
    Bug(
        "threshold-off-by-one", "protocols/pairwise/share_keys.py",
        "shamir.share(self.seed.reveal(), threshold, holders, entropy)",
        "shamir.share(self.seed.reveal(), threshold - 1, holders, entropy)",
        "tests/protocols/test_vectors.py",
    ),
    Bug(
        "threshold-too-low-accepted", "protocols/pairwise/params.py",
        "(clients + colluders) // 2 + 1", "(clients + colluders) // 2",
        "tests/protocols/test_thresholds.py",
    ),
    Bug(
        "nonce-reused", "protocols/primitives/aead.py",
        'entropy.take(NONCE_BYTES, "aead-nonce")', "bytes(NONCE_BYTES)",
        "tests/protocols/test_vectors.py",
    ),
    Bug(
        "modulo-instead-of-rejection", "protocols/primitives/residues.py",
        "drawn[drawn < modulus]", "drawn % np.uint64(modulus)",
        "tests/protocols/test_primitives.py",
    ),
    Bug(
        "shares-of-both-kinds", "protocols/pairwise/unmasking.py",
        "_reveal(state.held_shares, request.dropped, _MASK_KEY)",
        "_reveal(state.held_shares, tuple(sorted(request.dropped + request.survivors)), _MASK_KEY)",
        "tests/transcript/test_transcript.py",
    ),
    Bug(
        "one-component-too-many-revealed", "protocols/pairwise/noise.py",
        "difference(survivors)) + 1", "difference(survivors))",
        "tests/protocols/test_noise_components.py",
    ),
    Bug(
        "noise-of-the-missing-revealed", "protocols/pairwise/unmasking.py",
        "noise_shares=_reveal_noise(state, request.survivors)",
        "noise_shares=_reveal_noise(state, tuple(sorted(request.survivors + request.dropped)))",
        "tests/protocols/test_noise_components.py",
    ),
    Bug(
        "no-session-in-associated-data", "protocols/pairwise/share_keys.py",
        'cipher.statement("share", session, dealer, holder)', 'cipher.statement("share", dealer, holder)',
        "tests/protocols/test_vectors.py",
    ),
    Bug(
        "float-accumulation", "protocols/pairwise/accumulate.py",
        "residues.add(total[first : first + values.size], values, spec.modulus)",
        "total[first : first + values.size] = (total[first : first + values.size].astype(float) + values)"
        ".astype(np.uint64)",
        "tests/audit/test_audit.py::test_a_clean_study_of_ten_sites_passes_in_time",
    ),
    Bug(
        "ledger-after-release", "protocols/pairwise/client.py",
        "self.warnings += memory.answer(self._ledger, state.me.params, state.me.policy, *about)",
        "self._recorded_later = about",
        "tests/protocols/test_rule_removal.py",
    ),
    Bug(
        "unsorted-survivors-signed", "protocols/pairwise/masked_input.py",
        "return tuple(sorted(client for client, received in state.received.items() if len(received) == chunks))",
        "return tuple(client for client, received in state.received.items() if len(received) == chunks)",
        "tests/protocols/test_delivery.py::test_every_order_of_arrival_of_three_gives_the_same_round",
    ),
    Bug(
        "leftovers-accepted", "protocols/wire.py",
        "if self.encode(frame.context, message) != data:", "if False:",
        "tests/protocols/test_wire.py",
    ),
    Bug(
        "graph-unchecked", "protocols/pairwise/validation/survivors.py",
        "if kept <= corrupt:", "if kept < 0:",
        "tests/protocols/test_attacks.py",
    ),
    Bug(
        "model-not-in-the-masks", "protocols/pairwise/masking.py",
        "self.session, self.model_hash, spec.encode()", "self.session, bytes(32), spec.encode()",
        "tests/protocols/test_vectors.py",
    ),
    Bug(
        "dither-seed-reused", "secagg/public.py",
        '"public-randomness", self._seed, label', '"public-randomness", bytes(32), label',
        "tests/attack/test_attack.py::test_dither_is_never_the_same_twice_and_would_tell_if_it_were",
    ),
    Bug(
        "weight-in-clear", "protocols/pairwise/masking.py",
        "    if not residues.is_power_of_two(spec.modulus):\n        _add_residues",
        '    if spec.name == "weight":\n        return\n'
        "    if not residues.is_power_of_two(spec.modulus):\n        _add_residues",
        "tests/audit/test_audit.py::test_kept_inputs_do_not_show_weights",
    ),
    Bug(
        "field-too-narrow", "quant/capacity.py",
        "width = (clients * (levels - 1) + 2 * noise).bit_length()",
        "width = ((clients - 1) * (levels - 1) + 2 * noise).bit_length()",
        "tests/quant/test_capacity.py",
    ),
    Bug(
        "noise-share-missing", "quant/noise/shares.py",
        "self.target / (self.least - self.colluders)", "self.target / self.clients",
        "tests/quant/noise/test_shares.py",
    ),
    Bug(
        "no-clip", "secagg/contribution.py",
        "clipped = flat = codec.clip(whole)", "clipped = flat = whole",
        "tests/secagg/test_session.py::test_the_clip_bounds_one_example_whatever_the_weight",
    ),
    Bug(
        "low-order-keys-accepted", "protocols/pairwise/validation/directory.py",
        "        except AgreementError as error:\n            refuse(Rule.KEYS_ACCEPTABLE",
        "        except AgreementError as error:\n            continue\n            refuse(Rule.KEYS_ACCEPTABLE",
        "tests/protocols/test_rule_removal.py::test_each_layer_stops_the_attack",
    ),
    Bug(
        "signatures-not-verified", "protocols/primitives/signing.py",
        "    except (InvalidSignature, ValueError):\n        return False",
        "    except (InvalidSignature, ValueError):\n        return len(signature) == 64",
        "tests/protocols/test_attacks.py",
    ),
    Bug(
        "auditor-believes-the-chain", "secagg/audit/reading.py",
        "if record.previous != previous:", "if not record.previous:",
        "tests/audit/test_forgeries.py::test_a_change_without_chaining_again_breaks_the_chain",
    ),
    Bug(
        "auditor-forgets-a-receipt", "secagg/audit/receipts.py",
        "        last[receipt.client] = receipt_hash(receipt)\n", "",
        "tests/audit/test_audit.py::test_a_clean_study_of_ten_sites_passes_in_time",
    ),
    Bug(
        "auditor-forgets-earlier-rounds", "secagg/audit/budget.py",
        "cost, delta = cost + release.cost, release.promise.delta", "cost, delta = release.cost, release.promise.delta",
        "tests/audit/test_privacy.py",
    ),
    Bug(
        "auditor-lets-any-link-pass", "secagg/audit/noise.py",
        "!= published.get(client):", "== client:",
        "tests/audit/test_privacy.py",
    ),
    Bug(
        "one-run-bound-without-delta", "secagg/audit/one_run.py",
        "tail += 2 * canaries * delta * float(below.max())", "pass",
        "tests/audit/test_one_run.py",
    ),
    Bug(
        "receipt-names-no-survivors", "secagg/transcript/receipts.py",
        "            self._survivors = message.survivors", "            pass",
        "tests/audit/test_audit.py::test_a_clean_study_of_ten_sites_passes_in_time",
    ),
    Bug(
        "site-draws-no-noise", "secagg/noised.py",
        "    return draw_noise(sharing, config.codec.facts.encoded_dim, entropy, seeds)",
        "    return draw_noise(sharing, config.codec.facts.encoded_dim, entropy, seeds) * 0",
        "tests/secagg/test_private_noise.py::test_honest_survivors_noise_is_the_target_after_every_tolerated_pattern",
    ),
    Bug(
        "excess-noise-stays", "secagg/session.py",
        "self._machine.survivors, self.public, self._machine.revealed_noise)",
        "self._machine.survivors, self.public, None)",
        "tests/secagg/test_private_noise.py::test_honest_survivors_noise_is_the_target_after_every_tolerated_pattern",
    ),
    Bug(
        "patients-are-not-clipped", "secagg/privacy/patients.py",
        "shrunk = np.minimum(largest, inside / norm)", "shrunk = largest",
        "tests/secagg/privacy/test_patients.py::test_small_vectors_are_kept_and_large_ones_clipped",
    ),
    Bug(
        "integer-norm-unchecked", "secagg/privacy/patients.py",
        "integers[(squared > self.l2_squared) | (squared < 0)] = 0", "pass",
        "tests/secagg/privacy/test_patients.py::test_a_norm_beyond_the_bound_counts_as_zero_and_is_no_error",
    ),
    Bug(
        "a-record-counts-as-a-patient", "secagg/privacy/patients.py",
        "self._places = None if patients is None else _places(patients)", "self._places = None",
        "tests/secagg/privacy/test_patients.py::test_one_patient_moves_the_sum_by_the_bound_at_most",
    ),
    Bug(
        "coins-of-the-coarse-rounding-missing", "secagg/privacy/patients.py",
        'rotated += (words.view("<u8") & np.uint64(self.coarsening - 1)).astype(np.int64)', "rotated += 0",
        "tests/secagg/privacy/test_patients.py::test_rounding_is_unbiased_over_its_coins",
    ),
    Bug(
        "data-before-the-charge", "secagg/noised.py",
        "    site.charge(terms, release_id(config), digest)", "    del digest",
        "tests/secagg/test_private_frames.py::"
        "test_a_restarted_site_never_makes_a_second_version_of_a_charged_release",
    ),
    Bug(
        "a-second-noisy-version", "secagg/privacy/site.py",
        "if permit is None or permit.repeated:", "if False:",
        "tests/secagg/test_private_frames.py::"
        "test_a_restarted_site_never_makes_a_second_version_of_a_charged_release",
    ),
    Bug(
        "nan-is-an-error-that-tells", "secagg/noised.py",
        "config.layout.flatten(given, refuse=False)", "config.layout.flatten(given)",
        "tests/secagg/test_private_frames.py::test_an_update_that_is_not_finite_counts_as_zero",
    ),
    Bug(
        "monitoring-in-a-private-round", "secagg/config.py",
        "            check_private(self, self.privacy)", "            pass",
        "tests/secagg/test_private_frames.py::test_what_would_leave_a_site_without_noise_is_refused",
    ),
]  # fmt: skip


def plant(bug: Bug, tree: Path) -> None:
    """Copy the packages and tests, and change one of them."""
    for name in ("protocols", "quant", "secagg", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "SECURITY.md", "README.md"):
        shutil.copy(ROOT / name, tree / name)
    source = (tree / bug.path).read_text()
    assert source.count(bug.right) == 1, f"{bug.path} has changed: plant {bug.name} anew"
    (tree / bug.path).write_text(source.replace(bug.right, bug.wrong))


@pytest.mark.slow
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    plant(bug, tmp_path)
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", bug.caught_by]
    told = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, check=False, timeout=500)
    # 1 is a failed test; 2 would be a tree that cannot even be imported.
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    assert " failed" in done.stdout or " error" in done.stdout


@pytest.mark.fast
def test_every_bug_can_be_planted() -> None:
    """The text that a bug replaces is there once, and so is the test that must catch it."""
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 15
    for bug in BUGS:
        assert (ROOT / bug.path).read_text().count(bug.right) == 1, bug.name
        path, _, function = bug.caught_by.partition("::")
        assert f"def {function}" in (ROOT / path).read_text(), bug.name
