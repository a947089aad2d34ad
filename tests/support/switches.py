"""Switches protections of the library off, one by one, to show that each of them stops its attack."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import Any

import pytest

from protocols.errors import RemoteProtocolError
from protocols.pairwise import Rule, ledger, masking, share_keys
from protocols.pairwise.validation import answers, directory, parameters, shares, survivors
from protocols.primitives import key_agreement
from protocols.suites import Suite

_REFUSING: tuple[ModuleType, ...] = (answers, directory, ledger, parameters, shares, survivors)


class Guard(Enum):
    """Protections that lie in how things are derived, not in a numbered check."""

    MODEL_IN_MASKS = "the model hash goes into every mask key"
    SELF_MASK = "every input carries a self mask beside the pairwise ones"
    DIRECTED_KEYS = "each direction of a share channel has its own key"
    DIRECTED_DATA = "sealed shares are bound to sender and receiver"


Protection = Rule | Guard


def switch_off(monkeypatch: pytest.MonkeyPatch, *off: Protection) -> None:
    """Run on without these protections, for the rest of the test."""

    def refuse(rule: Rule, reason: str, culprit: int | None = None) -> None:
        if rule not in off:
            raise RemoteProtocolError(rule, reason, culprit)

    for module in _REFUSING:
        monkeypatch.setattr(module, "refuse", refuse)
    if Rule.KEY_CONTRIBUTORY in off:
        _accept_any_key(monkeypatch)
    for guard in off:
        if isinstance(guard, Guard):
            _GUARDS[guard](monkeypatch)


def _accept_any_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """An X25519 as many libraries have it: low order gives zeros, and no error."""
    checked = key_agreement.PrivateKey.agree

    def agree(self: key_agreement.PrivateKey, public: bytes) -> bytes:
        try:
            return checked(self, public)
        except key_agreement.AgreementError:
            return bytes(32)

    monkeypatch.setattr(key_agreement.PrivateKey, "agree", agree)


def _forget_model(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = masking.MaskContext.key

    def key(self: masking.MaskContext, *args: Any) -> bytes:
        return bound(masking.MaskContext(self.cipher, self.session, bytes(32)), *args)

    monkeypatch.setattr(masking.MaskContext, "key", key)


def _forget_self_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    add_all = masking.add_masks

    def add_masks(values: Any, spec: Any, start: int, terms: Any, context: Any) -> None:
        add_all(values, spec, start, [term for term in terms if term.usage != "self-mask"], context)

    monkeypatch.setattr(masking, "add_masks", add_masks)


def _forget_direction_in_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    directed = share_keys.channel_key

    def channel_key(cipher: Suite, agreed: bytes, session: bytes, sender: int, receiver: int) -> Any:
        return directed(cipher, agreed, session, min(sender, receiver), max(sender, receiver))

    monkeypatch.setattr(share_keys, "channel_key", channel_key)


def _forget_direction_in_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def associated_data(cipher: Suite, session: bytes, dealer: int, holder: int) -> bytes:
        return cipher.statement("share", session)

    for module in ("share_keys", "masked_input"):
        monkeypatch.setattr(f"protocols.pairwise.{module}.associated_data", associated_data)


_GUARDS: dict[Guard, Callable[[pytest.MonkeyPatch], None]] = {
    Guard.MODEL_IN_MASKS: _forget_model,
    Guard.SELF_MASK: _forget_self_masks,
    Guard.DIRECTED_KEYS: _forget_direction_in_keys,
    Guard.DIRECTED_DATA: _forget_direction_in_data,
}
