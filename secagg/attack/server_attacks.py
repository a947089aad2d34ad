"""What a malicious server, with or without colluding clients, does to a victim: client 1 everywhere.

Each attack runs against real machines. It returns when it holds its prize, and otherwise raises whatever stopped it.
"""

from __future__ import annotations

import msgspec
import numpy as np

from protocols import RemoteProtocolError, SecAggError
from protocols.pairwise import Rule
from protocols.pairwise import messages as m
from protocols.pairwise.share_keys import relayed_entry
from secagg.attack.adversary import Attacker, AttackFailedError, Puppet, same
from secagg.attack.cohort import MODEL, OTHER_MODEL, Cohort, Vectors
from secagg.attack.network import Network, edit

VICTIM = 1


def minus(total: Vectors, known: Vectors) -> Vectors:
    """The difference modulo 2^16, the modulus of all vectors here."""
    return {name: (total[name] - known[name]) % np.uint64(1 << 16) for name in total}


def ask_alike(attacker: Attacker, survivors: tuple[int, ...], asked: tuple[int, ...]) -> None:
    """Put the same honest question to ``asked``: these survivors, everybody else dropped."""
    for client in survivors:
        attacker.send_survivors(client, survivors)
    dropped = tuple(sorted(set(attacker.shared[asked[0]]) - set(survivors)))
    for client in asked:
        attacker.send_unmasking(client, survivors, dropped)


# -- weak rounds -----------------------------------------------------------------------------------------------------


def use_a_broken_suite(cohort: Cohort) -> None:
    """Downgrade: the key agreement gives a constant, so the server reads all shares and knows all pairwise masks."""
    attacker = Attacker(cohort).reach_inputs()
    for holder in cohort.ids[1:]:
        attacker.read_shares_as(Puppet(holder), VICTIM)
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def subtract_the_colluders(cohort: Cohort) -> None:
    """Everybody who survives but the victim colludes: the sum less their inputs is the victim's."""
    attacker = Attacker(cohort).reach_inputs()
    survivors = cohort.ids[: cohort.params.threshold]
    ask_alike(attacker, survivors, survivors)
    opened = attacker.recover_sum(survivors, sorted(set(cohort.ids) - set(survivors)))
    same(minus(opened, cohort.sum_of(survivors[1:])), cohort.inputs[VICTIM])


def split_the_survivors(cohort: Cohort, colluders: tuple[int, ...] = ()) -> None:
    """Partition: one half is told that the victim survived, the other that it dropped."""
    attacker = Attacker(cohort, colluders=colluders).reach_inputs()
    attacker.loot_colluders()
    honest = [client for client in cohort.ids if client not in colluders]
    half = cohort.params.threshold - len(colluders)
    for part in (honest[:half], honest[-half:]):
        survivors = tuple(sorted([*part, *colluders]))
        attacker.signatures = {}
        for client in part:
            attacker.send_survivors(client, survivors)
        if cohort.variant.active:
            attacker.signatures |= attacker.sign_as_colluders(survivors)
        for client in part:
            attacker.send_unmasking(client, survivors, sorted(set(cohort.ids) - set(survivors)))
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def split_the_survivors_with_a_colluder(cohort: Cohort) -> None:
    """The same with the last client colluding: it signs both lists and gives its shares of both kinds."""
    split_the_survivors(cohort, cohort.ids[-1:])


def take_part_on_the_servers_terms(cohort: Cohort) -> None:
    """The client uploads whatever the proposed round asks for."""
    attacker = Attacker(cohort).reach_inputs()
    if VICTIM not in attacker.masked:
        raise AttackFailedError("the victim sent nothing")


# -- keys ------------------------------------------------------------------------------------------------------------


def surround_with_puppets(cohort: Cohort, *, keep_real_entries: bool = False) -> None:
    """Sybil: all others are invented by the server, which therefore holds t shares of both of the victim's secrets."""
    alone = not keep_real_entries
    attacker = Attacker(cohort, clients={VICTIM: cohort.client(VICTIM)} if alone else None)
    attacker.advertise()
    puppets = [Puppet(client) for client in cohort.ids if client != VICTIM]
    directory = attacker.entries() + tuple(map(attacker.puppet_entry, puppets))
    attacker.send_directory(VICTIM, directory)
    for puppet in puppets:
        attacker.read_shares_as(puppet, VICTIM)
    relayed = tuple(attacker.puppet_shares(puppet, VICTIM) for puppet in puppets)
    attacker.send_shares(VICTIM, cohort.ids, relayed)
    attacker.hear_input(VICTIM)
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def list_everybody_twice(cohort: Cohort) -> None:
    """Every real entry is there, and behind it a second one for the same id with the server's keys."""
    surround_with_puppets(cohort, keep_real_entries=True)


