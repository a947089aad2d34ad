"""A job of FLARE's Collab API: derive a server and a site, and hand both to ``CollabRecipe``.

class Server(SecureServer):
def initial_model(self): return {"w": np.zeros(1000, np.float32)}

class Hospital(SecureSite):
def train(self, model): return Trained(fit(model), examples=420)

CollabRecipe("study", server=Server(rounds=10, max_examples=500), client=Hospital(), min_clients=5)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nvflare.collab import collab

from protocols import Secret
from protocols.pairwise import LocalPolicy, Roster
from protocols.primitives import signing
from secagg.errors import RoundRefused, UsageError
from secagg.integrations.letters import read_answer, read_letters, write_letters
from secagg.integrations.member import MemberRounds, own_ledger
from secagg.integrations.parcel import Mail, merge
from secagg.integrations.training import Model, ModelRounds, Terms, Trained, contribute
from secagg.privacy import RoundPrivacy, SitePrivacy

LOG = logging.getLogger("secagg.nvflare")


class SecureSite:
    """A site that answers only inside secure sums. Override ``train``, and ``policy`` and ``identity`` where needed."""

    def __init__(self) -> None:
        self._store: dict[str, bytes] = {}
        self._one_at_a_time = threading.Lock()

    def train(self, model: Model) -> Trained:
        """Train on the received model."""
        raise NotImplementedError

    def policy(self) -> LocalPolicy:
        """Return what this site insists on."""
        return LocalPolicy()

    def identity(self) -> Secret | None:
        """Return the 32-byte Ed25519 secret of this site's identity on the roster, against an active server."""
        return None

    def privacy(self) -> SitePrivacy | None:
        """Return this site's privacy ledger and policy, for private rounds; then it takes part in no others."""
        return None

    def folder(self) -> Path | None:
        """Return a folder of this site's own, where what it said outlives the job; needed against an active server."""
        return None

    def check_caller(self) -> None:
        """Refuse a call that is not the server's: FLARE lets sites call each other, and a site is no server.

        Raises:
            UsageError: naming the site that called.
        """
        if collab.caller != collab.server.name:
            raise UsageError(f"only the server asks for parts of sums, and this call is of {collab.caller}")

    @collab.publish
    def secagg_member(self) -> int:
        """Tell which member of the roster this site is."""
        self.check_caller()
        identity, roster = self.identity(), self.policy().roster
        if identity is None or roster is None:
            raise UsageError("the server wants members of a roster: override identity, and policy with a roster")
        key = signing.public_key(identity.reveal())
        return next(client for client, known in roster.members if known == key)

    @collab.publish
    def secagg_step(self, letters: list[Any], model: dict[str, Any]) -> list[Any]:
        """Answer parcels; train where a round waits for this site's update.

        FLARE answers calls in threads of their own: two at once would start from the same state.
        """
        self.check_caller()
        policy, folder = self.policy(), self.folder()
        if policy.adversary == "active" and folder is None:
            raise UsageError(
                "an active server starts its job again, and the site forgets what it said: override folder"
            )
        with self._one_at_a_time, own_ledger(folder) as ledger:
            return self._answer(
                MemberRounds(self._store, policy, self.identity(), self.privacy(), ledger), letters, model
            )

    def _answer(self, rounds: MemberRounds, letters: list[Any], model: dict[str, Any]) -> list[Any]:
        parcels = read_letters(letters)
        answers = rounds.answer_all(parcels)
        for place, parcel in enumerate(parcels):
            if rounds.waiting(parcel.round):
                try:
                    answers[place], saturated = contribute(rounds, parcel.round, model, self.train)
                except Exception:
                    # The site leaves this round, not the next one. What went wrong may tell of data: it stays here.
                    LOG.exception("round %s goes on without this site", parcel.round)
                    continue
                if saturated:
                    LOG.warning("%d coordinates lay beyond the range of the quantization and were cut", saturated)
        rounds.save()
        return write_letters(answers)


