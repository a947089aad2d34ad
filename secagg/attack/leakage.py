"""Attacks on what the protocol lets through: sums, sizes, parameters, and masks that come twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import ProtocolError, RemoteProtocolError
from secagg.attack.adversary import Attacker, AttackFailedError, same
from secagg.attack.cohort import Cohort, random_vectors
from secagg.attack.network import Network, inside
from secagg.attack.outcomes import Outcome, Result
from secagg.attack.server_attacks import VICTIM, ask_alike, minus, take_part_on_the_servers_terms
from secagg.attack.setting import Setting

NOISE = "a noise_multiplier: noise in the sum that is calibrated to one site's clip"
MEMBERS = 400
"""Releases of each world in the membership game."""

TELLING = 0.6
"""Area under the curve from which a membership guess counts as possible; 0.5 is a coin."""


# -- masks and parameters --------------------------------------------------------------------------------------------


def subtract_two_rounds(cohort: Cohort) -> None:
    """Mask reuse: if two rounds use one mask, the difference of two masked inputs is that of the inputs."""
    _subtract(cohort, cohort.with_params(round_index=1))


def subtract_two_runs(cohort: Cohort) -> None:
    """The same round runs twice, on machines that were started again (or cloned) and have lost their ledgers."""
    _subtract(cohort, cohort)


def _subtract(first: Cohort, second: Cohort) -> None:
    other = replace(second, inputs=random_vectors(first.ids, first.params.vectors, np.random.default_rng()))
    masked = [Attacker(run).reach_inputs().masked[VICTIM] for run in (first, other)]
    same(minus(masked[0], masked[1]), minus(first.inputs[VICTIM], other.inputs[VICTIM]))


class subtract_colluders:
    """The last c survivors collude: the sum of t inputs less theirs. The prize: the victim's input alone."""

    def __init__(self, setting: Setting) -> None:
        self.__name__ = "subtract_colluders"
        self._colluders = max(setting.colluders, 1)

    def __call__(self, cohort: Cohort) -> None:
        """Run it."""
        survivors = cohort.ids[: cohort.params.least_survivors]
        honest = survivors[: -self._colluders]
        if len(honest) > 1 and cohort.params.sparse:
            raise AttackFailedError(f"{len(honest)} inputs that nobody knows stay in the sum")
        attacker = Attacker(cohort).reach_inputs()
        ask_alike(attacker, survivors, survivors)
        opened = attacker.recover_sum(survivors, sorted(set(cohort.ids) - set(survivors)))
        left = minus(opened, cohort.sum_of(survivors[len(honest) :]))
        if len(honest) > 1:
            raise AttackFailedError(f"{len(honest)} inputs that nobody knows stay in the sum")
        same(left, cohort.inputs[VICTIM])


def confuse_parameters(setting: Setting, refused: str) -> Result:
    """Parameter confusion: the server proposes another task under the same name, or another study."""
    number, name = 21, "parameter confusion and downgrade"
    if refused:
        return Result(number, name, Outcome.STOPPED, refused)
    cohort = setting.cohort(task=bytes(31) + b"\1")
    try:
        take_part_on_the_servers_terms(cohort)
    except RemoteProtocolError as error:
        return Result(number, name, Outcome.STOPPED, str(error.rule.value))
    change = "pin_task = true: sites name the task that they agreed to"
    return Result(number, name, Outcome.POSSIBLE, "sites follow any task that the server names", change)


