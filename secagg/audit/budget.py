"""Rules T25 and T27 to T29: what every round spends of the privacy budget, and whether it may be believed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from secagg.audit.noise import excess
from secagg.audit.parameters import UPDATE
from secagg.audit.privacy import Release, release_of, rotated_rows, second_opinion
from secagg.audit.reading import Round, StudyRecords
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.privacy.mechanism import Cost
from secagg.privacy.sensitivity import Unit
from secagg.transcript import records as r

TOLERANCE = 1e-6
"""Relative difference of two computations of one epsilon that is rounding."""

WITHHELD = ("max_weight", "monitor", "adaptive_clip", "devices", "counters", "metrics")
"""Entries of a task that make a site send something about its data beside the noised vector."""


@dataclass(frozen=True)
class Spent:
    """What a private round cost.

    Attributes:
        round: the round.
        release: its promise and cost.
        epsilon: of this round alone.
        total: of this and all rounds before it.
        second: the same by a second formula, which no accountant may come out below.
    """

    round: Round
    release: Release
    epsilon: float
    total: float
    second: float

    @property
    def promised(self) -> float:
        """Epsilon that the task promises for the whole study."""
        return self.release.promise.epsilon


def spending(found: StudyRecords) -> list[Spent]:
    """Return what each private round cost, in order; rounds whose promise cannot be computed are left out.

    A round counts from when sites were asked for their inputs: they charge before they send, whether or not a sum was
    opened then.
    """
    done: list[Spent] = []
    cost, releases = Cost(), list[Release]()
    for one in found.rounds:
        release = _computed(one)
        if release is None or one.get(r.Shared) is None:
            continue
        cost, delta = cost + release.cost, release.promise.delta
        releases.append(release)
        done.append(
            Spent(one, release, release.cost.epsilon(delta)[0], cost.epsilon(delta)[0], second_opinion(releases, delta))
        )
    return done


def _computed(one: Round) -> Release | None:
    try:
        return release_of(one)
    except ValueError:
        return None


def claimed(spent: list[Spent]) -> str:
    """Say in one sentence what was spent."""
    last, promise = spent[-1], spent[-1].release.promise
    return (
        f"epsilon {last.total:.3g} at delta {promise.delta:g} for one {promise.unit} (neighbours: {promise.relation}) "
        f"over {len(spent)} releases; promised was {promise.epsilon:g} for {promise.releases}"
    )


def check_budget(found: StudyRecords, study: r.Study) -> Iterator[Finding]:
    """T25 and T27 to T29 over all rounds."""
    private = False
    for one in found.rounds:
        try:
            release = release_of(one)
        except ValueError as error:
            private = True
            yield one.say(Rule.BUDGET, Verdict.BROKEN, str(error))
            continue
        if release is not None:
            private = True
            yield one.judge(Rule.NOISE_SIZED, *_sized(study, one, release))
            yield one.judge(Rule.BOUNDED, *_bounded(one, release))
            if one.opened:
                yield one.judge(Rule.EXCESS, *excess(one, release), r.Answers)
    spent = spending(found)
    judged = [_charged(now, spent[:place]) for place, now in enumerate(spent)]
    if judged and all(finding.verdict is Verdict.VERIFIED for finding in judged):
        yield Finding(Rule.BUDGET, Verdict.VERIFIED, claimed(spent))
    yield from judged
    if private:
        yield from _without_noise(found)
    else:
        yield from _not_private(found)


def _charged(now: Spent, before: list[Spent]) -> Finding:
    """T25 for one round: what was spent so far, against the promise, a second formula, and the coordinator's word."""
    promise, wrong = now.release.promise, []
    first = before[0].release.promise if before else promise
    if (promise.unit, promise.relation, promise.delta) != (first.unit, first.relation, first.delta):
        wrong.append("unit, neighbours or delta changed during the study")
    if now.total > promise.epsilon * (1 + TOLERANCE):
        wrong.append(f"{len(before) + 1} releases cost epsilon {now.total:.4g}; the task promises {promise.epsilon:g}")
    if len(before) + 1 > promise.releases:
        wrong.append(f"release {len(before) + 1} of a promise for {promise.releases}")
    if now.total < now.second * (1 - TOLERANCE):
        wrong.append(f"the accountant says {now.total:.4g}, the Gaussian of the same variance {now.second:.4g}")
    said = now.round.get(r.Spend)
    if said is not None:
        if (said.unit, said.adjacency, said.delta) != (promise.unit, promise.relation, promise.delta):
            wrong.append("the log names another unit, adjacency or delta than the task")
        if said.epsilon < now.epsilon * (1 - TOLERANCE) or said.total < now.total * (1 - TOLERANCE):
            wrong.append(f"the log says {said.epsilon:.4g}, {said.total:.4g} in total: less than was spent")
    ended = "" if now.round.opened else ", charged though no sum was opened"
    evidence = (
        f"{now.epsilon:.3g} in the round, {now.total:.3g} in {len(before) + 1} of {promise.releases} releases{ended}"
    )
    return now.round.judge(Rule.BUDGET, wrong, evidence, r.Parameters if said is None else r.Spend)