class SecureServer:
    """The server of a study. Override ``initial_model``, and ``round_done`` to look at each new model.

    Args:
        rounds: rounds of the study.
        max_examples: public upper bound on a site's number of examples; ``None`` weighs all sites the same.
        quantization: keys of ``quant.presets`` for the difference that training makes.
        metrics: name -> bound of the metrics whose weighted means are opened.
        include: names of the arrays to aggregate.
        threshold: least number of sites that must stay; by default floor(2n/3) + 1.
        adversary: ``"curious"`` or ``"active"``; the latter with members of a roster (see ``roster``).
        colluders: how many sites may collude with the server.
        study: name bound into all rounds.
        timeout: seconds to wait for sites.
        workers: threads that take off masks.
    """

    def __init__(
        self,
        rounds: int = 1,
        max_examples: int | None = None,
        quantization: dict[str, Any] | None = None,
        metrics: dict[str, float] | None = None,
        include: str | None = None,
        threshold: int | None = None,
        adversary: str = "curious",
        colluders: int = 1,
        study: str = "study",
        timeout: float = 600.0,
        workers: int = 1,
    ) -> None:
        self.rounds, self.max_examples, self.quantization, self.metrics = rounds, max_examples, quantization, metrics
        self.include, self.threshold, self.adversary, self.colluders = include, threshold, adversary, colluders
        self.study, self.timeout, self.workers = study, timeout, workers

    def initial_model(self) -> Model:
        """Return the first model, numpy arrays by name."""
        raise NotImplementedError

    def roster(self) -> Roster | None:
        """Return the identities of the members, against an active server."""
        return None

    def privacy(self) -> RoundPrivacy | None:
        """Return what makes the rounds private, for unit site; see ``secagg.privacy.fit``."""
        return None

    def round_done(self, index: int, model: Model, metrics: Mapping[str, float], included: tuple[int, ...]) -> None:
        """Look at the model after round ``index`` (from 0), at the mean metrics, and at whose updates are in it."""

    @collab.main
    def run(self) -> None:
        """Run all rounds; one that fails leaves the model as it was."""
        sites = {site.name: site for site in collab.clients}
        names = self._members(sites)
        rounds = ModelRounds(self._terms(), self.initial_model(), lambda mail: self._exchange(mail, names, sites, {}))
        for index in range(self.rounds):
            try:
                requests = rounds.series.begin(index, names, rounds.model_hash())
                if index + 1 < self.rounds:
                    requests = merge(requests, rounds.series.prepare(index + 1, names))
                rounds.series.take(self._exchange(requests, names, sites, dict(rounds.model)))
                rounds.finish()
            except RoundRefused as error:
                LOG.error("round %d: %s", index, error)
                continue
            self.round_done(index, rounds.model, rounds.metrics, rounds.included)

    def _terms(self) -> Terms:
        if self.adversary not in ("curious", "active"):
            raise UsageError(f"adversary is 'curious' or 'active', not {self.adversary!r}")
        return Terms(
            self.max_examples,
            self.quantization or {"bits": 16},
            self.metrics or {},
            self.include,
            self.threshold,
            "active" if self.adversary == "active" else "curious",
            self.roster(),
            self.colluders,
            self.study,
            self.workers,
            self.privacy(),
        )

    def _members(self, sites: Mapping[str, Any]) -> dict[int, str]:
        """Return the sites by client id: in the order of their names, or as the roster has them."""
        if self.roster() is None:
            return dict(enumerate(sorted(sites), start=1))
        members: dict[int, str] = {}
        for name, member in collab.clients(timeout=self.timeout).secagg_member():
            if not isinstance(member, int) or member in members:
                LOG.warning("site %s says it is member %r, which no other site may be: it is left out", name, member)
                continue
            members[member] = name
        return members

    def _exchange(self, mail: Mail, names: Mapping[int, str], sites: Mapping[str, Any], model: Model) -> Mail:
        """Call every site with its own parcels, all at the same time; who fails is missing from the result."""
        waiting = {}
        for client, parcels in mail.items():
            group = type(collab.clients)([sites[names[client]]])
            call = group(blocking=False, timeout=self.timeout)
            waiting[client] = call.secagg_step(write_letters(parcels), model)
        replies: Mail = {}
        for client, results in waiting.items():
            for _, letters in results:
                replies[client] = read_answer(client, letters)
        return replies
