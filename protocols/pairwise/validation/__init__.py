"""Every check of the family, numbered.

C rules are what a client refuses, S rules what a server refuses; W rules (``protocols.wire``) come before both. Each
function checks one rule, raises ``RemoteProtocolError`` with it and changes nothing. The table of rules with their
tests and attacks is in SECURITY.md.
"""

from protocols.pairwise.validation.answers import (
    check_answer,
    check_chunk,
    check_in_phase,
    check_opening,
    check_same_again,
    check_secret,
    check_sender,
)
from protocols.pairwise.validation.directory import (
    check_advertised_keys,
    check_agreement,
    check_directory_ids,
    check_directory_keys,
    check_directory_signatures,
    check_directory_size,
    check_own_entry,
    check_part,
    check_parts,
    part_commitment,
)
from protocols.pairwise.validation.parameters import (
    check_adversary,
    check_attempts,
    check_cohort,
    check_hidden_inputs,
    check_invited,
    check_params,
    check_roster,
    check_suite,
    check_task,
    check_threshold,
    check_upload,
)
from protocols.pairwise.validation.rules import (
    Rule,
)
from protocols.pairwise.validation.shares import (
    check_dealt_shares,
    check_model,
    check_published_share,
    check_relayed,
    check_share_pair,
    check_shared_ids,
    check_shared_size,
    dealt_statement,
    self_mask_hash,
    share_hash,
    share_hashes,
)
from protocols.pairwise.validation.survivors import (
    check_connected,
    check_consistency_signature,
    check_partition,
    check_same_survivors,
    check_survivor_signatures,
    check_survivors,
)

__all__ = [
    "Rule",
    "check_adversary",
    "check_advertised_keys",
    "check_agreement",
    "check_answer",
    "check_attempts",
    "check_chunk",
    "check_cohort",
    "check_connected",
    "check_consistency_signature",
    "check_dealt_shares",
    "check_directory_ids",
    "check_directory_keys",
    "check_directory_signatures",
    "check_directory_size",
    "check_hidden_inputs",
    "check_in_phase",
    "check_invited",
    "check_model",
    "check_opening",
    "check_own_entry",
    "check_params",
    "check_part",
    "check_partition",
    "check_parts",
    "check_published_share",
    "check_relayed",
    "check_roster",
    "check_same_again",
    "check_same_survivors",
    "check_secret",
    "check_sender",
    "check_share_pair",
    "check_shared_ids",
    "check_shared_size",
    "check_suite",
    "check_survivor_signatures",
    "check_survivors",
    "check_task",
    "check_threshold",
    "check_upload",
    "dealt_statement",
    "part_commitment",
    "self_mask_hash",
    "share_hash",
    "share_hashes",
]