def replace_all_mask_keys(cohort: Cohort) -> None:
    """One directory for all, with the server's mask key in everybody's entry: all pairwise masks are known."""
    attacker = Attacker(cohort)
    attacker.advertise()
    puppets = {client: Puppet(client) for client in cohort.ids}
    directory = tuple(
        msgspec.structs.replace(entry, mask_key=attacker.puppet_entry(puppets[entry.client]).mask_key)
        for entry in attacker.entries()
    )
    for client in cohort.ids:
        attacker.send_directory(client, directory)
    for client in cohort.ids:
        attacker.send_shares(client)
        attacker.hear_input(client)
    ask_alike(attacker, cohort.ids, cohort.ids)
    # The victim used its true mask key against the peers' false ones.
    del attacker.mask_secrets[VICTIM]
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def put_one_key_into_two_roles(cohort: Cohort) -> None:
    """The mask key of a client that will drop stands as the enc key of clients that are gone.

    When the mask key is reconstructed, as the protocol wants it, it opens what was sealed for those others: for every
    one of them a share of the victim's mask key. All keys in the directory are honest clients' own.
    """
    lost, gone = 4, cohort.ids[4:]
    attacker = Attacker(cohort)
    attacker.advertise()
    stolen = attacker.advertised[lost].mask_key
    directory = tuple(
        msgspec.structs.replace(entry, enc_key=stolen) if entry.client in gone else entry
        for entry in attacker.entries()
    )
    present = tuple(client for client in cohort.ids if client not in gone)
    for client in present:
        attacker.send_directory(client, directory)
    for client in present:
        attacker.send_shares(client)
        attacker.hear_input(client)
    survivors = present[:3]
    ask_alike(attacker, survivors, survivors)
    for client in gone:
        puppet = Puppet(client)
        puppet.enc_secret = attacker.mask_secret(lost)
        attacker.read_shares_as(puppet, VICTIM)
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def show_a_short_directory(cohort: Cohort) -> None:
    """Fewer keys than the threshold: nothing can be shared so that t shares open it. The prize is a crash."""
    attacker = Attacker(cohort)
    attacker.advertise()
    try:
        attacker.send_directory(VICTIM, attacker.entries()[: cohort.params.threshold - 1])
    except SecAggError:
        raise
    except ValueError:
        return
    raise AttackFailedError("the client shared its secrets all the same")


# -- shares ----------------------------------------------------------------------------------------------------------


def ask_for_pairs(cohort: Cohort, filler: tuple[int, ...]) -> None:
    """Every client is told that it alone, with the victim and ``filler``, is in the round.

    So each of the others opens the victim's self mask, and the victim is told that it has no neighbours at all.
    """
    attacker = Attacker(cohort)
    attacker.advertise()
    for client in cohort.ids:
        attacker.send_directory(client)
    attacker.send_shares(VICTIM, (VICTIM, *filler), ())
    attacker.hear_input(VICTIM)
    for client in cohort.ids[1:]:
        attacker.send_shares(client, (VICTIM, client, *filler), attacker.relay(client, [VICTIM]))
        attacker.hear_input(client)
    for client in cohort.ids[1:]:
        attacker.send_survivors(client, (VICTIM, client, *filler))
        attacker.send_unmasking(client, (VICTIM, client, *filler), (), [client] if attacker.signatures else ())
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def tell_the_victim_of_other_sharers(cohort: Cohort) -> None:
    """The victim alone is told that only those shared keys whom everybody else is told to have dropped out.

    Those who survive open its self mask and the mask keys of the dropped; it shares no mask with anybody else.
    """
    attacker = Attacker(cohort).reach_shares()
    survivors = cohort.ids[: cohort.params.threshold + 1]
    dropped = cohort.ids[cohort.params.threshold + 1 :]
    for client in cohort.ids:
        attacker.send_shares(client, (VICTIM, *dropped) if client == VICTIM else None)
        attacker.hear_input(client)
    for client in survivors[1:]:
        attacker.send_survivors(client, survivors)
    for client in survivors[1:]:
        attacker.send_unmasking(client, survivors, dropped)
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


