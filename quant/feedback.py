"""Error feedback: what quantization and sparsity left out of one round is added to the next.

The residual lives at the site and is never sent. It makes biased, contractive codecs (nearest rounding, random-k
without amplification) converge; unbiased ones gain little. Source: Karimireddy et al. 2019 ("Error feedback fixes
SignSGD and other gradient compression schemes").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.codec import UpdateCodec
from quant.errors import ConfigurationError, InputError
from quant.public import PublicRandomness
from quant.streams import SYSTEM_STREAM, RandomStream
from quant.vectors import FloatVector, as_vector, magnitude

SITE_UNITS = (None, "site", "client")
"""Privacy units that a residual may be kept under."""


@dataclass(frozen=True, slots=True, eq=False)
class ErrorFeedback:
    """The residual of one site, shape (dim,), float64; a value: every round gives the next one.

    Exact: after each round, sum of decoded own contributions + residual = sum of updates, up to float64 rounding; so
    what the server got lags behind by one residual, whatever the codec did. The residual is added *before* the clip,
    so the clip still bounds what a site says in one round, and guarantees per site hold as without feedback. Not
    bounded: the residual itself, if the clip cuts every round; then the clip is too small.

    Refused for patients (records, examples): a residual carries what one patient did in one round into all later
    ones, so his influence on a round is no longer bounded by that round's clipping.
    """

    residual: NDArray[np.float64]
    codec: UpdateCodec
    privacy_unit: str | None = None

    def __post_init__(self) -> None:
        """Refuse privacy units and codecs that feedback would break."""
        if self.privacy_unit not in SITE_UNITS:
            raise ConfigurationError(
                f"error feedback is refused with the privacy unit {self.privacy_unit!r}: the residual carries a "
                "patient's influence into later rounds, where no clip bounds it. Use an unbiased codec (stochastic or "
                "dither) without feedback, or privacy per site"
            )
        if self.codec.facts.gain > 1:
            raise ConfigurationError(
                f"error feedback diverges behind a decoder that amplifies by {self.codec.facts.gain:g}: set amplify "
                "to false (SharedRandomK(k, amplify=False))"
            )
        object.__setattr__(self, "residual", as_vector(self.residual, self.codec.facts.dim).astype(np.float64))

    @classmethod
    def start(cls, codec: UpdateCodec, privacy_unit: str | None = None) -> "ErrorFeedback":
        """Begin with nothing left over.

        Raises:
            ConfigurationError: ``privacy_unit`` is not None, "site" or "client"; or a decoder that amplifies.
        """
        return cls(np.zeros(codec.facts.dim), codec, privacy_unit)

    def correct(self, update: FloatVector) -> NDArray[np.float64]:
        """Give the update with the residual: what is to be clipped, weighed and encoded.

        Raises:
            InputError: not a finite vector of shape (dim,).
        """
        update = as_vector(update, self.codec.facts.dim)
        magnitude(update)
        return update.astype(np.float64) + self.residual

    def after(
        self,
        corrected: NDArray[np.float64],
        integers: NDArray[np.int64],
        *,
        public: PublicRandomness | None = None,
        clients: Sequence[int] = (),
    ) -> "ErrorFeedback":
        """Give the residual of the next round: ``corrected`` minus what the server will decode of ``integers``.

        Call it only if the site was among the survivors; otherwise keep ``corrected`` by ``missed``.

        Raises:
            InputError: integers that the codec did not make.
        """
        sent = self.codec.decode(integers, 1, public=public, clients=clients)
        if corrected.shape != sent.shape:
            raise InputError(f"the corrected update has shape {corrected.shape}, the codec's is {sent.shape}")
        return ErrorFeedback(corrected - sent, self.codec, self.privacy_unit)

    def missed(self, corrected: NDArray[np.float64]) -> "ErrorFeedback":
        """Give the residual after a round that went on without this site: all of it is left over."""
        return ErrorFeedback(corrected, self.codec, self.privacy_unit)

    def step(
        self,
        update: FloatVector,
        stream: RandomStream = SYSTEM_STREAM,
        *,
        public: PublicRandomness | None = None,
        client: int | None = None,
    ) -> tuple[NDArray[np.int64], "ErrorFeedback"]:
        """Correct and encode one update; give its integers, and the next residual if they are included."""
        corrected = self.correct(update)
        integers = self.codec.encode(corrected, stream, public=public, client=client)
        clients = () if client is None else (client,)
        return integers, self.after(corrected, integers, public=public, clients=clients)