def rotate_the_cohort(setting: Setting) -> Result:
    """Four rounds of one query over three of four sites: any two differ by two, and all inputs follow from the sums."""
    from secagg.attack.survivor_attacks import swap_one_member_at_a_time

    number, name = 8, "set differencing: cohorts in rotation"
    change = "min_cohort_difference of at least 2; secagg audit finds it afterwards (T24)"
    if setting.noise_multiplier:
        return Result(number, name, Outcome.STOPPED, "noise is charged for every sum", "")
    told = {key: value for key, value in setting.policy.items() if key in ("min_cohort_difference", "adversary")}
    small = Setting(clients=4, threshold=3, adversary=setting.adversary, policy={"colluders": 1, **told})
    cohort = small.cohort()
    inputs = random_vectors(cohort.ids, cohort.params.vectors, np.random.default_rng())
    try:
        swap_one_member_at_a_time(Cohort(cohort.variant, cohort.params, cohort.ids, cohort.policy, inputs))
    except ProtocolError as error:
        rule = str(error.rule.value) if isinstance(error, RemoteProtocolError) else "machines answer once"
        return Result(number, name, Outcome.STOPPED, rule)
    return Result(number, name, Outcome.POSSIBLE, "four sums of three determine every input", change)


# -- sums ------------------------------------------------------------------------------------------------------------


def run_all(setting: Setting) -> Iterator[Result]:
    """Attack the sum, the sizes and what travels beside it."""
    yield rotate_the_cohort(setting)
    yield single_contributor(setting)
    yield membership(setting)
    yield overflow(setting)
    yield metadata(setting)
    yield tampered_sum(setting)
    yield in_range_poison(setting)


def _codec(setting: Setting) -> quant.UpdateCodec:
    return quant.from_config(setting.quantization, setting.dim)