def _sized(study: r.Study, one: Round, release: Release) -> tuple[list[str], str]:
    """T27: n_min, threshold, survivors and colluders."""
    promise, params, wrong = release.promise, one.begin.params, []
    least, survivors = params.min_survivors or params.threshold, one.get(r.Survivors)
    if least < promise.least_survivors:
        wrong.append(f"{least} sites can open a sum whose noise counts on {promise.least_survivors} survivors")
    if survivors is not None and len(survivors.survivors) < promise.least_survivors:
        wrong.append(f"{len(survivors.survivors)} survivors, but the noise counts on {promise.least_survivors}")
    if promise.colluders < max(study.colluders, 1):
        wrong.append(f"the noise assumes {promise.colluders} colluders, the study {study.colluders}")
    sigma = math.sqrt(release.sharing.target)
    right = (
        f"honest survivors' noise of {sigma:.4g} steps ({promise.law}) from {promise.least_survivors} or more "
        f"survivors less c = {promise.colluders}"
    )
    return wrong, right


def _bounded(one: Round, release: Release) -> tuple[list[str], str]:
    """T28: clip, integer bound, grid; and one noised vector is all that leaves a site."""
    promise, task, facts, wrong = release.promise, release.task, release.facts, []
    described = task["quantization"]
    if described.get("clip") != promise.clip:
        wrong.append(f"the codec clips to {described.get('clip')}, the promise is made for {promise.clip:g}")
    if facts.levels % 2 == 0 or facts.wraps:
        wrong.append("the grid has no zero, or sums wrap around it")
    others = sorted(spec.name for spec in one.begin.params.vectors if spec.name != UPDATE)
    sent = [name for name in WITHHELD if task.get(name) not in (None, False, [], {})]
    if others or sent:
        wrong.append(f"{(others or sent)[0]} leaves the sites without noise")
    if Unit(promise.unit) is Unit.SITE:
        return (
            wrong,
            f"one vector a site, norm at most {promise.clip:g}, {release.sensitivity.l2:.4g} steps on the grid",
        )
    if task.get("error_feedback"):
        wrong.append("residuals carry a patient into later rounds")
    if described.get("rounding") != "stochastic" or promise.coarsening & (promise.coarsening - 1):
        wrong.append("a site's sum is not rounded stochastically to a grid a power of two coarser")
    fine = facts.step * math.sqrt(rotated_rows(described)) / promise.coarsening
    longest = (promise.clip / fine + math.sqrt(facts.dim)) ** 2
    if not 1 <= promise.l2_squared <= longest * (1 + 2.0**-10):
        wrong.append(f"a squared norm of {promise.l2_squared} fine steps does not go with clip {promise.clip:g}")
    return wrong, (
        f"one vector a site; a patient counts at most {math.sqrt(promise.l2_squared):,.0f} fine steps, "
        f"{release.sensitivity.l2:.4g} of the released"
    )


def _without_noise(found: StudyRecords) -> Iterator[Finding]:
    for one in found.rounds:
        if one.opened and _computed(one) is None and '"privacy"' not in one.begin.task:
            yield one.say(
                Rule.BUDGET, Verdict.BROKEN, "a sum without noise, in a study that promises epsilon", r.Opened
            )


def _not_private(found: StudyRecords) -> Iterator[Finding]:
    """A study whose tasks promise nothing: what the log says of epsilon is not supported by anything."""
    spent = [(one, spend) for one in found.rounds if (spend := one.get(r.Spend)) is not None]
    for one, _ in spent:
        yield one.say(Rule.BUDGET, Verdict.BROKEN, "the log claims epsilon; the task asks for no noise", r.Spend)
    if not spent:
        yield Finding(Rule.BUDGET, Verdict.UNCHECKABLE, "no noise, so no epsilon is claimed: see the residual risks")
