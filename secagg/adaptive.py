"""What the next round's clip and bits are, from what the last one's sums showed: a value, the same at every site.

The rules are ``quant.adaptive``'s (Andrew et al. 2021 for the clip). Only sums go in: the number of sites inside the
clip, and the monitored error. Whoever has seen all rounds of a study can work the settings out and check them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import quant
from secagg.errors import UsageError
from secagg.monitoring import Monitoring


@dataclass(frozen=True)
class RoundPlanner:
    """Settings of one round, and how they move.

    Attributes:
        bits: of this round.
        clip: adaptive L2 clip of this round, if it adapts.
        stages: bits by stage of training, if they follow a schedule.
        by_error: bits that keep the measured error near a target, if they do.
        round_index: number of this round, from 0.

    Raises:
        UsageError: both a schedule and a target.
    """

    bits: int
    clip: quant.AdaptiveClip | None = None
    stages: quant.BitSchedule | None = None
    by_error: quant.BitsByError | None = None
    round_index: int = 0

    def __post_init__(self) -> None:
        """Refuse two masters."""
        if self.stages is not None and self.by_error is not None:
            raise UsageError("bits follow a schedule or the measured error, not both")
        if self.stages is not None:
            object.__setattr__(self, "bits", self.stages.bits(self.round_index))

    def after(self, included: int, inside: int | None = None, monitoring: Monitoring | None = None) -> RoundPlanner:
        """Give the settings of the next round.

        Args:
            included: sites in the sum of this round.
            inside: how many of them had a norm inside of the clip (``Opened.inside``).
            monitoring: what the round's sums told.

        Raises:
            UsageError: something adapts to what this round did not measure.
        """
        clip, bits = self.clip, self.bits
        if clip is not None:
            if inside is None:
                raise UsageError("the clip adapts to a bit of every site: give the round adaptive_clip")
            clip = clip.update(inside, included)
        if self.by_error is not None:
            if monitoring is None:
                raise UsageError("bits adapt to the measured error: leave monitoring on, or use a schedule")
            if monitoring.relative_error is not None:
                bits = self.by_error.update(bits, monitoring.relative_error)
        return replace(self, bits=bits, clip=clip, round_index=self.round_index + 1)


def parse_bits(text: str) -> quant.BitSchedule | quant.BitsByError:
    """Read ``ROUND:BITS,ROUND:BITS,...`` (a schedule) or ``error:TARGET`` (squared error relative to the mean).

    Raises:
        UsageError: neither.
        quant.ConfigurationError: a schedule that leaves rounds without bits, or a target that makes no sense.
    """
    try:
        if text.startswith("error:"):
            return quant.BitsByError(float(text.removeprefix("error:")))
        pairs = [stage.split(":") for stage in text.split(",")]
        return quant.BitSchedule(tuple((int(start), int(bits)) for start, bits in pairs))
    except quant.QuantError:
        raise
    except ValueError:
        raise UsageError(
            f"unreadable bits {text!r}: write ROUND:BITS,ROUND:BITS (such as 0:6,10:8,20:12) or error:TARGET "
            "(such as error:0.001)"
        ) from None
