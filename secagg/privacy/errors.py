"""What privacy accounting raises."""

from __future__ import annotations

from secagg.errors import UsageError


class PrivacyInputError(UsageError):
    """Parameters that make no privacy statement; the text says which values would do."""
