"""Who the sites are: how finely their devices round, how fast they are, and how often their link fails.

Speeds and losses are round figures for the kind of device, not measurements of one: they say how a consortium of such
devices would fare, seen from this machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from quant.mixed import LEAST_GROUP
from secagg.errors import UsageError


@dataclass(frozen=True, slots=True)
class Device:
    """One kind of site.

    Attributes:
        name: of the kind.
        share: of the sites that are of this kind, 0 .. 1.
        shift: its grid's step is 2^shift steps of the finest one's.
        speed: of computation, in units of this machine's.
        loss: probability that its link fails in a round; ``None`` for the demo's own schedule of drop-outs.
    """

    name: str
    share: float
    shift: int = 0
    speed: float = 1.0
    loss: float | None = None


SCENARIOS: Mapping[str, tuple[Device, ...]] = {
    "hospitals": (Device("hospital", 1.0),),
    "smart-home": (
        Device("hub", 0.4, shift=0, speed=0.25, loss=0.03),
        Device("sensor", 0.6, shift=4, speed=0.04, loss=0.12),
    ),
    "vehicles": (
        Device("parked car", 0.5, shift=0, speed=0.5, loss=0.1),
        Device("moving car", 0.5, shift=2, speed=0.5, loss=0.3),
    ),
}


def check_scenario(name: str, sites: int) -> None:
    """Refuse unknown scenarios, and cohorts in which a precision would tell sites apart.

    Raises:
        UsageError: naming the scenarios there are, or the least number of sites.
    """
    if name not in SCENARIOS:
        raise UsageError(f"unknown scenario {name!r}: choose one of {', '.join(SCENARIOS)}")
    if len(SCENARIOS[name]) > 1:
        for device in SCENARIOS[name]:
            count = sum(kind is device for kind in kinds(name, sites).values())
            if count < LEAST_GROUP:
                raise UsageError(
                    f"{sites} sites are too few for {name}: only {count} would be of the kind {device.name!r}, and at "
                    f"least {LEAST_GROUP} must share a precision so that it tells nobody apart"
                )


def check_coarser(name: str, sites: int, coarser: int) -> None:
    """Refuse a cohort of which half cannot be coarser.

    Raises:
        UsageError: a scenario that has its own precisions, or too few sites to share one.
    """
    if coarser and len(SCENARIOS[name]) > 1:
        raise UsageError(f"{name} has precisions of its own: leave --coarser out")
    if coarser and sites < 2 * LEAST_GROUP:
        raise UsageError(
            f"{sites} sites are too few for two precisions: at least {LEAST_GROUP} must share one, so that it tells "
            "nobody apart"
        )


def kinds(name: str, sites: int, coarser: int = 0) -> dict[int, Device]:
    """Give the kind of every site, by id from 1; ``coarser`` bits fewer for the second half."""
    if coarser:
        (device,) = SCENARIOS[name]
        other = replace(device, name=f"{device.name}, {coarser} bits coarser", shift=coarser)
        return {site: device if site <= sites // 2 else other for site in range(1, sites + 1)}
    ends = np.round(np.cumsum([device.share for device in SCENARIOS[name]]) * sites).astype(int)
    return {site: SCENARIOS[name][int(np.searchsorted(ends, site))] for site in range(1, sites + 1)}


def losses(name: str, sites: int, most: int, seed: tuple[int, ...]) -> tuple[int, ...] | None:
    """Draw whose link fails in a round; ``None`` if the scenario leaves it to the demo's schedule.

    At most ``most`` fail, those drawn first: a server would wait for the others to come back.

    Args:
        name: of the scenario.
        sites: number of sites.
        most: how many a round survives.
        seed: fixes the draw (of the schedule, never of masks or keys).
    """
    devices = kinds(name, sites)
    if any(device.loss is None for device in devices.values()):
        return None
    rng = np.random.default_rng(seed)
    order = rng.permutation(list(devices))
    failed = [int(site) for site in order if rng.random() < (devices[int(site)].loss or 0.0)]
    return tuple(sorted(failed[:most]))
