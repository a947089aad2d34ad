"""Rules T23, T24 and T26: what several rounds together give away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import combinations

from secagg.audit.reading import Round, StudyRecords
from secagg.audit.verdicts import Finding, Rule, Verdict
from secagg.transcript import records as r


def check_rounds(found: StudyRecords, study: r.Study) -> Iterator[Finding]:
    """T23, T24 and T26 over the whole study."""
    yield _once(found)
    yield from _queries(found, study)
    yield from _near(found, study)
    yield _fresh(found)


def survivors_of(one: Round) -> frozenset[int]:
    """Return whose inputs are in the round's sum; nobody's if there is none."""
    survivors = one.get(r.Survivors)
    return frozenset(survivors.survivors) if survivors is not None and one.opened else frozenset()


def _query(one: Round) -> tuple[str, bytes, str]:
    """What makes two rounds the same question: study, task and model."""
    return one.begin.params.study, one.begin.params.task, one.begin.model_hash


def _once(found: StudyRecords) -> Finding:
    seen: dict[tuple[int, int, str], Round] = {}
    numbered: set[tuple[int, int]] = set()
    for one in found.rounds:
        params = one.begin.params
        if (params.round_index, params.attempt) in numbered:
            return one.say(Rule.ONE_INPUT, Verdict.BROKEN, f"round {params.round_index} took place twice")
        numbered.add((params.round_index, params.attempt))
        inputs = one.get(r.Inputs)
        for sent in inputs.inputs if inputs is not None else ():
            key = (params.round_index, sent.client, one.begin.model_hash)
            if key in seen:
                evidence = f"client {sent.client} sent an input for round {params.round_index} before"
                return one.say(Rule.ONE_INPUT, Verdict.BROKEN, evidence, r.Inputs)
            seen[key] = one
    return Finding(Rule.ONE_INPUT, Verdict.VERIFIED, f"{len(seen)} inputs in {len(found.rounds)} rounds")


def _queries(found: StudyRecords, study: r.Study) -> Iterator[Finding]:
    """T24: over rounds that ask the same, no two cohorts are close and no combination of sums is one site's input."""
    asked: dict[tuple[str, bytes, str], list[Round]] = defaultdict(list)
    for one in found.rounds:
        if survivors_of(one):
            asked[_query(one)].append(one)
    for rounds in asked.values():
        for first, second in combinations(rounds, 2):
            apart = survivors_of(first) ^ survivors_of(second)
            if apart and len(apart) < study.min_cohort_difference:
                evidence = (
                    f"rounds {first.index} and {second.index} ask the same of cohorts that differ by {sorted(apart)}"
                )
                yield second.say(Rule.COHORTS, Verdict.BROKEN, evidence, r.Survivors)
                return
        alone = solvable([survivors_of(one) for one in rounds])
        if alone is not None:
            evidence = f"the sums of {len(rounds)} rounds that ask the same determine the input of site {alone}"
            yield rounds[-1].say(Rule.COHORTS, Verdict.BROKEN, evidence, r.Survivors)
            return
    yield Finding(
        Rule.COHORTS, Verdict.VERIFIED, f"{len(asked)} different queries in {sum(map(len, asked.values()))} sums"
    )


def solvable(cohorts: Sequence[frozenset[int]]) -> int | None:
    """Find a site whose input is a linear combination of the sums over ``cohorts``; ``None`` if there is none.

    Exact rational elimination. A site is determined if and only if its unit vector lies in the span of the cohorts'
    indicator vectors, that is, if the reduced echelon form has a row with that one entry.
    """
    sites = sorted(set().union(*cohorts)) if cohorts else []
    rows = [[Fraction(site in cohort) for site in sites] for cohort in dict.fromkeys(cohorts)]
    done = 0
    for column in range(len(sites)):
        pivot = next((row for row in range(done, len(rows)) if rows[row][column]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        lead = rows[done][column]
        rows[done] = [value / lead for value in rows[done]]
        for other in range(len(rows)):
            factor = rows[other][column]
            if other != done and factor:
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[done], strict=True)]
        done += 1
    for row in rows[:done]:
        entries = [site for site, value in zip(sites, row, strict=True) if value]
        if len(entries) == 1:
            return entries[0]
    return None


def _near(found: StudyRecords, study: r.Study) -> Iterator[Finding]:
    """T24 between different queries: what it tells depends on the training, so it is shown and not judged."""
    opened = [one for one in found.rounds if survivors_of(one)]
    near = [
        (first.index, second.index)
        for first, second in combinations(opened, 2)
        if _query(first) != _query(second)
        and 0 < len(survivors_of(first) ^ survivors_of(second)) < study.min_cohort_difference
    ]
    if near:
        evidence = (
            f"{len(near)} pairs of rounds (first: {near[0]}) differ by fewer than {study.min_cohort_difference} sites; "
            "their models differ, so what the difference tells depends on the training"
        )
        yield Finding(Rule.COHORTS, Verdict.UNCHECKABLE, evidence)


def _fresh(found: StudyRecords) -> Finding:
    """T26: keys, sessions, self masks and seeds are new in every round."""
    seen: set[str] = set()
    for one in found.rounds:
        values: list[str] = []
        if (directory := one.get(r.Directory)) is not None:
            values += [directory.session]
            values += [key for entry in directory.entries for key in (entry.enc_key, entry.mask_key)]
        if (shared := one.get(r.Shared)) is not None:
            values += [value for _, value in shared.self_mask_hashes]
        if (seed := one.get(r.Randomness)) is not None:
            values += [seed.seed, *(part for _, part in seed.parts)]
        if not seen.isdisjoint(values):
            return one.say(
                Rule.FRESH, Verdict.BROKEN, "a key, session or seed of an earlier round came again", r.Directory
            )
        seen |= set(values)
    return Finding(Rule.FRESH, Verdict.VERIFIED, f"{len(seen)} keys, sessions and seeds, all different")
