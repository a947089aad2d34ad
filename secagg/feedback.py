"""Error feedback at a site: what quantization left out of one round is said in the next.

The arithmetic and its guarantees are ``quant.ErrorFeedback``'s; here is what a session needs around it: weights, the
two ways in which a round can end for a site, and bytes to keep on the site's own disk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

import quant
from quant.vectors import FloatVector
from secagg.errors import UsageError


def check_feedback(codec: quant.UpdateCodec, unit: str | None = None) -> None:
    """Refuse what error feedback breaks.

    Args:
        codec: of the round.
        unit: the unit of differential privacy: ``None``, ``"site"`` or ``"client"``.

    Raises:
        quant.ConfigurationError: any other unit, such as ``"patient"`` (a residual carries a patient's influence into
            later rounds, where no clip bounds it), or a decoder that amplifies.
    """
    quant.ErrorFeedback.start(codec, unit)


@dataclass(frozen=True, eq=False)
class SiteResidual:
    """What one site has not said yet, in units of its own update; a value, never sent.

    Attributes:
        vector: float64 of shape (dim,); after an update was prepared, what is left over if it is *not* included.
        if_included: what is left over if the prepared update is included; ``None`` while there is none.
    """

    vector: NDArray[np.float64]
    if_included: NDArray[np.float64] | None = None

    @classmethod
    def start(cls, dim: int) -> SiteResidual:
        """Begin with nothing left over."""
        return cls(np.zeros(dim))

    @classmethod
    def checked(cls, residual: SiteResidual | None, codec: quant.UpdateCodec) -> SiteResidual:
        """Give ``residual``, or an empty one, for a round with this codec.

        Raises:
            UsageError: a residual of another length.
        """
        if residual is None:
            return cls.start(codec.facts.dim)
        if residual.vector.shape != (codec.facts.dim,):
            raise UsageError(f"a residual of shape {residual.vector.shape} is not of updates of {codec.facts.dim}")
        return residual

    def add_to(self, update: FloatVector) -> NDArray[np.float64]:
        """Give the corrected update, to be clipped, weighed and encoded: float64 of shape (dim,)."""
        return update.astype(np.float64) + self.vector

    def after(self, corrected: FloatVector, sent: NDArray[np.float64], share: float) -> SiteResidual:
        """Give both ways on, once ``corrected`` was encoded.

        Args:
            corrected: what ``add_to`` gave.
            sent: what the server decodes of this site's integers alone.
            share: the factor by which the update was weighed; with 0 nothing was said, and all of it is left over.
        """
        whole = corrected.astype(np.float64)
        return SiteResidual(whole, whole - sent / share if share > 0 else whole)

    def included(self) -> SiteResidual:
        """Give the residual after a round whose sum has this site's update (or after one that it sat out)."""
        return self if self.if_included is None else SiteResidual(self.if_included)

    def missed(self) -> SiteResidual:
        """Give the residual after a round that went on without this site's update: all of it is left over."""
        return replace(self, if_included=None)

    def to_bytes(self) -> bytes:
        """Encode for the site's own disk: it tells of the site's data, so keep it where the data is kept."""
        return self.included().vector.astype("<f8").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> SiteResidual:
        """Read what ``to_bytes`` wrote.

        Raises:
            UsageError: bytes that are no vector of finite float64.
        """
        if len(data) % 8:
            raise UsageError(f"{len(data)} bytes are no residual: 8 bytes a coordinate")
        vector = np.frombuffer(data, dtype="<f8").astype(np.float64)
        if not np.isfinite(vector).all():
            raise UsageError("a residual holds NaN or infinity: start again without one")
        return cls(vector)
