"""Evidence of rounds in one process: the server's records and the sites' receipts, in one transcript.

In a real consortium a coordinator feeds a ``RoundRecorder`` and every site a ``ReceiptKeeper`` of its own; here both
ends are at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from protocols import Secret
from secagg.config import RoundConfig
from secagg.privacy import Cost, PrivacyTerms
from secagg.transcript.chain import Transcript
from secagg.transcript.receipts import ENCODED, NOISED, NOTHING, ReceiptKeeper, receipt_hash
from secagg.transcript.recorder import RoundRecorder, result_hash, totals_of
from secagg.transcript.records import Spend


class StudyWitness:
    """Keeps the transcript of a study that runs in one process.

    Args:
        transcript: where records go; its first record is written by the caller.
        identities: the sites' identity secrets; empty in a study without.
    """

    def __init__(self, transcript: Transcript, identities: Mapping[int, Secret]) -> None:
        self._transcript, self._identities = transcript, identities
        self._last: dict[int, str] = {}
        self._spent = Cost()

    def round(self, config: RoundConfig, model_hash: bytes, *, keep: bool = False) -> RoundWitness:
        """Begin one round; see ``RoundRecorder`` for what ``keep`` keeps."""
        recorder = RoundRecorder(self._transcript, config.params, model_hash, config.task_text, keep=keep)
        return RoundWitness(recorder, config, self._identities, self._last, self._spend)

    def _spend(self, terms: PrivacyTerms) -> Spend:
        """Add one release to what the study has spent, as the sites charge it: sum opened or not."""
        cost = terms.cost()
        self._spent = self._spent + cost
        return Spend(
            unit=terms.unit,
            adjacency=terms.relation,
            mechanism={
                "law": terms.law,
                "variance": terms.share * terms.honest,
                "least_survivors": terms.least_survivors,
                "colluders": terms.colluders,
                "l2_squared": terms.sensitivity().l2_squared,
                "dim": terms.dim,
            },
            delta=terms.delta,
            epsilon=cost.epsilon(terms.delta)[0],
            total=self._spent.epsilon(terms.delta)[0],
        )


class RoundWitness:
    """Watches both ends of one round; made by ``StudyWitness.round``."""

    def __init__(
        self,
        recorder: RoundRecorder,
        config: RoundConfig,
        identities: Mapping[int, Secret],
        last: dict[int, str],
        spend: Callable[[PrivacyTerms], Spend],
    ) -> None:
        self._recorder, self._config, self._identities, self._last = recorder, config, identities, last
        self._spend = spend
        self._keepers: dict[int, ReceiptKeeper] = {}

    def to_client(self, client: int, frame: bytes, *, arrived: bool) -> None:
        """Note a request of the server; ``arrived`` if the client took it."""
        self._recorder.sent(client, frame)
        if arrived:
            self._keeper(client).received(frame)

    def to_server(self, client: int, frame: bytes) -> None:
        """Note a frame of a client that the server accepted."""
        self._recorder.received(client, frame)
        self._keeper(client).sent(frame)

    def opened(self, sums: Mapping[str, NDArray[np.uint64]]) -> None:
        """Write the round, the receipts of all that answered, and in a private round what it spent."""
        terms = self._config.privacy_terms
        spend = None if terms is None else self._spend(terms)
        result = result_hash(totals_of(self._config.params, sums, keep=False))
        receipts = []
        for client, keeper in sorted(self._keepers.items()):
            if keeper.answered:
                words = (ENCODED,) if self._config.privacy is None else (ENCODED, NOISED)
                receipt = keeper.receipt(self._identities.get(client), result, words)
                self._last[client] = receipt_hash(receipt)
                receipts.append(receipt)
        self._recorder.opened(sums, receipts=receipts, spend=spend)

    def aborted(self, reason: str) -> None:
        """Write a round that gave no sum; a private one is counted as spent, for sites may have charged it."""
        if self._config.privacy_terms is not None:
            self._spend(self._config.privacy_terms)
        self._recorder.aborted(reason)

    def _keeper(self, client: int) -> ReceiptKeeper:
        if client not in self._keepers:
            self._keepers[client] = ReceiptKeeper(self._config.params, client, self._last.get(client, NOTHING))
        return self._keepers[client]
