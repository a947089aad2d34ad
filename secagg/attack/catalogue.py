"""Every attack of the list, in order, and how it is run against a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from protocols import ProtocolError, RemoteProtocolError
from secagg.attack import client_attacks as by_client
from secagg.attack import grid_leaks, inversion, leakage
from secagg.attack import noise_attacks as by_noise
from secagg.attack import server_attacks as by_server
from secagg.attack import sparse_attacks as by_graph
from secagg.attack import survivor_attacks as by_survivors
from secagg.attack.adversary import AttackFailedError
from secagg.attack.cohort import Cohort, random_vectors
from secagg.attack.outcomes import Outcome, Result, worst
from secagg.attack.setting import Setting

Run = Callable[[Cohort], None]

IDENTITIES = 'adversary = "active", with a roster that sites compare outside of the protocol'
TASK = "pin_task = true: sites name the task that they agreed to"
POLICY = "the sites' [policy]: its defaults refuse this"


@dataclass(frozen=True)
class Entry:
    """One attack on the protocol, in all its forms.

    Attributes:
        number: in the list.
        name: in words.
        forms: the code.
        change: what to change where one of them wins.
        sparse, complete: on which graphs it makes sense.
        needs: "" or the adversary class that it needs.
        alone: others than the victim contribute zeros.
        holds: what stands against it where no rule has to refuse.
    """

    number: int
    name: str
    forms: tuple[Run, ...]
    change: str
    sparse: bool = False
    complete: bool = True
    alone: bool = False
    holds: str = ""


def _few_tries(cohort: Cohort) -> None:
    by_graph.choose_the_neighbours(cohort, tries=200)


ENTRIES = (
    Entry(
        1, "model inconsistency", (by_server.train_another_model, by_server.tell_another_model),
        POLICY, alone=True, holds="the model's hash is in every mask",
    ),
    Entry(2, "both shares of one client", (by_survivors.ask_for_both_shares,), POLICY),
    Entry(
        3, "partition in unmasking",
        (by_server.split_the_survivors, by_server.split_the_survivors_with_a_colluder,
         by_survivors.name_few_survivors, by_survivors.repeat_a_survivor),
        f"{IDENTITIES}, and a threshold of 2t > n + c",
    ),
    Entry(
        4, "Sybil, fake keys",
        (by_server.surround_with_puppets, by_server.list_everybody_twice, by_server.replace_all_mask_keys,
         by_server.invent_sharers, by_server.name_few_sharers),
        IDENTITIES,
    ),
    Entry(5, "share reflection and mix-up", (by_server.reflect_shares,), POLICY),
    Entry(
        6, "biased or ground graph", (_few_tries, by_graph.hide_the_neighbours, by_graph.cut_the_ring),
        IDENTITIES, sparse=True, complete=False,
    ),
    Entry(6, "one joint seed too many", (by_survivors.try_again_and_again,), POLICY, sparse=True, complete=False),
    Entry(
        7, "late message, false drop-out",
        (by_survivors.call_it_dropped_and_keep_its_input, by_survivors.use_one_that_is_left_out), POLICY,
        holds="the self mask",
    ),
    Entry(
        8, "set differencing: the same query again",
        (by_survivors.try_the_round_again, by_survivors.ask_the_same_next_round),
        "min_cohort_difference in the sites' [policy], at least 2",
    ),
    Entry(8, "set differencing: the query renamed", (by_survivors.ask_the_same_under_another_task,), TASK),
    Entry(9, "small cohort, colluders subtract themselves", (), "a threshold of at least max(c, 1) + 2"),
    Entry(
        14, "masks used twice", (leakage.subtract_two_rounds, leakage.subtract_two_runs),
        "a generator that does not repeat itself", holds="fresh masks, bound to the session",
    ),
    Entry(14, "another input resent under the same masks", (by_survivors.resend_under_the_same_masks,), POLICY),
    Entry(
        17, "malicious clients: keys, shares, answers",
        (by_client.say_two_things, by_client.deal_nothing, by_client.publish_another_share,
         by_client.send_input_without_shares, by_client.answer_for_some, by_client.reveal_a_false_share,
         by_client.falsify_the_sum_with_a_share, by_client.mask_with_another_seed),
        POLICY,
    ),
    Entry(
        17, "malicious clients: removable noise",
        (by_noise.commit_to_no_noise, by_noise.publish_another_root, by_noise.answer_without_noise,
         by_noise.reveal_a_false_link, by_noise.remove_other_noise, by_noise.commit_to_other_noise),
        POLICY,
    ),
    Entry(18, "an input changed on its way", (by_client.change_an_input_on_the_way,), IDENTITIES),
    Entry(20, "crash, restore, answer again", (by_survivors.ask_again_after_a_restore,), POLICY),
    Entry(
        20, "crash, restore, more noise comes off than may", (by_noise.open_more_noise_after_a_restore,), POLICY,
    ),
    Entry(
        3, "more noise comes off where fewer are said to be missing", (by_noise.let_regions_disagree,),
        IDENTITIES, sparse=True, complete=False,
    ),
)  # fmt: skip


def run_all(setting: Setting, only: str = "") -> Iterator[Result]:
    """Run the catalogue and give the results in the order of the list.

    Args:
        setting: the configuration.
        only: ``"protocol"``, ``"sum"`` or ``"grid"`` for a part of it.

    Raises:
        ParameterError: the configuration makes no round.
    """
    if only in ("", "protocol"):
        refused = _refused(setting)
        for entry in ENTRIES:
            yield _entry(entry, setting, refused)
        yield leakage.confuse_parameters(setting, refused)
        yield Result(19, "correlated ciphertexts", Outcome.NOT_APPLICABLE, "there is no one-shot protocol here")
    if only in ("", "sum"):
        yield from leakage.run_all(setting)
        yield from inversion.run_all(setting)
    if only in ("", "grid"):
        yield from grid_leaks.run_all(setting)
    if only not in ("", "protocol", "sum", "grid"):
        raise ValueError(f"the catalogue has no part {only!r}")


def _refused(setting: Setting) -> str:
    """Return the rule by which sites refuse the round as it is configured, or nothing."""
    cohort = setting.cohort(full=True)
    try:
        cohort.client(cohort.ids[0])
    except RemoteProtocolError as error:
        return f"{_rule(error)}: sites refuse the round ({error})"
    return ""


def _entry(entry: Entry, setting: Setting, refused: str) -> Result:
    if refused:
        return Result(entry.number, entry.name, Outcome.STOPPED, refused)
    if setting.sparse and not entry.sparse and entry.forms:
        return _on_complete(entry, setting)
    if not setting.sparse and not entry.complete:
        return Result(entry.number, entry.name, Outcome.NOT_APPLICABLE, "the graph is complete")
    forms = entry.forms or (leakage.subtract_colluders(setting),)
    return worst([attempt(entry, form, setting.cohort()) for form in forms])


def _on_complete(entry: Entry, setting: Setting) -> Result:
    """What does not depend on the graph is rehearsed on a small complete one, under the same policy."""
    small = replace(setting, protocol="secagg", clients=10, threshold=None, colluders=min(setting.colluders, 2))
    return worst([attempt(entry, form, small.cohort()) for form in entry.forms])


def attempt(entry: Entry, form: Run, cohort: Cohort) -> Result:
    """Run one form of an attack against one cohort with random inputs."""
    inputs = random_vectors(cohort.ids, cohort.params.vectors, np.random.default_rng())
    if entry.alone:
        inputs |= {
            client: {name: np.zeros_like(values) for name, values in vectors.items()}
            for client, vectors in inputs.items()
            if client != by_server.VICTIM
        }
    name = form.__name__.strip("_").replace("_", " ")
    try:
        form(replace(cohort, inputs=inputs))
    except RemoteProtocolError as error:
        return Result(entry.number, entry.name, Outcome.STOPPED, _rule(error))
    except AttackFailedError as error:
        return Result(entry.number, entry.name, Outcome.STOPPED, entry.holds or str(error))
    except ProtocolError:
        return Result(entry.number, entry.name, Outcome.STOPPED, "machines answer once")
    except (IndexError, KeyError, ValueError):
        return Result(entry.number, entry.name, Outcome.NOT_APPLICABLE, "the cohort has another shape")
    return Result(entry.number, entry.name, Outcome.POSSIBLE, name, entry.change)


def _rule(error: RemoteProtocolError) -> str:
    return str(error.rule.value)
