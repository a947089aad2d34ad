"""The one engine: float updates in, bytes out, on both sides; no sockets, files, clocks or threads.

Everything that runs rounds (the in-process call, the demo, adapters for FL stacks) drives these two classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from protocols import Entropy, LocalProtocolError, Secret, SystemEntropy
from protocols.pairwise import Accumulator, Client, Ledger, LocalPolicy, Relay, Roster, Server, states
from protocols.pairwise.server import Apply
from protocols.pairwise.steps import Outbound, Status
from protocols.pairwise.validation import check_model
from secagg.config import RoundConfig
from secagg.contribution import Contribution, encode, extras
from secagg.errors import UsageError
from secagg.feedback import SiteResidual
from secagg.noised import PrivateUpdate, charge, check_kind, check_site, encode_noised, noise
from secagg.opened import Opened, open_sums
from secagg.privacy import PatientUpdates, PrivacyTerms, SitePrivacy
from secagg.public import JointRandomness


class ClientSession:
    """One site in one round: quantizes its update, masks it, and answers the server.

    Drive it so: send ``start()``; feed every frame from the server to ``receive`` and send what comes back; when
    ``wants_input`` is true, hand the update to ``submit`` and send its frames.

    Args:
        config: the round.
        client: this site's id.
        policy: what this site insists on, whatever the server proposes.
        identity: 32-byte Ed25519 secret of the roster identity, against an active server.
        ledger: what this site remembers from round to round; of this round only by default.
        data_version: the site's own name for the state of its data.
        entropy: the operating system's unless a test hands in its own.
        residual: with error feedback, what the site kept of earlier rounds; nothing by default.
        privacy: in a private round, what decides whether this site's data are used: its privacy ledger, its policy,
            its cohort. Nothing is sent before they have reviewed the round.

    Raises:
        protocols.RemoteProtocolError: the policy refuses the round (rules C1 to C9).
        secagg.privacy.PrivacyRefused: the privacy policy refuses the round (rules P1 to P11).
        UsageError: a residual in a round without error feedback, or of another length; a private round without
            ``privacy``, or ``privacy`` in a round that is not.
    """

    def __init__(
        self,
        config: RoundConfig,
        client: int,
        *,
        policy: LocalPolicy | None = None,
        identity: Secret | None = None,
        ledger: Ledger | None = None,
        data_version: str = "",
        entropy: Entropy | None = None,
        residual: SiteResidual | None = None,
        privacy: SitePrivacy | None = None,
    ) -> None:
        self._config = config
        self._client = client
        self._entropy = entropy or SystemEntropy()
        self._keep(residual)
        self._terms, self._privacy = check_site(config, privacy), privacy
        self._machine = Client(
            config.params,
            policy or LocalPolicy(),
            client,
            identity=identity,
            ledger=ledger,
            data_version=data_version,
            entropy=self._entropy,
        )

    def _keep(self, residual: SiteResidual | None) -> None:
        """Begin with what the site kept of earlier rounds."""
        config = self._config
        self._residual = SiteResidual.checked(residual, config.codec) if config.error_feedback else None
        self._pending, self._sent = self._residual, False
        if residual is not None and self._residual is None:
            raise UsageError("this round has no error feedback: start its sites without a residual")

    def snapshot(self) -> bytes:
        """Encode the present state, secrets included, for this site's own disk."""
        return self._machine.snapshot()

    @classmethod
    def restore(
        cls,
        config: RoundConfig,
        client: int,
        data: bytes,
        *,
        ledger: Ledger,
        data_version: str = "",
        entropy: Entropy | None = None,
        residual: SiteResidual | None = None,
        privacy: SitePrivacy | None = None,
    ) -> ClientSession:
        """Continue from a snapshot, with the ledger as it is now, not as it was then.

        In a private round, an input that was charged is never computed again, with or without a snapshot: send the
        journalled frames again, or sit the round out.

        Raises:
            protocols.LocalProtocolError: not the snapshot of a client.
            UsageError: ``privacy`` in a round that is not private, or none in one that is.
        """
        session = cls.__new__(cls)
        session._config = config
        session._client = client
        session._entropy = entropy or SystemEntropy()
        session._keep(residual)
        session._terms, session._privacy = config.privacy_terms, privacy
        if (session._terms is None) != (privacy is None):
            raise UsageError("privacy=SitePrivacy(...) belongs to private rounds, and to all of them")
        session._machine = Client.restore(data, ledger=ledger, data_version=data_version, entropy=session._entropy)
        return session

    @property
    def over(self) -> bool:
        """Whether this site has nothing more to say in the round: it answered, or the round was aborted."""
        return isinstance(self._machine.state, states.Completed | states.Aborted)

    def start(self) -> bytes:
        """Return the first frame for the server."""
        return self._machine.start()

    def receive(self, data: bytes) -> tuple[bytes, ...]:
        """Take one frame from the server and return the frames to send back.

        Raises:
            protocols.RemoteProtocolError: the server broke a numbered rule; nothing is sent and nothing changes.
            protocols.LocalProtocolError: the frame is out of order.
        """
        return self._machine.receive(data)

    @property
    def wants_input(self) -> bool:
        """Whether the round waits for this site's update."""
        return self._machine.wants_input

    @property
    def has_sent_input(self) -> bool:
        """Whether the whole masked input was handed out (or the round is over)."""
        later = states.ExpectConsistencyCheckRequest | states.ExpectUnmaskingRequest
        return self.over or isinstance(self._machine.state, later)

    def prepare(
        self,
        update: PrivateUpdate,
        weight: int | None = None,
        counters: Mapping[str, int] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Contribution:
        """Put an update on the grid; see ``submit``, which also masks it.

        In a private round: charge the site's ledger, then draw the noise, then touch the update, which is
        ``PatientUpdates`` for unit patient. It may be a function, which is called only then. To be done once.

        Raises:
            protocols.LocalProtocolError: the quantization draws on the joint seed, which is known once input is wanted;
                so are the seeds of noise.
            secagg.privacy.BudgetExhausted: the site's budget ends before this round.
            secagg.privacy.LedgerError: this round was charged already: send the same bytes again, or nothing.
        """
        public = None
        if self._config.codec.public_labels:
            if not self.wants_input:
                raise LocalProtocolError("this quantization needs the joint seed: wait until the round wants input")
            public = JointRandomness(self._config.params.cipher_suite, self._machine.joint_seed)
        if self._terms is not None and self._privacy is not None:
            if weight is not None or counters or metrics:
                raise UsageError("a private round takes an update and nothing beside it")
            contribution = self._noised(update, self._terms, self._privacy, public)
            self._pending = contribution.residual
            return contribution
        if callable(update) or isinstance(update, PatientUpdates):
            raise UsageError("this round is not private: it takes an update of the round's layout")
        contribution = encode(
            self._config,
            update,
            weight,
            self._entropy,
            public=public,
            client=self._client,
            residual=self._residual,
        )
        beside = extras(self._config, counters=counters or {}, metrics=metrics or {}, weight=weight)
        contribution.vectors.update(beside)
        self._pending = contribution.residual
        return contribution

    def _noised(
        self,
        update: PrivateUpdate,
        terms: PrivacyTerms,
        site: SitePrivacy,
        public: JointRandomness | None,
    ) -> Contribution:
        """Charge, draw, encode; in this order."""
        state = self._machine.state
        if not isinstance(state, states.ExpectInput):
            raise LocalProtocolError("the round does not wait for an update of this client")
        check_kind(self._config, update)
        charge(self._config, terms, site, state.model_hash)
        drawn = noise(self._config, self._entropy, self._machine.noise_seeds)
        return encode_noised(
            self._config, update, drawn, self._entropy, public=public, client=self._client, residual=self._residual
        )

    @property
    def residual(self) -> SiteResidual | None:
        """With error feedback, what to keep for the next round; ask once the round is over for this site.

        If the site sent its input and never learned who survived, it takes itself for included: then an update may be
        lost, but nothing is said twice.
        """
        if self._pending is None:
            return None
        state = self._machine.state
        survivors = state.survivors if isinstance(state, states.Completed) else None
        missed = not self._sent or (survivors is not None and self._client not in survivors)
        return self._pending.missed() if missed else self._pending.included()

    def submit(
        self,
        update: PrivateUpdate | Contribution,
        model_hash: bytes,
        weight: int | None = None,
        counters: Mapping[str, int] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Iterator[bytes]:
        """Quantize, pack and mask an update; yields the frames to send, one chunk each.

        Args:
            update: of the round's layout (in a private round also ``PatientUpdates``, or a function that gives
                either), or what ``prepare`` made of one.
            model_hash: 32-byte hash of the model that this site trained.
            weight: this site's weight, an integer from 0 to ``max_weight``; required exactly in a weighted round.
            counters: this site's counters by name, exactly those of the round.
            metrics: this site's metrics by name, exactly those of the round.

        Raises:
            quant.InputError: an update that is not finite or not of the round's layout.
            secagg.UsageError: a weight in an unweighted round, or none in a weighted one.
            protocols.LocalProtocolError: the round does not wait for input.
            protocols.RemoteProtocolError: rule C20, the server speaks of another model.
        """
        if not self.wants_input:
            raise LocalProtocolError("the round does not wait for an update of this client")
        if isinstance(state := self._machine.state, states.ExpectInput):
            check_model(state.model_hash, model_hash)  # before anything is charged for it
        contribution = update if isinstance(update, Contribution) else self.prepare(update, weight, counters, metrics)
        if contribution.noised != (self._terms is not None):
            raise UsageError("a private round takes what prepare made of an update, noise included, and no other round")
        frames = self._machine.submit(contribution.vectors, model_hash)
        self._pending, self._sent = contribution.residual, True
        return frames


class ServerSession:
    """The server of one round: collects frames, advances when told, decodes the sum.

    Args:
        config: the round.
        model_hash: 32-byte hash of the model that the sites train; see also ``bind_model``.
        roster: identities, against an active server.
        accumulator: where masked inputs are added up; in memory by default.
        relay: where sealed shares wait to be passed on; in memory by default.
    """

    def __init__(
        self,
        config: RoundConfig,
        model_hash: bytes,
        *,
        roster: Roster | None = None,
        accumulator: Accumulator | None = None,
        relay: Relay | None = None,
    ) -> None:
        self._config = config
        self._machine = Server(config.params, model_hash, roster=roster, accumulator=accumulator, relay=relay)

    def receive(self, client: int, data: bytes) -> None:
        """Take one frame from ``client``.

        Raises:
            protocols.RemoteProtocolError: the client broke a numbered rule; the round goes on without the frame.
        """
        self._machine.receive(client, data)

    def bind_model(self, model_hash: bytes) -> None:
        """Name another model than at construction: for rounds whose keys are agreed before their model is known.

        Raises:
            protocols.LocalProtocolError: the shares were relayed already, and the model's hash with them.
        """
        self._machine.bind_model(model_hash)

    @property
    def status(self) -> Status:
        """Who is here, who is missing, how many are needed."""
        return self._machine.status

    def advance(self) -> Outbound:
        """End the present phase and return the frames to send, as (client id, bytes).

        Raises:
            protocols.LocalProtocolError: fewer clients are here than are needed.
            protocols.RemoteProtocolError: rule S10, a client dealt false shares; the sum is refused.
        """
        return self._machine.advance()

    def abort(self, reason: str) -> Outbound:
        """End the round without a sum and return the frames that tell the clients."""
        return self._machine.abort(reason)

    def result(self, apply: Apply = map, pieces: int = 1, *, elsewhere: bool = False) -> Opened:
        """Take the remaining masks off and decode the sum; once.

        Args:
            apply: runs a function over a list and gives the results in order, such as the ``map`` of a thread pool.
            pieces: into how many stretches each vector is cut for ``apply``.
            elsewhere: ``apply`` runs in other processes or on other machines, such as the ``map`` of a process pool or
                ``secagg.integrations.ray.ray_map``: masked sums and the keys of masks are sent there.

        Raises:
            protocols.LocalProtocolError: the round is not open.
            quant.InputError: every included weight is zero, so there is no mean.
        """
        sums = self._machine.result(apply, pieces, elsewhere=elsewhere)
        return open_sums(self._config, sums, self._machine.survivors, self.public, self._machine.revealed_noise)

    @property
    def public(self) -> JointRandomness:
        """The public streams of the round, once the sum is open; of no use in a round without a joint seed."""
        return JointRandomness(self._config.params.cipher_suite, self._machine.joint_seed)
