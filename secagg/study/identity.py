"""The long-term identity of a site or a coordinator: an Ed25519 key whose secret never leaves its machine."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols import Entropy, Secret
from protocols.primitives import signing
from protocols.suites import CLASSICAL, Context
from secagg.errors import UsageError
from secagg.study import toml
from secagg.study.fingerprint import fingerprint

HexKey = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
"""32 bytes in lower-case hexadecimal."""

_UNSEEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=80, pattern=rf"\A[^{_UNSEEN}\"\\]+\Z")]
"""What people call a site or a study: any language, one line, in its own reading order. It never becomes a path."""


class PublicIdentity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a public key file holds: the owner's name and verification key."""

    name: Name
    key: HexKey

    @property
    def fingerprint(self) -> str:
        """The digits that the owner reads aloud."""
        return fingerprint(bytes.fromhex(self.key))


@dataclass(frozen=True)
class Identity:
    """A loaded identity; signs for its owner."""

    secret: Secret

    @property
    def public(self) -> bytes:
        """The 32-byte verification key."""
        return signing.public_key(self.secret.reveal())

    def sign(self, usage: str, *statement: Context) -> bytes:
        """Sign ``statement`` for ``usage``."""
        return CLASSICAL.sign(self.secret, usage, *statement)


def create(path: Path, name: str, entropy: Entropy, passphrase: bytes | None = None) -> PublicIdentity:
    """Draw an identity: the secret goes to ``path`` (mode 0600), the public part beside it with the ending ``.pub``.

    Raises:
        UsageError: one of the files exists, or cannot be written, or the name is no name.
    """
    identity = Identity(Secret(entropy.take(signing.SECRET_BYTES, "identity")))
    try:
        public = msgspec.convert({"name": name, "key": identity.public.hex()}, PublicIdentity)
    except msgspec.ValidationError:
        raise UsageError(f"{name!r} is no name: 1 to 80 characters, without quotes or control characters") from None
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    key = Ed25519PrivateKey.from_private_bytes(identity.secret.reveal())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    text = (
        "# The public half of an identity: send this file to the lead of the study.\n"
        f'name = "{public.name}"\nkey = "{public.key}"\n'
    )
    write_new(path, pem, mode=0o600)
    write_new(public_path(path), text.encode(), mode=0o644)
    return public


def public_path(path: Path) -> Path:
    """Where the public half of the key at ``path`` lies."""
    return path.with_suffix(".pub")


def write_new(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that must not exist yet, with its final permissions from the first moment, durably.

    Raises:
        UsageError: it exists, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise UsageError(f"{path} exists already and is not overwritten: name another file, or move it away") from None
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None


def is_locked(path: Path) -> bool:
    """Tell whether the key at ``path`` needs a passphrase."""
    return b"ENCRYPTED" in _pem(path)


def load(path: Path, passphrase: bytes | None = None) -> Identity:
    """Read the secret key at ``path``.

    Raises:
        UsageError: a file that others can read, a wrong or missing passphrase, or no Ed25519 key.
    """
    pem = _pem(path)
    try:
        key = serialization.load_pem_private_key(pem, passphrase if b"ENCRYPTED" in pem else None)
    except TypeError:
        raise UsageError(f"{path} is locked with a passphrase: give it with --passphrase-file") from None
    except ValueError:
        raise UsageError(f"{path} cannot be opened: a wrong passphrase, or not a key that secagg keygen made") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is a key of another kind; secagg keygen makes Ed25519 keys")
    return Identity(Secret(key.private_bytes_raw()))


def _pem(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise UsageError(f"{path} can be read by others on this machine: run chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the key {path}: {error.strerror or error}") from None


def load_public(path: Path) -> PublicIdentity:
    """Read a public key file.

    Raises:
        UsageError: not such a file, or a key that anybody could sign for.
    """
    public = toml.read(path, PublicIdentity)
    if signing.is_small_order(bytes.fromhex(public.key)):
        raise UsageError(f"{path} holds a key of small order, for which anybody can sign: refuse it")
    return public
