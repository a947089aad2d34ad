"""``secagg audit``: every claim of a transcript, derived again from public records alone.

An auditor does not trust the code it audits. Nothing here imports the machines, sessions, coordinator or site: hashes,
statements, graphs and masks are computed by ``derive`` from the primitives. Reading order: ``verdicts``, ``reading``,
``derive``, then the checks (``parameters``, ``keys``, ``survivors``, ``sums``, ``receipts``, ``cohorts``, ``budget``).
"""

from secagg.audit.audit import audit_file
from secagg.audit.verdicts import Finding, Report, Rule, Verdict

__all__ = ["Finding", "Report", "Rule", "Verdict", "audit_file"]