def invent_sharers(cohort: Cohort) -> None:
    """Invented ids fill the list of sharers, and later of survivors, up to the threshold."""
    ask_for_pairs(cohort, (60001, 60002, 60003))


def name_few_sharers(cohort: Cohort) -> None:
    """The list of sharers is honest but short."""
    ask_for_pairs(cohort, ())


def withhold_a_share(cohort: Cohort) -> None:
    """A dealer's share does not reach the victim. The prize: the victim is blamed for its incomplete answer."""
    change = edit(
        m.MaskedInputRequest,
        lambda request: msgspec.structs.replace(request, relayed=request.relayed[1:]),
        client=VICTIM,
    )
    network = Network(cohort, tampers=[change]).until(m.Phase.UNMASKING)
    expect_blame(network, Rule.ANSWER_COMPLETE)


def expect_blame(network: Network, rule: Rule) -> None:
    """The prize: the server accuses the victim."""
    for error in network.refusals.values():
        raise error
    refused = [error for _, error in network.rejected if isinstance(error, RemoteProtocolError)]
    accusations = [error for error in refused if (error.rule, error.culprit) == (rule, VICTIM)]
    if not accusations:
        raise AttackFailedError(f"nobody was blamed under {rule}")


def reflect_shares(cohort: Cohort) -> None:
    """The victim's own sealed shares come back to it as those of clients that will drop.

    Asked for the mask keys of the dropped, it then gives shares of its own, besides the self mask that others open.
    """
    attacker = Attacker(cohort)
    attacker.advertise()
    for client in cohort.ids:
        attacker.send_directory(client)
    mirrored = cohort.ids[-cohort.params.threshold :]
    for client in cohort.ids:
        relayed = attacker.relay(client, [other for other in cohort.ids if other != client])
        if client == VICTIM:
            own = {entry.holder: entry for entry in attacker.dealt[VICTIM].dealt}
            mine = attacker.dealt[VICTIM]
            relayed = tuple(
                relayed_entry(entry.dealer, mine, own[entry.dealer]) if entry.dealer in mirrored else entry
                for entry in relayed
            )
        attacker.send_shares(client, cohort.ids, relayed)
        attacker.hear_input(client)
    survivors = tuple(client for client in cohort.ids if client not in mirrored)
    ask_alike(attacker, survivors, survivors)
    for dealer in mirrored:
        # What the victim holds "from" this dealer is its own share at the dealer's point.
        attacker.key_shares[VICTIM][dealer] = attacker.key_shares[dealer].pop(VICTIM)
    same(attacker.recover(VICTIM), cohort.inputs[VICTIM])


# -- models ----------------------------------------------------------------------------------------------------------


def isolate_by_model(cohort: Cohort, *, say_so: bool) -> None:
    """Model inconsistency (Pasquini et al. 2022): others train a model whose update is zero, so the sum is one input.

    Args:
        cohort: others than the victim contribute zeros.
        say_so: whether the others are told the hash of the model that they really trained.
    """
    attacker = Attacker(cohort)
    attacker.advertise()
    for client in cohort.ids:
        attacker.send_directory(client)
    for client in cohort.ids[1:]:
        attacker.models[client] = OTHER_MODEL
    for client in cohort.ids:
        attacker.send_shares(client, model=attacker.models[client] if say_so else MODEL)
        attacker.hear_input(client)
    ask_alike(attacker, cohort.ids, cohort.ids)
    same(attacker.recover_sum(cohort.ids, ()), cohort.inputs[VICTIM])


def train_another_model(cohort: Cohort) -> None:
    """Everybody is told the victim's model hash; the others hold another model."""
    isolate_by_model(cohort, say_so=False)


def tell_another_model(cohort: Cohort) -> None:
    """Everybody is told the hash of the model that it holds."""
    isolate_by_model(cohort, say_so=True)
