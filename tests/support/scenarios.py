"""The catalogue: every attack, the round it is run against, and the protections that stop it, outermost first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from protocols import Entropy, suites
from protocols.pairwise import Rule, VectorSpec
from secagg.attack import client_attacks as by_client
from secagg.attack import noise_attacks as by_noise
from secagg.attack import server_attacks as by_server
from secagg.attack import sparse_attacks as by_graph
from secagg.attack import survivor_attacks as by_survivors
from tests.support.cohort import (
    ACTIVE,
    COMPLETE,
    CURIOUS,
    JOINT,
    SPARSE_ACTIVE,
    SPARSE_CURIOUS,
    Cohort,
    Variant,
    make_cohort,
    random_vectors,
    unit_vectors,
)
from tests.support.switches import Guard, Protection

BROKEN_SUITE = 0xFF01


class _NoKey:
    """Keys that agree on the same secret with everybody."""

    def __init__(self, secret: bytes) -> None:
        self._public = suites.CLASSICAL.hash("no key", secret)

    def public_key(self) -> bytes:
        return self._public

    def offer(self, public: bytes, entropy: Entropy) -> bytes:
        return b""

    def initiated(self, public: bytes) -> bytes:
        return bytes(32)

    def responded(self, public: bytes, offer: bytes) -> bytes:
        return bytes(32)


class _NoAgreement:
    secret_bytes = 32
    public_bytes = 32
    offer_bytes = 0

    def load(self, secret: bytes) -> _NoKey:
        return _NoKey(secret)


suites._REGISTRY.setdefault(BROKEN_SUITE, suites.Suite(BROKEN_SUITE, "broken, for tests", _NoAgreement()))


@dataclass(frozen=True)
class Scenario:
    """One attack on one variant.

    Attributes:
        attack: returns if it wins, otherwise raises what stopped it.
        variant: of the protocol.
        stops: protections, outermost first. With the first k switched off, number k stops the attack; with all of
            them off it wins. Empty for an attack that the variant does not stop.
        setting: arguments of ``make_cohort``.
        anchor: number of the attack in the literature list (see ``test_attacks``), 0 for none.
    """

    attack: Callable[[Cohort], None]
    variant: Variant
    stops: tuple[Protection, ...]
    setting: dict[str, Any]
    anchor: int = 0

    def __str__(self) -> str:
        return f"{self.attack.__name__}-{self.variant}"

    def cohort(self) -> Cohort:
        """The round, with inputs of which no two are alike."""
        cohort = make_cohort(self.variant, **self.setting)
        rng = np.random.default_rng(7)
        inputs = random_vectors(cohort.ids, cohort.params.vectors, rng)
        if self.attack in (by_server.train_another_model, by_server.tell_another_model):
            zeros = unit_vectors((), ())
            for client, vectors in inputs.items():
                zeros[client] = {name: np.zeros_like(values) for name, values in vectors.items()}
            inputs = {**zeros, by_server.VICTIM: inputs[by_server.VICTIM]}
        return replace(cohort, inputs=inputs)


def on(variants: tuple[Variant, ...], attack: Callable[[Cohort], None], stops: str, **setting: Any) -> list[Scenario]:
    """Rows of the catalogue.

    Args:
        variants: against which the attack is run.
        attack: what is run.
        stops: names of rules and guards, outermost first; ``active:NAME`` stands in active rounds only.
        setting: of the cohort, and ``anchor``.
    """
    anchor = setting.pop("anchor", 0)
    rows = []
    for variant in variants:
        wanted = [word.split(":") for word in stops.split()]
        names = [word[-1] for word in wanted if len(word) == 1 or variant.active]
        rows.append(Scenario(attack, variant, tuple(map(protection, names)), setting, anchor))
    return rows


def protection(name: str) -> Protection:
    """A rule by its number, or a guard by its name."""
    return Guard[name] if name in Guard.__members__ else Rule(name)


_TWO_VECTORS = (VectorSpec("x", 4, 1 << 16), VectorSpec("w", 4, 1 << 16))
_ONLY_CURIOUS, _ONLY_ACTIVE = (CURIOUS,), (ACTIVE,)
# Twenty clients are few enough to find, among some thousand seeds, one that surrounds the victim. A policy that asks
# for 40 bits refuses a graph of that size; this one asks for 1.
_GRINDABLE: dict[str, Any] = {
    "n": 20,
    "threshold": 4,
    "min_survivors": 20,
    "policy": {"colluders": 4, "sigma": 1},
}

SCENARIOS: list[Scenario] = [
    # Weak rounds: downgrade, small cohorts.
    *on(COMPLETE, by_server.use_a_broken_suite, "C1", suite=BROKEN_SUITE, anchor=21),
    *on(COMPLETE, by_server.subtract_the_colluders, "C2", n=3, threshold=3, policy={"min_clients": 6}, anchor=9),
    *on(COMPLETE, by_server.subtract_the_colluders, "C3", n=6, threshold=3, policy={"min_threshold": 5}, anchor=9),
    *on(COMPLETE, by_server.subtract_the_colluders, "C4", n=3, threshold=3, policy={"colluders": 2}, anchor=9),
    *on(_ONLY_ACTIVE, by_server.split_the_survivors, "C3", n=6, threshold=3, anchor=3),
    *on(_ONLY_ACTIVE, by_server.split_the_survivors_with_a_colluder, "C3", n=5, threshold=3, anchor=3),
    *on(_ONLY_ACTIVE, by_server.tell_the_victim_of_other_sharers, "C3", n=6, threshold=3, anchor=3),
    *on(_ONLY_ACTIVE, by_server.tell_the_victim_of_other_sharers, "C16", n=6, threshold=4, anchor=3),
    *on(_ONLY_CURIOUS, by_server.split_the_survivors, "C5", n=6, policy={"adversary": "active"}, anchor=3),
    *on(_ONLY_ACTIVE, by_server.split_the_survivors, "C6 C10", n=6, clients=(1, 2, 3, 4), anchor=4),
    *on(COMPLETE, by_server.take_part_on_the_servers_terms, "C8", policy={"max_packed_bytes": 7}),
    *on(COMPLETE, by_server.take_part_on_the_servers_terms, "C9", policy={"studies": ("another",)}, anchor=21),
    *on(COMPLETE, by_server.take_part_on_the_servers_terms, "C9", policy={"task": bytes(range(32))}, anchor=21),
    # Keys.
    *on(_ONLY_ACTIVE, by_server.surround_with_puppets, "C7 C14 C19", roster=bytes(range(32)), anchor=4),
    *on(_ONLY_ACTIVE, by_server.surround_with_puppets, "C14 C19", anchor=4),
    *on(_ONLY_CURIOUS, by_server.list_everybody_twice, "C10", anchor=4),
    *on(COMPLETE, by_server.replace_all_mask_keys, "C11 active:C14", anchor=4),
    *on(COMPLETE, by_server.show_a_short_directory, "C12", anchor=9),
    *on(_ONLY_CURIOUS, by_server.put_one_key_into_two_roles, "C13", n=7, anchor=4),
    *on(COMPLETE, by_client.advertise_low_order_keys, "S4 C27", anchor=14),
    # Shares.
    *on(COMPLETE, by_server.invent_sharers, "C15 active:C25", anchor=4),
    *on(COMPLETE, by_server.name_few_sharers, "C16 C22 active:C25", anchor=9),
    *on(COMPLETE, by_server.withhold_a_share, "C17 active:C25"),
    *on(_ONLY_CURIOUS, by_server.reflect_shares, "DIRECTED_KEYS DIRECTED_DATA C18", n=6, anchor=5),
    *on(COMPLETE, by_client.publish_another_share, "C19", anchor=17),
    # Models.
    *on(COMPLETE, by_server.train_another_model, "C20 MODEL_IN_MASKS", anchor=1),
    *on(COMPLETE, by_server.tell_another_model, "active:C25 MODEL_IN_MASKS", anchor=1),
    # Survivors.
    *on(COMPLETE, by_survivors.repeat_a_survivor, "C21 active:C25", anchor=9),
    *on(COMPLETE, by_survivors.name_few_survivors, "C22 active:C25", anchor=9),
    *on(COMPLETE, by_survivors.use_one_that_is_left_out, "C23", anchor=7),
    *on(_ONLY_ACTIVE, by_survivors.unmask_others_than_signed, "C24 C25", n=5, policy={"colluders": 0}, anchor=3),
    *on(_ONLY_ACTIVE, by_survivors.sign_different_survivors, "C25", n=5, policy={"colluders": 0}, anchor=3),
    *on(COMPLETE, by_survivors.ask_for_both_shares, "C26", anchor=2),
    *on(COMPLETE, by_survivors.ask_again_after_a_restore, "active:C24 active:C25 C32 C33", anchor=20),
    *on(COMPLETE, by_survivors.use_the_keys_in_another_session_after_a_restore, "C34", anchor=20),
    *on(_ONLY_ACTIVE, by_survivors.ask_for_another_model_after_a_restore, "C31", anchor=20),
    *on(COMPLETE, by_survivors.resend_under_the_same_masks, "C31", anchor=14),
    *on(_ONLY_ACTIVE, by_survivors.sign_again_after_a_restore, "C32", n=5, policy={"colluders": 0}, anchor=20),
    *on(COMPLETE, by_survivors.call_it_dropped_and_keep_its_input, "SELF_MASK", anchor=7),
    # Several rounds.
    *on(COMPLETE, by_survivors.try_the_round_again, "C31 C33", anchor=8),
    *on(COMPLETE, by_survivors.ask_the_same_next_round, "C33", anchor=8),
    *on(COMPLETE, by_survivors.swap_one_member_at_a_time, "C33", anchor=8),
    *on(COMPLETE, by_survivors.ask_the_same_under_another_task, "C9", policy={"task": bytes(32)}, anchor=8),
    # The sparse graph.
    *on((SPARSE_CURIOUS,), by_graph.choose_the_neighbours, "C28", **_GRINDABLE, anchor=6),
    *on((SPARSE_ACTIVE,), by_graph.cut_the_ring, "C29", n=12, min_survivors=8, anchor=6),
    *on((SPARSE_ACTIVE,), by_graph.hide_the_neighbours, "C16", n=20, min_survivors=8, anchor=3),
    *on((JOINT, SPARSE_CURIOUS), by_survivors.try_again_and_again, "C30", policy={"max_attempts": 2}, anchor=6),
    # Removable noise.
    *on(COMPLETE, by_noise.open_more_noise_after_a_restore, "active:C24 active:C25 C32 C33", anchor=20),
    *on((SPARSE_ACTIVE,), by_noise.let_regions_disagree, "C25", n=12, min_survivors=8, anchor=3),
    *on(COMPLETE, by_noise.commit_to_no_noise, "S5", anchor=17),
    *on(COMPLETE, by_noise.publish_another_root, "C19", anchor=17),
    *on(COMPLETE, by_noise.answer_without_noise, "S8", anchor=17),
    *on(COMPLETE, by_noise.reveal_a_false_link, "S9", anchor=17),
    *on(COMPLETE, by_noise.remove_other_noise, "S9 S10", anchor=17),
    *on(COMPLETE, by_noise.commit_to_other_noise, "S10", anchor=17),
    # Malicious clients.
    *on(COMPLETE, by_client.join_uninvited, "C6 S1 C10", clients=(1, 2, 3), anchor=4),
    *on(COMPLETE, by_client.send_input_without_shares, "S2", anchor=7),
    *on(COMPLETE, by_client.say_two_things, "S3", anchor=17),
    *on(COMPLETE, by_client.deal_nothing, "S5", anchor=17),
    *on(COMPLETE, by_client.send_one_vector_twice, "S6", vectors=_TWO_VECTORS, anchor=17),
    *on(_ONLY_ACTIVE, by_client.sign_other_survivors, "S7", anchor=17),
    *on(COMPLETE, by_client.answer_for_some, "S8", anchor=17),
    *on(COMPLETE, by_client.reveal_a_false_share, "S9", anchor=17),
    *on(COMPLETE, by_client.falsify_the_sum_with_a_share, "S9 S10", anchor=17),
    *on(COMPLETE, by_client.mask_with_another_seed, "S10", anchor=17),
    *on((JOINT, SPARSE_CURIOUS, SPARSE_ACTIVE), by_client.reveal_another_part, "S11", anchor=17),
    *on(_ONLY_ACTIVE, by_client.change_an_input_on_the_way, "S12", anchor=18),
]

NOT_STOPPED: list[Scenario] = [
    # A curious round withstands a server that follows the protocol, no other: these are why active rounds exist.
    *on(_ONLY_CURIOUS, by_server.split_the_survivors, "", n=6, anchor=3),
    *on(_ONLY_CURIOUS, by_server.surround_with_puppets, "", anchor=4),
    # Rule C33 knows a query by its task among others; a policy that names the task is safe.
    *on(COMPLETE, by_survivors.ask_the_same_under_another_task, "", anchor=8),
]
