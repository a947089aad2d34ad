"""The other rules of ``rules.py``: the packages keep them, and each is seen to catch what it is there for."""

import pytest

from tests.architecture import rules
from tests.architecture.rules import Module

pytestmark = pytest.mark.fast


OTHER_RULES = [rule for rule in rules.RULES if rule is not rules.imports_follow_the_table]


@pytest.mark.parametrize("rule", OTHER_RULES, ids=lambda rule: rule.__name__)
def test_packages_keep(rule):
    violations = [violation for module in rules.modules() for violation in rule(module)]
    assert not violations, "\n" + "\n".join(map(str, violations))


PLANTED = [
    # (rule, module, source, what the violation says)
    ("names_say_what_is_inside", "quant.utils", "", "'utils'"),
    ("names_say_what_is_inside", "secagg.site.key_helpers", "", "'helpers'"),
    ("names_say_what_is_inside", "protocols.core", "", "'core'"),
    ("modules_are_short", "quant.clip", "x = 1\n" * 401, "401 lines"),
    ("calls_are_safe", "quant.clip", "assert x > 0", "assert"),
    ("calls_are_safe", "quant.clip", "try:\n    f()\nexcept:\n    pass", "bare except"),
    ("calls_are_safe", "quant.clip", "eval('1')", "eval()"),
    ("calls_are_safe", "quant.clip", "exec('1')", "exec()"),
    ("calls_are_safe", "secagg.demo.report", "print(1)", "print()"),
    ("calls_are_safe", "quant.clip", "open('file')", "open()"),
    ("calls_are_safe", "secagg.journal", "import pickle", "pickle"),
    ("calls_are_safe", "secagg.journal", "def f():\n    from pickle import loads", "pickle"),
    ("randomness_has_one_door", "quant.rounding", "import random", "random"),
    ("randomness_has_one_door", "secagg.session", "from random import Random", "random.Random"),
    ("randomness_has_one_door", "secagg.session", "import numpy as np\nnp.random.default_rng()", "np.random"),
    ("randomness_has_one_door", "secagg.session", "import numpy\nnumpy.random.rand()", "numpy.random"),
    ("randomness_has_one_door", "secagg.session", "from numpy import random", "numpy.random"),
    ("randomness_has_one_door", "secagg.session", "from numpy.random import default_rng", "numpy.random"),
    ("randomness_has_one_door", "secagg.session", "import numpy.random as r", "numpy.random"),
    ("randomness_has_one_door", "secagg.session", "import os\nos.urandom(8)", "os.urandom"),
    ("randomness_has_one_door", "secagg.session", "from os import urandom", "os.urandom"),
    ("randomness_has_one_door", "secagg.simulate", "import secrets", "secrets"),
    (
        "randomness_has_one_door",
        "protocols.primitives.signing",
        "Ed25519PrivateKey.generate()",
        "asks the OS",
    ),
    ("randomness_has_one_door", "secagg.site.keys", "aead.AESGCM.generate_key(256)", "asks the OS"),
]


@pytest.mark.parametrize(("rule", "name", "source", "says"), PLANTED)
def test_planted_violation_is_seen(rule, name, source, says):
    violations = [str(violation) for violation in getattr(rules, rule)(Module(name, source))]
    assert len(violations) == 1
    assert says in violations[0]


def test_every_rule_has_a_planted_violation():
    assert {rule.__name__ for rule in OTHER_RULES} == {row[0] for row in PLANTED}


ALLOWED = [
    ("quant.clip", "import math\nimport numpy as np\nfrom quant.errors import E\nfrom . import grid"),
    ("quant.streams", "import os\nos.urandom(8)"),
    ("protocols.entropy", "import secrets\nsecrets.token_bytes(8)"),
    (
        "protocols.primitives.aead",
        "import hmac\nfrom cryptography.hazmat import primitives\nfrom ..errors import E",
    ),
    ("protocols.pairwise.client", "from ..primitives import shamir\nimport msgspec"),
    ("secagg.session", "import os\nimport time\nimport protocols\nimport quant\nfrom . import config"),
    ("secagg.cli", "import rich\nprint(1)\ndef f():\n    import secagg.integrations.flower"),
    (
        "secagg.demo.training",
        "import torch\nimport sklearn.datasets\nimport numpy as np\nnp.random.default_rng(0)",
    ),
    ("secagg.simulate", "import numpy as np\nnp.random.default_rng(0)"),
    ("secagg.coordinator.app", "from starlette.routing import Route"),
    ("secagg.audit.log", "from secagg.transcript import records\nimport protocols.primitives\nfrom . import checks"),
    ("secagg.integrations.flower.app", "import flwr\nfrom . import mod\nimport secagg"),
]


@pytest.mark.parametrize(("name", "source"), ALLOWED, ids=[name for name, _ in ALLOWED])
def test_allowed_code_passes(name, source):
    module = Module(name, source)
    assert [str(violation) for rule in rules.RULES for violation in rule(module)] == []
