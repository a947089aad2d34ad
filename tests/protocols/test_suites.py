"""The suite registry has room for a KEM: a hybrid of X25519 and ML-KEM-768 runs whole rounds on a test code point."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

from protocols import Entropy, ParameterError, RemoteProtocolError, suites
from protocols.pairwise import Client, LocalPolicy, RoundParams, Server, VectorSpec
from protocols.primitives import key_agreement
from protocols.primitives.kdf import hkdf_sha256

TEST_CODE = 0xFF02
KEM_PUBLIC, KEM_CIPHERTEXT = 1184, 1088
MODEL = bytes(range(32))


class HybridKey:
    """Both secrets come from one of 32 bytes, so Shamir shares of it reconstruct both."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._dh = key_agreement.PrivateKey(hkdf_sha256(secret, info=b"x25519"))
        self._kem = MLKEM768PrivateKey.from_seed_bytes(hkdf_sha256(secret, info=b"ml-kem", length=64))

    def public_key(self) -> bytes:
        return self._dh.public_key() + self._kem.public_key().public_bytes_raw()

    def offer(self, public: bytes, entropy: Entropy) -> bytes:
        del entropy  # the library draws for itself
        shared, ciphertext = MLKEM768PublicKey.from_public_bytes(public[32:]).encapsulate()
        return ciphertext + _xor(self._chosen(public), hkdf_sha256(shared, info=b"wrap"))

    def initiated(self, public: bytes) -> bytes:
        if len(public) != 32 + KEM_PUBLIC:
            raise key_agreement.AgreementError("key of another length")
        return hkdf_sha256(self._dh.agree(public[:32]) + self._chosen(public), info=b"hybrid")

    def responded(self, public: bytes, offer: bytes) -> bytes:
        shared = self._kem.decapsulate(offer[:KEM_CIPHERTEXT])
        chosen = _xor(offer[KEM_CIPHERTEXT:], hkdf_sha256(shared, info=b"wrap"))
        return hkdf_sha256(self._dh.agree(public[:32]) + chosen, info=b"hybrid")

    def _chosen(self, public: bytes) -> bytes:
        return hkdf_sha256(self._secret, info=b"chosen" + public)


class Hybrid:
    secret_bytes = 32
    public_bytes = 32 + KEM_PUBLIC
    offer_bytes = KEM_CIPHERTEXT + 32

    def load(self, secret: bytes) -> HybridKey:
        return HybridKey(secret)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


@pytest.fixture
def hybrid() -> Iterator[int]:
    suites._REGISTRY[TEST_CODE] = suites.Suite(TEST_CODE, "hybrid for tests", Hybrid())
    yield TEST_CODE
    del suites._REGISTRY[TEST_CODE]


def params(suite: int, **changes: object) -> RoundParams:
    proposed: dict[str, object] = {
        "study": "suites",
        "round_index": 0,
        "clients": (1, 2, 3, 4, 5),
        "threshold": 3,
        "vectors": (VectorSpec("x", 50, 1 << 20),),
        "suite": suite,
    }
    return RoundParams(**(proposed | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("dropped", [(), (1,), (5,), (2, 4)], ids=str)
def test_hybrid_round_with_drop_outs(hybrid: int, dropped: tuple[int, ...], rng: np.random.Generator) -> None:
    proposed = params(hybrid)
    policy = LocalPolicy(suites=(hybrid,))
    server = Server(proposed, MODEL)
    clients = {client: Client(proposed, policy, client) for client in proposed.clients}
    inputs = {client: rng.integers(0, 1 << 16, 50, dtype=np.uint64) for client in clients}
    for client, machine in clients.items():
        server.receive(client, machine.start())
    for client, request in server.advance():
        (frame,) = clients[client].receive(request)
        server.receive(client, frame)
    for client, request in server.advance():
        clients[client] = Client.restore(clients[client].snapshot(), ledger=clients[client]._ledger)
        clients[client].receive(request)
        if client not in dropped:
            for frame in clients[client].submit({"x": inputs[client]}, MODEL):
                server.receive(client, frame)
    for client, request in server.advance():
        (frame,) = clients[client].receive(request)
        server.receive(client, frame)
    server.advance()
    expected = sum(values for client, values in inputs.items() if client not in dropped)
    np.testing.assert_array_equal(server.result()["x"], expected)


def test_the_default_policy_refuses_test_suites(hybrid: int) -> None:
    with pytest.raises(RemoteProtocolError, match="C1"):
        Client(params(hybrid), LocalPolicy(), 1)


@pytest.mark.fast
def test_unknown_suites_are_refused_at_construction() -> None:
    with pytest.raises(ParameterError, match="unknown cipher suite"):
        params(0x7777)


def test_a_classical_key_in_a_hybrid_round_is_refused(hybrid: int) -> None:
    server = Server(params(hybrid), MODEL)
    classical = Client(params(suites.CLASSICAL.code), LocalPolicy(), 1)
    with pytest.raises(RemoteProtocolError, match="W5"):
        server.receive(1, classical.start())