def single_contributor(setting: Setting) -> Result:
    """Sparse coordinates: one site alone touches some (embedding rows); the sum there is its value."""
    number, name = 13, "coordinates that one site touches"
    touched = max(setting.dim // 64, 1)
    rng = np.random.default_rng()
    secret = np.zeros(setting.dim)
    secret[:touched] = rng.standard_normal(touched) * 0.5 / math.sqrt(touched)
    others = np.zeros((setting.least - 1, setting.dim))
    others[:, touched:] = rng.standard_normal((setting.least - 1, setting.dim - touched)) * 0.5 / math.sqrt(setting.dim)
    total = secret + others.sum(axis=0) + rng.standard_normal(setting.dim) * setting.noise_multiplier
    likeness = _cosine(total[:touched], secret[:touched])
    if likeness > TELLING:
        return Result(
            number, name, Outcome.POSSIBLE, f"the values are read off the sum (likeness {likeness:.2f})", NOISE
        )
    return Result(number, name, Outcome.STOPPED, f"noise hides them (likeness {likeness:.2f})")


def _cosine(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    return abs(float(left @ right)) / max(float(np.linalg.norm(left) * np.linalg.norm(right)), 1e-12)


def membership(setting: Setting) -> Result:
    """Membership inference on the sum: was this update part of it? The attacker knows the update and the rest's law.

    The best statistic for Gaussian noise is the inner product with the update (Neyman and Pearson). Updates of the
    others are random directions of the same norm; the area under the curve over many sums is the measure.
    """
    number, name = 12, "membership inference on the sum"
    rng = np.random.default_rng()
    target = rng.standard_normal(setting.dim)
    target /= np.linalg.norm(target)
    scores: tuple[list[float], list[float]] = ([], [])
    for world in (0, 1):
        for _ in range(MEMBERS):
            others = rng.standard_normal((setting.least, setting.dim))
            others /= np.linalg.norm(others, axis=1, keepdims=True)
            kept = others if world == 0 else np.vstack([target, others[1:]])
            noise = rng.standard_normal(setting.dim) * setting.noise_multiplier
            scores[world].append(float((kept.sum(axis=0) + noise) @ target))
    area = float(np.mean([[b > a for a in scores[0]] for b in scores[1]]))
    if area > TELLING:
        return Result(
            number, name, Outcome.POSSIBLE, f"area under the curve {area:.2f} of {setting.least} updates", NOISE
        )
    return Result(number, name, Outcome.STOPPED, f"area under the curve {area:.2f}, a coin gives 0.50")


def overflow(setting: Setting) -> Result:
    """Overflow: every site sends the largest integer of the grid; the sum must come out of the lanes as it is."""
    number, name = 15, "overflow of the sum"
    facts = _codec(setting).facts
    if facts.wraps:
        return Result(number, name, Outcome.NOT_APPLICABLE, "sums wrap on purpose (modular clipping)")
    width = setting.field_bits or facts.field_width(setting.clients)
    lanes = quant.LaneLayout(4, width)
    packed = lanes.pack(np.full(4, facts.upper, dtype=np.int64))
    total = int(lanes.unpack(packed * np.uint64(setting.clients))[0])
    if total == facts.upper * setting.clients:
        by = f"quant.capacity: fields of {width} bits hold {setting.clients} sites"
        return Result(number, name, Outcome.STOPPED, by)
    by = f"{setting.clients} x {facts.upper} is read as {total}"
    change = f"field_bits of {facts.field_width(setting.clients)} or more, as quant.capacity computes"
    return Result(number, name, Outcome.POSSIBLE, by, change)


def metadata(setting: Setting) -> Result:
    """Metadata: numbers in clear, and message sizes of two updates as different as can be."""
    number, name = 16, "metadata: clear numbers, message sizes"
    if setting.clear:
        named = ", ".join(setting.clear)
        change = "clear = []: weights and metrics are coordinates of the masked vector"
        return Result(number, name, Outcome.POSSIBLE, f"{named} of every site in clear", change)
    cohort = setting.cohort()
    sizes = set()
    for fill in (0, (1 << 16) - 1):
        inputs = {c: {k: np.full_like(v, fill) for k, v in vectors.items()} for c, vectors in cohort.inputs.items()}
        network = Network(Cohort(cohort.variant, cohort.params, cohort.ids, cohort.policy, inputs))
        network.run()
        sizes.add(tuple(len(delivery.frame) for delivery in network.transcript))
    if len(sizes) > 1:
        return Result(
            number, name, Outcome.POSSIBLE, "sizes of messages tell updates apart", "report this: it is a bug"
        )
    return Result(number, name, Outcome.STOPPED, "sizes follow from public parameters; who takes part stays visible")


def tampered_sum(setting: Setting) -> Result:
    """The server reports another sum than it opened."""
    number, name = 18, "the server reports another sum"
    cohort = setting.cohort()
    network = Network(cohort)
    network.run_until_end()
    network.server.advance()
    told = {key: value ^ np.uint64(1) for key, value in network.server.result().items()}
    differs = any((told[key] != value).any() for key, value in cohort.sum_of(inside(network.server).survivors).items())
    if differs and not setting.evidence:
        change = "evidence = true: kept masked inputs prove the sum to an auditor (secagg audit, T19)"
        return Result(number, name, Outcome.POSSIBLE, "no site can tell", change)
    return Result(number, name, Outcome.STOPPED, "T19: an auditor adds the signed inputs up again")


def in_range_poison(setting: Setting) -> Result:
    """Poisoning in range: one site pulls the mean its own way. How far, in norms of what the honest sites agree on?"""
    number, name = 17, "poisoning by an update in range"
    codec, rng = _codec(setting), np.random.default_rng()
    honest = rng.standard_normal(setting.dim)
    honest *= (codec.facts.l2_bound or 1.0) / (2 * np.linalg.norm(honest))
    poison = -1e6 * honest / np.linalg.norm(honest)
    means = []
    for last in (honest, poison):
        sent = [codec.clip(update) for update in (*[honest] * (setting.least - 1), last)]
        # The grid saturates what the clip lets through.
        reach = codec.facts.linf_bound
        means.append(np.clip(sent, -reach, reach).sum(axis=0) / setting.least)
    moved = float(np.linalg.norm(means[1] - means[0]) / np.linalg.norm(honest))
    by = f"one site of {setting.least} moves the mean by {moved:.2g} of its norm"
    if codec.facts.l2_bound is None:
        return Result(number, name, Outcome.POSSIBLE, by, "a clip in [quantization]: nothing but the grid bounds it")
    change = "nothing stops it; the clip bounds it, a smaller clip and more sites shrink it"
    return Result(number, name, Outcome.POSSIBLE, by, change)
