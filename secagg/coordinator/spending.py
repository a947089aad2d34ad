"""What a private study has cost so far, worked out from what everybody knows; the sites' ledgers decide."""

from __future__ import annotations

from secagg.config import RoundConfig
from secagg.privacy import Cost
from secagg.privacy.ledger import cost_bytes, cost_from
from secagg.study.definition import Study
from secagg.transcript.records import Spend


def charged(study: Study, before: bytes, config: RoundConfig) -> bytes:
    """Return the cost of the study with one more round in which data were used; ``before`` is empty at first."""
    terms = config.privacy_terms
    if study.privacy is None or terms is None:
        return before
    return cost_bytes((cost_from(before) if before else Cost()) + terms.cost())


def epsilon(study: Study, spent: bytes) -> float:
    """Return the epsilon of a cost at the study's delta; 0 before the first round."""
    return 0.0 if study.privacy is None or not spent else cost_from(spent).epsilon(study.privacy.delta)[0]


def spend_record(study: Study, config: RoundConfig, before: bytes, after: bytes) -> Spend | None:
    """Return the transcript's line on a round that opened a sum; ``None`` in a study without privacy.

    Args:
        study: what was signed.
        config: the round.
        before: cost up to the last opened sum. Rounds that were lost since then count with this one.
        after: cost with this round.
    """
    privacy, terms = config.privacy, config.privacy_terms
    if study.privacy is None or privacy is None or terms is None:
        return None
    one = terms.cost()
    since = Cost()
    for _ in range(cost_from(after).releases - (cost_from(before).releases if before else 0)):
        since = since + one
    mechanism: dict[str, float | int | str] = {
        "law": privacy.law.value,
        "variance": float(privacy.target),
        "survivors": privacy.least_survivors,
        "colluders": privacy.colluders,
        "clip": privacy.clip,
        "coarsening": privacy.coarsening,
        "l2_squared": terms.l2_squared,
        "dim": terms.dim,
        "beta": privacy.beta,
    }
    return Spend(
        unit=privacy.unit.value,
        adjacency=privacy.neighbours.value,
        mechanism=mechanism,
        delta=study.privacy.delta,
        epsilon=since.epsilon(study.privacy.delta)[0],
        total=epsilon(study, after),
    )
