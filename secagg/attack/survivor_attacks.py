"""What a malicious server does with survivor lists, with crashes, and over several rounds: client 1 is the victim.

Each attack runs against real machines. It returns when it holds its prize, and otherwise raises whatever stopped it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from protocols import SystemEntropy
from protocols.pairwise import Client, MemoryLedger
from secagg.attack.adversary import Attacker, AttackFailedError, same
from secagg.attack.cohort import OTHER_MODEL, Cohort, Vectors
from secagg.attack.network import Network, inside
from secagg.attack.server_attacks import VICTIM, ask_alike, minus

# -- survivors -------------------------------------------------------------------------------------------------------


def open_pairs(cohort: Cohort, times: int) -> None:
    """Each client is told that only it and the victim, who is named so many times, survived."""
    attacker = Attacker(cohort).reach_inputs()
    views = {client: (VICTIM,) * times + (client,) for client in cohort.ids[1:]}
    views[VICTIM] = (VICTIM,) * (times + 1 if times > 1 else 1)
    for client, survivors in views.items():
        attacker.send_survivors(client, survivors)
    for client, survivors in views.items():
        dropped = tuple(sorted(set(cohort.ids) - set(survivors)))
        attacker.send_unmasking(client, survivors, dropped, [client] if attacker.signatures else ())
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def repeat_a_survivor(cohort: Cohort) -> None:
    """The survivor list reaches the threshold by naming the victim again and again."""
    open_pairs(cohort, cohort.params.threshold - 1)


def name_few_survivors(cohort: Cohort) -> None:
    """The survivor list is honest but short."""
    open_pairs(cohort, 1)


def use_one_that_is_left_out(cohort: Cohort) -> None:
    """The victim is told that it dropped, and is still asked. The prize: it helps to open a sum without it."""
    attacker = Attacker(cohort).reach_inputs()
    survivors = cohort.ids[1:]
    for client in cohort.ids:
        attacker.send_survivors(client, survivors)
    for client in cohort.ids[: cohort.params.threshold]:
        attacker.send_unmasking(client, survivors, (VICTIM,))
    same(attacker.recover_sum(survivors, (VICTIM,)), cohort.sum_of(survivors))


_VIEWS = {1: (1, 4, 5), 2: (2, 4, 5), 3: (3, 4, 5), 4: (3, 4, 5), 5: (2, 4, 5)}
"""Survivors as five clients are told, three each. Three of them say of each of 1, 2, 3 that it dropped."""


def open_fewer_than_the_threshold(cohort: Cohort, *, sign_views: bool) -> None:
    """Five views of three survivors together open the sum of two inputs, though 2t > n.

    Args:
        cohort: five clients, t = 3.
        sign_views: whether clients are asked to sign their own view, or all the same list.
    """
    attacker = Attacker(cohort).reach_inputs()
    for client in cohort.ids:
        attacker.send_survivors(client, _VIEWS[client] if sign_views else cohort.ids)
    for client in cohort.ids:
        survivors = _VIEWS[client]
        attacker.send_unmasking(client, survivors, sorted(set(cohort.ids) - set(survivors)))
    opened = attacker.recover_sum((4, 5), (1, 2, 3))
    same(opened, cohort.sum_of((4, 5)))


def unmask_others_than_signed(cohort: Cohort) -> None:
    """All sign the same list; the unmasking question then differs from client to client."""
    open_fewer_than_the_threshold(cohort, sign_views=False)


def sign_different_survivors(cohort: Cohort) -> None:
    """Each signs the list that it is told, and is asked about that list."""
    open_fewer_than_the_threshold(cohort, sign_views=True)


def sign_again_after_a_restore(cohort: Cohort) -> None:
    """The five views once more, all of them signed as C24 and C25 ask: clients 4 and 5 sign several of them.

    In between, these two are restored from backups that do not know of the first signature; their ledgers do.
    """
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    attacker = Attacker(cohort, clients=cohort.clients(ledgers)).reach_inputs()
    backups = {client: machine.snapshot() for client, machine in attacker.clients.items()}
    signed = {}
    for view in sorted(set(_VIEWS.values()), reverse=True):
        for client in view:
            attacker.clients[client] = Client.restore(backups[client], ledger=ledgers[client])
            attacker.send_survivors(client, view)
        signed[view] = dict(attacker.signatures)
        for client in [client for client, told in _VIEWS.items() if told == view]:
            # Not before its own view is signed is a client asked: it is the last that it signs.
            attacker.signatures = signed[view]
            attacker.send_unmasking(client, view, sorted(set(cohort.ids) - set(view)), view)
    same(attacker.recover_sum((4, 5), (1, 2, 3)), cohort.sum_of((4, 5)))


def ask_for_another_model_after_a_restore(cohort: Cohort) -> None:
    """The victim is restored from a backup and told of another model, and that only some shared keys.

    The masks differ, but their seeds are those of the session: its self-mask seed and the mask keys of the dropped are
    opened in the honest round over the first model. The last client colludes; n = 4 and t = 3, with 2t = n + c + 1.
    """
    lost, colluder = cohort.ids[1], cohort.ids[-1]
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    attacker = Attacker(cohort, clients=cohort.clients(ledgers), colluders=(colluder,)).reach_shares()
    backup = attacker.clients[VICTIM].snapshot()
    attacker.mask_secrets[colluder] = inside(attacker.clients[colluder]).mask_secret.reveal()
    for client in cohort.ids:
        attacker.send_shares(client)
        attacker.hear_input(client)
    survivors = tuple(client for client in cohort.ids if client != lost)
    ask_alike(attacker, survivors, survivors)
    attacker.clients[VICTIM] = Client.restore(backup, ledger=ledgers[VICTIM])
    attacker.models[VICTIM] = OTHER_MODEL
    attacker.send_shares(VICTIM, (VICTIM, lost, colluder), model=OTHER_MODEL)
    attacker.hear_input(VICTIM)
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def use_the_keys_in_another_session_after_a_restore(cohort: Cohort) -> None:
    """All clients are restored from backups of the start, and shown another directory, with the same keys of theirs.

    In the first session the victim survives; in the second, over another model, it drops out: its mask key is opened.
    """
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    first = Attacker(cohort, clients=cohort.clients(ledgers))
    backups = {client: machine.snapshot() for client, machine in first.clients.items()}
    first.reach_inputs()
    ask_alike(first, cohort.ids, cohort.ids)
    colluder = cohort.ids[-1]
    machines = {client: Client.restore(backups[client], ledger=ledgers[client]) for client in cohort.ids}
    machines[colluder] = cohort.client(colluder, SystemEntropy())
    second = Attacker(cohort, clients=machines)
    second.models = dict.fromkeys(cohort.ids, OTHER_MODEL)
    second.reach_shares()
    for client in cohort.ids:
        second.send_shares(client, model=OTHER_MODEL)
        second.hear_input(client)
    ask_alike(second, cohort.ids[1:], cohort.ids[1:])
    first.mask_secrets[VICTIM] = second.mask_secret(VICTIM)
    same(first.recover(VICTIM), cohort.inputs[VICTIM])


def resend_under_the_same_masks(cohort: Cohort) -> None:
    """The victim sends its input, is restored from a backup of the moment before, and then holds another update.

    The masks are those of the session, so the difference of the two masked inputs is that of the updates.
    """
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    attacker = Attacker(cohort, clients=cohort.clients(ledgers)).reach_shares()
    backup = attacker.clients[VICTIM].snapshot()
    other = {name: np.flip(values) + np.uint64(1) for name, values in cohort.inputs[VICTIM].items()}
    masked = []
    for update in (cohort.inputs[VICTIM], other):
        attacker.cohort = replace(cohort, inputs={**cohort.inputs, VICTIM: update})
        attacker.clients[VICTIM] = Client.restore(backup, ledger=ledgers[VICTIM])
        attacker.send_shares(VICTIM)
        attacker.hear_input(VICTIM)
        masked.append(attacker.masked[VICTIM])
    same(minus(*masked), minus(cohort.inputs[VICTIM], other))


def ask_for_both_shares(cohort: Cohort) -> None:
    """One question names the victim both among the survivors and among the dropped."""
    attacker = Attacker(cohort).reach_inputs()
    for client in cohort.ids:
        attacker.send_survivors(client, cohort.ids)
    for client in cohort.ids[1:]:
        attacker.send_unmasking(client, cohort.ids, (VICTIM,))
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def ask_again_after_a_restore(cohort: Cohort) -> None:
    """Two questions, each in order by itself: first the victim survived, then it dropped.

    In between, the clients are restored from backups that do not know of the first; their ledgers do.
    """
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    attacker = Attacker(cohort, clients=cohort.clients(ledgers)).reach_inputs()
    for client in cohort.ids:
        attacker.send_survivors(client, cohort.ids)
    backups = {client: machine.snapshot() for client, machine in attacker.clients.items()}
    for client in cohort.ids:
        attacker.send_unmasking(client, cohort.ids, ())
    for client in cohort.ids[1:]:
        attacker.clients[client] = Client.restore(backups[client], ledger=ledgers[client])
        attacker.send_unmasking(client, cohort.ids[1:], (VICTIM,))
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def sum_of_round(cohort: Cohort, ledgers: dict[int, MemoryLedger], present: Sequence[int]) -> Vectors:
    """One honest round over ``present``; the others vanish after advertising keys."""
    network = Network(cohort, clients=cohort.clients(ledgers), strict=True)
    phases = len(cohort.variant.phases)
    return network.run({client: phases if client in present else 1 for client in cohort.ids})


def difference_of_two_rounds(cohort: Cohort, **second: Any) -> None:
    """The same query twice, with and without the victim: the difference of the sums is its input."""
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    with_victim = sum_of_round(cohort, ledgers, cohort.ids)
    without = sum_of_round(cohort.with_params(**second), ledgers, cohort.ids[1:])
    same(minus(with_victim, without), cohort.inputs[VICTIM])


def try_the_round_again(cohort: Cohort) -> None:
    """Set differencing within one round: the second attempt leaves the victim out."""
    difference_of_two_rounds(cohort, attempt=1)


def ask_the_same_next_round(cohort: Cohort) -> None:
    """Set differencing over two rounds that train the same model on the same data."""
    difference_of_two_rounds(cohort, round_index=1)


def ask_the_same_under_another_task(cohort: Cohort) -> None:
    """Set differencing over two rounds whose tasks differ in name only: for the ledger, another query."""
    difference_of_two_rounds(cohort, round_index=1, task=bytes(31) + b"\1")


def swap_one_member_at_a_time(cohort: Cohort) -> None:
    """Four rounds over three of four clients, any two of which differ by two members, determine every input."""
    ledgers = {client: MemoryLedger() for client in cohort.ids}
    parts = []
    for number, left_out in enumerate(cohort.ids):
        present = [client for client in cohort.ids if client != left_out]
        parts.append(sum_of_round(cohort.with_params(round_index=number), ledgers, present))
    # The sum of the three that hold the victim, less twice the one that does not, is three times its input.
    triple = {name: parts[1][name] + parts[2][name] + parts[3][name] - 2 * parts[0][name] for name in parts[0]}
    inverse = pow(3, -1, cohort.params.vectors[0].modulus)
    same({name: total * np.uint64(inverse) % 2**16 for name, total in triple.items()}, cohort.inputs[VICTIM])


def try_again_and_again(cohort: Cohort) -> None:
    """Attempt after attempt under the same number. The prize: one more joint seed than the policy allows."""
    ledger = MemoryLedger()
    seeds = set()
    for attempt in range(cohort.policy.max_attempts + 1):
        client = cohort.client(VICTIM, cohort.entropy(attempt), ledger)
        seeds.add(inside(client).part.reveal())
    if len(seeds) <= cohort.policy.max_attempts:
        raise AttackFailedError("the same seed came again")


def call_it_dropped_and_keep_its_input(cohort: Cohort) -> None:
    """Late message, false dropout: the victim is declared dropped, its mask key opened, and its input kept."""
    attacker = Attacker(cohort).reach_inputs()
    ask_alike(attacker, cohort.ids[1:], cohort.ids[1:])
    same(attacker.unmask(VICTIM, attacker.pairwise(VICTIM)), cohort.inputs[VICTIM])
