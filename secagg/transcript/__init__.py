"""The transcript of a study: a hash-chained file of public records, for auditors.

Reading order: ``records`` (what is written), ``chain`` (how), ``recorder`` (from the frames of a round), ``receipts``
(what a site signs). The schema is in ``secagg/README.md``. Nothing here depends on who runs the round.
"""

from secagg.transcript.chain import Transcript
from secagg.transcript.receipts import Receipt, ReceiptKeeper
from secagg.transcript.recorder import RoundRecorder
from secagg.transcript.records import Opened, Spend, Study

__all__ = ["Opened", "Receipt", "ReceiptKeeper", "RoundRecorder", "Spend", "Study", "Transcript"]
