"""The vectors in tests/vectors, replayed; and the second implementation against the first on random rounds."""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from protocols.pairwise import Rule, VectorSpec
from protocols.wire import WireRule
from tests.reference import naive
from tests.reference.adapter import Naive
from tests.vectors import document as doc
from tests.vectors import gen
from tests.vectors.library import Library
from tests.vectors.recording import Recording, Setup, setup
from tests.vectors.replay import Implementation, Mismatch, replay

POSITIVE = [*doc.paths("positive"), *doc.paths("scenes")]
NEGATIVE = doc.paths("negative")
RULES = {rule.value for rule in (*WireRule, *Rule)}
UNREACHABLE: set[str] = set()
"""Rules that no frame and no construction can break; README.md says why."""

AFTER_HONEST = {
    *(f"bad_S3_{what}" for what in ("keys", "part", "shares", "chunk", "first_chunk_again", "answer", "noise")),
    "bad_S6_beyond_the_end",
    "bad_order_question_again",
    "bad_C27_mask_key_low_order",
    "bad_C27_mask_key_non_canonical",
}
"""What is refused because of something honest that came before, or of a key that was let pass before."""

ROUNDS = 50


def named(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("implementation", [Library(), Naive()], ids=["library", "naive"])
@pytest.mark.parametrize("path", POSITIVE, ids=named)
def test_positive(path: Path, implementation: Implementation) -> None:
    replay(doc.load(path), implementation)


@pytest.mark.parametrize("path", NEGATIVE, ids=named)
def test_negative(path: Path) -> None:
    replay(doc.load(path), Library())


# -- the set -----------------------------------------------------------------------------------------------------------


@cache
def refusals() -> dict[str, list[dict[str, Any]]]:
    """What each negative vector refuses."""
    found = {}
    for path in NEGATIVE:
        operations = doc.load(path)["operations"]
        found[path.stem] = [operation["outcome"] for operation in operations if operation["outcome"] != "ok"]
    return found


def test_every_negative_vector_has_one_refusal_of_the_rule_in_its_name() -> None:
    for name, outcomes in refusals().items():
        (outcome,) = outcomes
        rule = name.split("_")[1]
        assert outcome["refused"] == {"params": "parameters"}.get(rule, rule), name


def test_what_was_refused_is_accepted_once_it_is_honest() -> None:
    """So the bad frame had that one failure. A start, a memory or a dishonest dealer leaves nothing to go on with."""
    final = {"params", "S10", "C31", "C32", "C33", "C34", *(f"C{number}" for number in (*range(1, 10), 30))}
    for path in NEGATIVE:
        operations = doc.load(path)["operations"]
        ends_in_refusal = operations[-1]["outcome"] != "ok"
        assert ends_in_refusal == (path.stem.split("_")[1] in final or path.stem in AFTER_HONEST), path.stem


def test_every_rule_has_a_negative_vector() -> None:
    covered = {name.split("_")[1] for name in refusals()}
    assert covered - {"params", "order"} == RULES - UNREACHABLE


def test_there_are_enough_vectors_and_they_are_small() -> None:
    variants = Counter((d["params"]["protocol"], d["params"]["adversary"]) for d in map(doc.load, POSITIVE))
    assert len(POSITIVE) >= 36
    assert len(variants) == 4
    assert min(variants.values()) >= 9
    assert len(NEGATIVE) >= 60
    assert (
        sum(path.stat().st_size for path in doc.HERE.rglob("*") if path.suffix in (".json", ".py", ".md")) < 3_500_000
    )


def test_positive_vectors_refuse_nothing() -> None:
    for path in POSITIVE:
        assert all(operation["outcome"] == "ok" for operation in doc.load(path)["operations"]), path.stem


@cache
def wanted() -> dict[Path, str]:
    return gen.files()


def test_the_generator_finds_the_files_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in doc.HERE.rglob("*.json")}
    assert gen.main(["--check"]) == 0, capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in doc.HERE.rglob("*.json")} == before


def test_the_generator_names_the_first_difference() -> None:
    first, second, *_ = sorted(wanted())
    changed = {**wanted(), second: wanted()[second].replace('"kind": "', '"kind": "un', 1)}
    assert str(gen.first_difference(changed)).startswith(f"negative/{second.name}, line")
    more = {**wanted(), first.with_name("another.json"): "{}"}
    assert gen.first_difference(more) == "negative/another.json is missing"
    less = {path: text for path, text in wanted().items() if path != first}
    assert gen.first_difference(less) == f"negative/{first.name} is no vector of the generator"
    assert (
        gen.first_difference({**wanted(), first: wanted()[first] + "\n"}) == f"negative/{first.name} has another length"
    )


# -- a runner that sees nothing proves nothing -------------------------------------------------------------------------


def flipped(digits: str) -> str:
    return f"{int(digits[:2], 16) ^ 1:02x}" + digits[2:]


def change_a_frame(document: doc.Document) -> None:
    output = next(output for op in document["operations"] for output in op["outputs"] if "hex" in output)
    output["hex"] = flipped(output["hex"])


def change_a_hash(document: doc.Document) -> None:
    output = next(output for op in document["operations"] for output in op["outputs"] if "sha256" in output)
    output["sha256"] = flipped(output["sha256"])


def change_a_receiver(document: doc.Document) -> None:
    output = next(output for op in document["operations"] for output in op["outputs"] if "to" in output)
    output["to"] = output["to"][1:]


def change_a_sum(document: doc.Document) -> None:
    sums = document["operations"][-1]["result"]["sums"]
    sums["model"] = "1" + sums["model"]


