"""A site in a private round: charge first, draw the noise, and only then touch data.

What leaves the site is one vector of integers with noise in it (the vector `UPDATE`); whatever the data hold, nothing
is refused because of them and nothing else depends on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

import quant
from protocols import Entropy, Secret
from protocols.primitives.prg import AesCtrStream
from secagg.config import UPDATE, RoundConfig
from secagg.contribution import Contribution
from secagg.errors import UsageError
from secagg.feedback import SiteResidual
from secagg.privacy import PatientUpdates, PrivacyTerms, SitePrivacy, Unit
from secagg.privacy.site import draw_noise

PrivateUpdate = quant.Update | PatientUpdates | Callable[[], quant.Update | PatientUpdates]


def check_site(config: RoundConfig, site: SitePrivacy | None) -> PrivacyTerms | None:
    """Let a site review a round before anything is sent; gives the terms, or ``None`` if the round is not private.

    Raises:
        UsageError: a private round without the site's ledger and policy, or these without a private round.
        PrivacyRefused: every broken rule, P1 to P11.
    """
    terms = config.privacy_terms
    if (terms is None) != (site is None):
        if terms is None:
            raise UsageError("this round is not private: a site that insists on privacy must not take part")
        raise UsageError("this round is private: give the site privacy=SitePrivacy(ledger, policy, cohort)")
    if terms is not None and site is not None:
        site.review(terms)
    return terms


def release_id(config: RoundConfig) -> str:
    """Name the release in the ledger: study, round, attempt."""
    return f"{config.study}/{config.round_index}/{config.attempt}"


def check_kind(config: RoundConfig, update: PrivateUpdate) -> None:
    """Refuse another kind or length of update than the round's, before anything is charged for it.

    Raises:
        UsageError: naming what the round takes.
    """
    patients = config.privacy is not None and config.privacy.unit is Unit.PATIENT
    if callable(update):
        return
    if patients != isinstance(update, PatientUpdates):
        raise UsageError("unit patient takes PatientUpdates, one vector per patient; unit site takes one update")
    if isinstance(update, PatientUpdates) and update.dim != config.layout.dim:
        raise UsageError(f"this round adds up vectors of {config.layout.dim} coordinates, not {update.dim}")


def charge(config: RoundConfig, terms: PrivacyTerms, site: SitePrivacy, model_hash: bytes) -> None:
    """Charge this round's release to the site's ledger, on disk, once.

    Raises:
        PrivacyRefused, BudgetExhausted, LedgerError: see ``SitePrivacy.charge``.
    """
    digest = hashlib.sha256(config.params.hash() + model_hash).digest()
    site.charge(terms, release_id(config), digest)


def noise(config: RoundConfig, entropy: Entropy, seeds: tuple[Secret, ...]) -> NDArray[np.int64]:
    """Draw the noise of one site: int64 of shape (encoded_dim,). Call it before data is touched."""
    if config.privacy is None:
        raise UsageError("this round is not private: there is no noise to draw")
    sharing = config.privacy.sharing(len(config.clients))
    return draw_noise(sharing, config.codec.facts.encoded_dim, entropy, seeds)


def encode_noised(
    config: RoundConfig,
    update: PrivateUpdate,
    drawn: NDArray[np.int64],
    entropy: Entropy,
    *,
    public: quant.PublicRandomness | None = None,
    client: int | None = None,
    residual: SiteResidual | None = None,
) -> Contribution:
    """Put an update on the grid and add the noise that was drawn before.

    Unit patient: see ``secagg.privacy.patients``. Unit site: an update with NaN or infinity counts as zero.

    Args:
        config: a private round.
        update: `PatientUpdates` for unit patient, an update of the round's layout for unit site; or what gives it.
        drawn: of `noise`, overwritten.
        entropy: for the coins of the rounding.
        public: the round's joint randomness, if its quantization needs any.
        client: this site's id.
        residual: with error feedback (unit site), what the site kept of earlier rounds; it enters before the clip.

    Raises:
        UsageError: not the kind of update that the unit asks for.
        quant.InputError: an update of another layout.
    """
    coins = AesCtrStream(entropy.take(32, "rounding"))
    given = update() if callable(update) else update
    if config.privacy is None or callable(given):
        raise UsageError("a private round takes an update, or a function that gives one")
    check_kind(config, given)
    if isinstance(given, PatientUpdates):
        grid = config.privacy.grid(config.codec)
        drawn += grid.release(grid.total(given), coins, public)
    else:
        whole = _finite(config.layout.flatten(given, refuse=False))
        if residual is not None:
            with np.errstate(over="ignore"):
                whole = _finite(residual.add_to(whole))
        integers = config.codec.encode(whole, coins, public=public, client=client)
        if residual is not None:
            sent = config.codec.decode(integers, 1, public=public, clients=() if client is None else (client,))
            residual = residual.after(whole, sent, 1.0)
        drawn += integers
    return Contribution(drawn, 0, {UPDATE: config.lanes.fold(drawn)}, residual, noised=True)


def _finite(update: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float32] | NDArray[np.float64]:
    """Give the update, or zeros if it holds NaN or infinity: an error would tell."""
    return update if np.isfinite(update).all() else np.zeros_like(update)
