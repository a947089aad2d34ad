"""The diagram in protocols/README.md is the table in states.py.

``python tests/protocols/test_readme.py`` writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from protocols.pairwise.states import CLIENT_TRANSITIONS, SERVER_ADVANCES, State

README = Path(__file__).parents[2] / "protocols" / "README.md"
PLACE = re.compile(r"(<!-- transitions: .*? -->\n).*?(<!-- end of transitions -->)", re.DOTALL)


def diagram() -> str:
    lines = ["```mermaid", "stateDiagram-v2", "    state client {"]
    lines += [
        f"        {before.__name__} --> {after.__name__}: {message.__name__}"
        for (before, message), afters in CLIENT_TRANSITIONS.items()
        for after in afters
        if message.__name__ != "Abort"
    ]
    lines += ["    }", "    state server {"]
    lines += [
        f"        {before.__name__} --> {after.__name__}: advance"
        for before, afters in SERVER_ADVANCES.items()
        for after in afters
    ]
    return "\n".join([*lines, "    }", "```", ""])


@pytest.mark.fast
def test_diagram_is_up_to_date() -> None:
    found = PLACE.search(README.read_text())
    assert found is not None
    assert found[0] == found[1] + diagram() + found[2]


@pytest.mark.fast
def test_every_live_state_can_be_aborted() -> None:
    live = {before for before, _ in CLIENT_TRANSITIONS}
    aborted = {before for before, message in CLIENT_TRANSITIONS if message.__name__ == "Abort"}
    assert live == aborted
    assert all(issubclass(state, State) for state in live)


if __name__ == "__main__":
    README.write_text(PLACE.sub(lambda found: found[1] + diagram() + found[2], README.read_text()))