def change_the_survivors(document: doc.Document) -> None:
    document["operations"][-1]["result"]["survivors"].pop()


def change_a_draw(document: doc.Document) -> None:
    draw = document["parties"]["2"]["draws"][-1]
    draw[1] = flipped(draw[1])


def add_a_draw(document: doc.Document) -> None:
    document["parties"]["2"]["draws"].append(["aead-nonce", bytes(12).hex()])


def expect_a_refusal(document: doc.Document) -> None:
    document["operations"][-1]["outcome"] = {"refused": "S10", "culprit": 1}


def change_the_joint_seed(document: doc.Document) -> None:
    operation = next(op for op in document["operations"] if op["operation"] == "joint-seed")
    operation["value"] = flipped(operation["value"])


CHANGES = [
    change_a_frame,
    change_a_hash,
    change_a_receiver,
    change_a_sum,
    change_the_survivors,
    change_a_draw,
    add_a_draw,
    expect_a_refusal,
    change_the_joint_seed,
]


@pytest.mark.parametrize("implementation", [Library(), Naive()], ids=["library", "naive"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_vector_fails(change: Callable[[doc.Document], None], implementation: Implementation) -> None:
    document = copy.deepcopy(doc.load(doc.HERE / "positive" / "secagg_active_n3_t3_joint.json"))
    document["operations"][0]["outcome"] = "ok"
    change(document)
    with pytest.raises((Mismatch, AssertionError)):
        replay(document, implementation)


@pytest.mark.parametrize("change", [{"refused": "C17"}, {"culprit": 5}])
def test_a_negative_vector_with_another_outcome_fails(change: dict[str, Any]) -> None:
    document = doc.load(doc.HERE / "negative" / "bad_C19_mask_key_share.json")
    refused = next(op for op in document["operations"] if op["outcome"] != "ok")
    refused["outcome"] |= change
    with pytest.raises(Mismatch, match=r"found .*'C19', 'culprit': 3"):
        replay(document, Library())


# -- random rounds -----------------------------------------------------------------------------------------------------


def test_the_second_implementation_is_short_and_shares_nothing() -> None:
    source = Path(naive.__file__).read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 350
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name).split(".")[0]  # type: ignore[union-attr]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported == {"cryptography", "hashlib", "math", "msgspec", "struct"}


def random_vectors(random: Random) -> list[VectorSpec]:
    moduli: list[Callable[[], int]] = [
        lambda: int(2 ** random.randint(1, 64)),
        lambda: random.randint(3, 1000),
        lambda: random.randint(3, 2**62),
    ]
    lengths = [random.choice([1, 2, 7, 8, 9, random.randint(1, 40)]) for _ in range(random.randint(1, 4))]
    if random.random() < 0.1:
        lengths[-1] = 8192 + random.randint(-1, 40)
    return [VectorSpec(f"vector {i}", length, random.choice(moduli)()) for i, length in enumerate(lengths)]


def random_round(seed: int) -> tuple[Setup, dict[int, float]]:
    """A round of any variant, and drop-outs that leave enough."""
    random = Random(seed)
    adversary = random.choice(["curious", "active"])
    sparse = random.random() < 0.5
    n = random.randint(5 if sparse else 3, 9)
    clients = sorted(random.sample(range(1, random.choice([10, 1000, 65536])), n))
    params: dict[str, Any] = {
        "adversary": adversary,
        "round_index": random.randrange(1 << 32),
        "joint_randomness": random.random() < 0.4,
    }
    last = 4 + (adversary == "active") + sparse
    if sparse:
        degree = random.randrange(2, n - 1, 2)
        dropping = random.randint(0, 1)
        least = (degree + 1) // 2 + 1 if adversary == "active" else 2
        threshold = random.randint(least, max(least, degree + 1 - dropping))
        # Against an active server no k/2 in a row may be missing from the ring, and every secret needs its threshold.
        stages = list(range(last)) if (degree > 2 or adversary == "curious") else [0, last - 1]
        # Everybody reveals its part and, against an active server, shares keys.
        stages = [stage for stage in stages if stage not in ((1, 2) if adversary == "active" else (1,))]
        params |= {"protocol": "secagg+", "degree": degree, "min_survivors": n - dropping}
        policy = {"colluders": 0}
    else:
        threshold = random.randint(max(3, (n + 1) // 2 + 1), n)
        dropping = random.randint(0, n - threshold)
        stages = [stage for stage in range(last) if stage != 1 or not params["joint_randomness"]]
        params |= {"protocol": random.choice(["secagg", "secagg+"]), "degree": random.choice([0, n - 1])}
        policy = {}
    params["noise_components"] = random.choice([0, random.randint(0, n - params.get("min_survivors", threshold))])
    completed: dict[int, float] = {}
    for client in random.sample(clients, dropping if not sparse or threshold <= degree else 0):
        stage = random.choice(stages)
        amid = stage == last - 2 - (adversary == "active") and random.random() < 0.3
        completed[client] = stage + (0.6 if amid else 0)
    return setup(f"random {seed}", clients, threshold, random_vectors(random), policy=policy, **params), completed


def test_random_rounds(rng: np.random.Generator) -> None:
    seen: Counter[tuple[str, str, bool]] = Counter()
    for _ in range(ROUNDS):
        seed = int(rng.integers(1 << 32))
        print(f"round seed {seed}")
        given, completed = random_round(seed)
        document = Recording(given).run(completed).write(f"random {seed}", "", 1 << 20)
        replay(document, Naive())
        seen[given.params.adversary, given.params.protocol, given.params.sparse] += 1
    assert len(seen) == 6, seen
