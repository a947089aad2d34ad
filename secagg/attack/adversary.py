"""A server that says what it likes to whom it likes, remembers every answer, and computes what follows from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from protocols import Secret, SystemEntropy
from protocols.pairwise import Client, masking, noise, share_keys
from protocols.pairwise import messages as m
from protocols.pairwise import validation as check
from protocols.pairwise.advertise_keys import session_id
from protocols.pairwise.reveal_randomness import graph_of, joint_seed
from protocols.primitives import aead, bitpack, shamir
from secagg.attack.cohort import MODEL, Cohort, Vectors, identity
from secagg.attack.network import inside, read_frame

Shares = dict[int, dict[int, int]]
"""Dealer to holder to share."""


class AttackFailedError(Exception):
    """The attacker did everything it wanted and still does not hold the prize."""


class Puppet:
    """Somebody that the server invented: it holds both key pairs of a directory entry."""

    def __init__(self, client: int) -> None:
        self.client = client
        source = SystemEntropy()
        self.enc_secret, self.mask_secret = source.take(32, "enc-key"), source.take(32, "mask-key")


class Attacker:
    """The server's side of the wire in the hands of an adversary.

    Everything goes through the clients' real machines: what they refuse, raises here.

    Args:
        cohort: the round, with its honest inputs.
        clients: machines by id (default: honest ones for everybody in the cohort).
        colluders: ids whose machines the attacker may also look into.

    Attributes:
        directory: what each client was told, by client.
        masked: the masked inputs that arrived.
        self_shares, key_shares: shares of self-mask seeds and of mask keys, by dealer and holder.
        noise_shares: shares of links of noise, by (dealer, number) and holder.
        mask_secrets: mask keys that the attacker knows without shares.
        agreed: what a victim agrees on with a peer, where that is known without any key.
    """

    def __init__(
        self, cohort: Cohort, *, clients: Mapping[int, Client] | None = None, colluders: Sequence[int] = ()
    ) -> None:
        self.cohort, self.params = cohort, cohort.params
        self.cipher = cohort.params.cipher_suite
        self.clients = dict(cohort.clients() if clients is None else clients)
        self.colluders = tuple(colluders)
        self.advertised: dict[int, m.AdvertiseKeys] = {}
        self.directory: dict[int, tuple[m.AdvertisedKeys, ...]] = {}
        self.parts: dict[int, bytes] = {}
        self.shown_parts: dict[int, tuple[m.RevealedPart, ...]] = {}
        self.dealt: dict[int, m.ShareKeys] = {}
        self.shared: dict[int, tuple[int, ...]] = {}
        self.models = dict.fromkeys(self.clients, MODEL)
        self.masked: dict[int, Vectors] = {}
        self.signatures: dict[int, bytes] = {}
        self.self_shares: Shares = defaultdict(dict)
        self.key_shares: Shares = defaultdict(dict)
        self.noise_shares: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        self.mask_secrets: dict[int, bytes] = {}
        self.agreed: dict[int, bytes] = {}

    # -- talking ---------------------------------------------------------------------------------------------------

    def session(self, client: int) -> bytes:
        """The session that ``client`` believes to be in."""
        return session_id(self.params, self.directory[client])

    def tell(self, client: int, message: Any) -> tuple[bytes, ...]:
        """Send ``message`` to a client in its own context and return its answers."""
        early = isinstance(message, m.ShareKeysRequest | m.RevealRandomnessRequest | m.Abort)
        context = self.params.hash() if early else self.session(client)
        return self.clients[client].receive(m.CODEC.encode(context, message))

    def advertise(self) -> None:
        """Hear everybody's keys."""
        for client, machine in self.clients.items():
            self.advertised[client] = read_frame(machine.start())[1]

    def entries(self) -> tuple[m.AdvertisedKeys, ...]:
        """The honest directory."""
        return tuple(
            m.AdvertisedKeys(client, keys.enc_key, keys.mask_key, keys.commitment, keys.signature)
            for client, keys in sorted(self.advertised.items())
        )

    def send_directory(self, client: int, directory: tuple[m.AdvertisedKeys, ...] | None = None) -> None:
        """Show a directory and hear what comes: the shares that are dealt, or the part of a joint seed."""
        self.directory[client] = self.entries() if directory is None else directory
        if self.params.sparse:
            (answer,) = self.tell(client, m.RevealRandomnessRequest(self.directory[client]))
            self.parts[client] = read_frame(answer)[1].part
            return
        (answer,) = self.tell(client, m.ShareKeysRequest(self.directory[client]))
        self.dealt[client] = read_frame(answer)[1]

    def revealed(self, **instead: bytes) -> tuple[m.RevealedPart, ...]:
        """All parts of the joint seed; ``c7=...`` puts another in the place of client 7's."""
        return tuple(
            m.RevealedPart(client, instead.get(f"c{client}", part)) for client, part in sorted(self.parts.items())
        )

    def send_parts(self, client: int, parts: tuple[m.RevealedPart, ...] | None = None) -> None:
        """Sparse graph: show the parts of the joint seed and hear the shares that are dealt."""
        self.shown_parts[client] = self.revealed() if parts is None else parts
        (answer,) = self.tell(client, m.NeighboursRequest(self.shown_parts[client]))
        self.dealt[client] = read_frame(answer)[1]

    def neighbours(self, client: int) -> tuple[int, ...]:
        """With whom ``client`` shares keys and masks, as far as it was told."""
        members = tuple(entry.client for entry in self.directory[client])
        if not self.params.sparse:
            return tuple(sorted(set(members) - {client}))
        seed = joint_seed(self.params, self.session(client), self.shown_parts[client])
        return graph_of(self.params, members, seed).build().neighbours(client)

    def relay(self, holder: int, dealers: Sequence[int]) -> tuple[m.RelayedShares, ...]:
        """What these dealers dealt to ``holder``, as an honest server passes it on."""
        found = []
        for dealer in dealers:
            (entry,) = [entry for entry in self.dealt[dealer].dealt if entry.holder == holder]
            found.append(share_keys.relayed_entry(dealer, self.dealt[dealer], entry))
        return tuple(found)

    def send_shares(
        self,
        client: int,
        shared: Sequence[int] | None = None,
        relayed: tuple[m.RelayedShares, ...] | None = None,
        model: bytes = MODEL,
    ) -> None:
        """Name the clients that shared keys and pass their shares on (default: the honest lists)."""
        everybody = tuple(sorted(self.dealt)) if shared is None else tuple(shared)
        if relayed is None:
            near = self.neighbours(client)
            relayed = self.relay(client, [other for other in everybody if other in self.dealt and other in near])
        self.shared[client] = everybody
        self.tell(client, m.MaskedInputRequest(everybody, relayed, (), model))

    def hear_input(self, client: int) -> None:
        """Let the client submit its input, and keep what comes."""
        masked = {spec.name: np.zeros(spec.length, dtype=np.uint64) for spec in self.params.vectors}
        for frame in self.clients[client].submit(self.cohort.inputs[client], self.models[client]):
            chunk = read_frame(frame)[1]
            spec = self.params.vectors[chunk.vector]
            stop = spec.chunk_end(chunk.offset)
            masked[spec.name][chunk.offset : stop] = bitpack.unpack(chunk.payload, stop - chunk.offset, spec.bits)
        self.masked[client] = masked

    def send_survivors(self, client: int, survivors: Sequence[int]) -> None:
        """Ask for a signature on a survivor list; nothing to do where rounds have no signatures."""
        if self.cohort.variant.active:
            (answer,) = self.tell(client, m.ConsistencyCheckRequest(tuple(survivors)))
            self.signatures[client] = read_frame(answer)[1].signature

    def send_unmasking(
        self,
        client: int,
        survivors: Sequence[int],
        dropped: Sequence[int],
        signers: Sequence[int] | None = None,
    ) -> None:
        """Put an unmasking question, with the signatures collected from ``signers``, and keep the shares."""
        if signers is None:
            signers = sorted(set(survivors) & self.signatures.keys())
        signed = tuple(m.SurvivorSignature(signer, self.signatures[signer]) for signer in signers)
        (answer,) = self.tell(client, m.UnmaskingRequest(tuple(survivors), tuple(dropped), signed))
        self.keep_shares(client, read_frame(answer)[1], survivors)

    def keep_shares(self, holder: int, answer: m.Unmasking, survivors: Sequence[int]) -> None:
        """Remember what an answer to a question about ``survivors`` reveals."""
        for found, entries in (
            (self.self_shares, answer.self_mask_shares),
            (self.key_shares, answer.mask_key_shares),
        ):
            for entry in entries:
                found[entry.dealer][holder] = shamir.decode_element(entry.share)
        number = noise.first_removed(self.params, survivors) or 0
        for revealed in answer.noise_shares:
            self.noise_shares[revealed.dealer, number][holder] = shamir.decode_element(revealed.share)

    # -- whole phases, honestly ------------------------------------------------------------------------------------

    def reach_shares(self) -> Attacker:
        """Behave until everybody has dealt its shares."""
        self.advertise()
        for client in self.clients:
            self.send_directory(client)
        for client in self.clients if self.params.sparse else ():
            self.send_parts(client)
        return self

    def reach_inputs(self) -> Attacker:
        """Behave until everybody has sent its masked input."""
        self.reach_shares()
        for client in self.clients:
            self.send_shares(client)
            self.hear_input(client)
        return self

    def loot_colluders(self) -> None:
        """Take the shares that colluders hold, of both kinds, from their machines."""
        for client in self.colluders:
            for dealer, pair in inside(self.clients[client]).held_shares.items():
                value = pair.reveal()
                self.self_shares[dealer][client] = shamir.decode_element(value[: shamir.ELEMENT_BYTES])
                self.key_shares[dealer][client] = shamir.decode_element(
                    value[shamir.ELEMENT_BYTES : 2 * shamir.ELEMENT_BYTES]
                )

    def sign_as_colluders(self, survivors: Sequence[int]) -> dict[int, bytes]:
        """Signatures of the colluders on any list: they sign whatever is asked of them."""
        made = {}
        for client in self.colluders:
            statement = (self.session(client), MODEL, tuple(survivors))
            made[client] = self.cipher.sign(identity(client), "survivors", *statement)
        return made

    # -- computing -------------------------------------------------------------------------------------------------

    def self_mask_seed(self, victim: int) -> Secret:
        """The self-mask seed of ``victim``, from t shares."""
        return self._open(self.self_shares[victim], f"the self-mask seed of client {victim}")

    def mask_secret(self, client: int) -> bytes:
        """The secret mask key of ``client``: known, or from t shares."""
        if client in self.mask_secrets:
            return self.mask_secrets[client]
        return self._open(self.key_shares[client], f"the mask key of client {client}").reveal()

    def _open(self, shares: Mapping[int, int], what: str) -> Secret:
        try:
            return Secret(shamir.reconstruct(shares, self.params.threshold))
        except shamir.ReconstructionError as error:
            raise AttackFailedError(f"{what}: {error}") from None

    def noise_chain(self, victim: int, number: int) -> noise.Chain:
        """The links of the victim's noise from ``number`` on, from t shares; they end where its commitment says."""
        link = self._open(self.noise_shares[victim, number], f"link {number} of the noise of client {victim}")
        about = (self.cipher, self.session(victim), victim)
        chain = noise.Chain(*about, number, self.params.noise_components, link)
        if chain.commitment() != self.dealt[victim].noise_commitment:
            raise AttackFailedError("what was opened is no link of the victim's noise")
        return chain

    def pairwise_seed(self, victim: int, peer: int) -> Secret:
        """The seed of a pair, from either end's mask key."""
        keys = {entry.client: entry.mask_key for entry in self.directory[victim]}
        if peer in self.agreed:
            return masking.pairwise_seed(self.cipher, self.session(victim), self.agreed[peer], victim, peer)
        try:
            agreed = self.cipher.agreement.load(self.mask_secret(victim)).initiated(keys[peer])
        except AttackFailedError:
            agreed = self.cipher.agreement.load(self.mask_secret(peer)).initiated(self.advertised[victim].mask_key)
        return masking.pairwise_seed(self.cipher, self.session(victim), agreed, victim, peer)

    def recover(self, victim: int) -> Vectors:
        """The victim's own input, from its masked input and all its masks."""
        return self.unmask(victim, [masking.self_mask(victim, self.self_mask_seed(victim)), *self.pairwise(victim)])

    def pairwise(self, victim: int) -> list[masking.MaskTerm]:
        """All pairwise masks in the victim's masked input."""
        return [
            masking.pairwise_mask(victim, peer, self.pairwise_seed(victim, peer))
            for peer in self.neighbours(victim)
            if peer in self.shared[victim]
        ]

    def recover_sum(self, survivors: Sequence[int], dropped: Sequence[int]) -> Vectors:
        """The sum over ``survivors``: self masks and masks with the dropped come off, the others had better cancel."""
        total = {spec.name: np.zeros(spec.length, dtype=np.uint64) for spec in self.params.vectors}
        for client in survivors:
            terms = [masking.self_mask(client, self.self_mask_seed(client))]
            near = set(self.neighbours(client)) & set(dropped)
            terms += [masking.pairwise_mask(client, lost, self.pairwise_seed(client, lost)) for lost in near]
            for name, values in self.unmask(client, terms).items():
                total[name] += values
        return {spec.name: total[spec.name] & np.uint64(spec.modulus - 1) for spec in self.params.vectors}

    def unmask(self, client: int, terms: Sequence[masking.MaskTerm]) -> Vectors:
        """Take masks off the masked input of ``client``."""
        context = masking.MaskContext(self.cipher, self.session(client), self.models[client])
        opened = {}
        for spec in self.params.vectors:
            plain = self.masked[client][spec.name].copy()
            masking.add_masks(plain, spec, 0, [term.negated() for term in terms], context)
            opened[spec.name] = plain & np.uint64(spec.modulus - 1)
        return opened

    # -- puppets ---------------------------------------------------------------------------------------------------

    def puppet_entry(self, puppet: Puppet, signature: bytes | None = None) -> m.AdvertisedKeys:
        """The directory entry of an invented client; its signature is whatever the attacker can make."""
        load = self.cipher.agreement.load
        if signature is None:
            signature = bytes(64) if self.cohort.variant.active else b""
        enc_key, mask_key = load(puppet.enc_secret).public_key(), load(puppet.mask_secret).public_key()
        self.mask_secrets[puppet.client] = puppet.mask_secret
        return m.AdvertisedKeys(puppet.client, enc_key, mask_key, b"", signature)

    def read_shares_as(self, puppet: Puppet, dealer: int) -> None:
        """Open what ``dealer`` sealed for a puppet."""
        (entry,) = [entry for entry in self.dealt[dealer].dealt if entry.holder == puppet.client]
        pair = open_pair(self, puppet, dealer, entry.sealed)
        self.self_shares[dealer][puppet.client] = shamir.decode_element(pair.self_mask_share)
        self.key_shares[dealer][puppet.client] = shamir.decode_element(pair.mask_key_share)

    def puppet_shares(self, puppet: Puppet, holder: int) -> m.RelayedShares:
        """Made-up shares that a puppet deals to ``holder``, sealed and published as they should be."""
        session = self.session(holder)
        pair = m.SharePair(puppet.client, holder, shamir.encode_element(5), shamir.encode_element(7), b"")
        agreed = self.cipher.agreement.load(puppet.enc_secret).initiated(self.advertised[holder].enc_key)
        key = share_keys.channel_key(self.cipher, agreed, session, puppet.client, holder)
        associated = share_keys.associated_data(self.cipher, session, puppet.client, holder)
        sealed = aead.seal(key.reveal(), msgspec.msgpack.encode(pair), associated, SystemEntropy())
        hashes = check.share_hashes(self.cipher, session, pair)
        signature = bytes(64) if self.cohort.variant.active else b""
        return m.RelayedShares(puppet.client, bytes(32), b"", b"", sealed, *hashes, signature)


def open_pair(attacker: Attacker, puppet: Puppet, dealer: int, sealed: bytes) -> m.SharePair:
    """Open a sealed pair with the secret enc key of its holder."""
    session = attacker.session(dealer)
    agreed = attacker.cipher.agreement.load(puppet.enc_secret).initiated(attacker.advertised[dealer].enc_key)
    key = share_keys.channel_key(attacker.cipher, agreed, session, dealer, puppet.client)
    associated = share_keys.associated_data(attacker.cipher, session, dealer, puppet.client)
    return msgspec.msgpack.decode(aead.open_sealed(key.reveal(), sealed, associated), type=m.SharePair)


def same(found: Vectors, expected: Vectors) -> None:
    """The prize: these vectors, exactly.

    Raises:
        AttackFailedError: other vectors.
    """
    if found.keys() != expected.keys() or any(
        not np.array_equal(found[name], values) for name, values in expected.items()
    ):
        raise AttackFailedError("what was computed is not the victim's vector")
