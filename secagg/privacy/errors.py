"""What privacy accounting raises."""

from __future__ import annotations

from protocols.errors import SecAggError
from secagg.errors import UsageError


class PrivacyInputError(UsageError):
    """Parameters that make no privacy statement; the text says which values would do."""


class BudgetExhausted(SecAggError):
    """A charge was refused because the cohort's budget would be passed; nothing was written.

    Attributes:
        cohort: the dataset version that would have been charged.
        spent: epsilon before.
        wanted: epsilon after the charge.
        budget: epsilon allowed.
    """

    def __init__(self, cohort: str, spent: float, wanted: float, budget: float) -> None:
        super().__init__(
            f"the budget of cohort {cohort!r} is epsilon {budget:g}: {spent:.6g} is spent, and this release would make "
            f"it {wanted:.6g}; nothing was charged and nothing may be released"
        )
        self.cohort, self.spent, self.wanted, self.budget = cohort, spent, wanted, budget

    def __reduce__(self) -> tuple[type[BudgetExhausted], tuple[str, float, float, float]]:
        """Keep the error picklable for process pools."""
        return type(self), (self.cohort, self.spent, self.wanted, self.budget)


class LedgerError(SecAggError):
    """The ledger cannot be used: another version, a broken chain, a receipt that does not verify."""


class PrivacyRefused(SecAggError):
    """A site will not take part under the proposed privacy terms.

    Attributes:
        reasons: one ``(rule number, sentence)`` per broken rule, all of them.
    """

    def __init__(self, reasons: tuple[tuple[str, str], ...]) -> None:
        super().__init__("; ".join(f"[{rule}] {sentence}" for rule, sentence in reasons))
        self.reasons = reasons

    def __reduce__(self) -> tuple[type[PrivacyRefused], tuple[tuple[tuple[str, str], ...]]]:
        """Keep the error picklable for process pools."""
        return type(self), (self.reasons,)
