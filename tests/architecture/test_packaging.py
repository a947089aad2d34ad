"""The distribution is as promised: three typed packages, extras that stand alone, usable pins."""

import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain

import pytest

from tests.architecture.rules import PACKAGES, ROOT

pytestmark = pytest.mark.fast

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIRED = [*PROJECT["dependencies"], *chain.from_iterable(PROJECT["optional-dependencies"].values())]
PINS = [
    line
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def name_of(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower().replace("_", "-")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without isolation, so without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        yield archive


def test_wheel_holds_the_three_packages_and_nothing_else(wheel):
    folders = {name.split("/")[0] for name in wheel.namelist()}
    assert folders == {*PACKAGES, f"secagg-{PROJECT['version']}.dist-info"}


def test_wheel_holds_every_module(wheel):
    paths = chain.from_iterable((ROOT / package).rglob("*.py") for package in PACKAGES)
    packed = {name for name in wheel.namelist() if name.endswith(".py")}
    assert packed == {path.relative_to(ROOT).as_posix() for path in paths}


def test_wheel_is_typed_and_licensed(wheel):
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_core_is_five_libraries():
    assert {name_of(line) for line in PROJECT["dependencies"]} == {
        "cryptography",
        "msgspec",
        "numpy",
        "rich",
        "typer",
    }


def test_no_range_is_capped():
    assert [line for line in REQUIRED if re.search(r"==|<|~=", line)] == []


def test_extras_stand_alone():
    extras = PROJECT["optional-dependencies"]
    assert set(extras) == {"torch", "server", "flower", "nvflare", "ray", "demo", "bench", "tune", "dev"}
    assert [line for lines in extras.values() for line in lines if name_of(line) == "secagg"] == []


def test_every_requirement_is_pinned():
    assert {name_of(line) for line in REQUIRED} <= {name_of(pin) for pin in PINS}


def test_pins_name_no_source_and_no_gpu():
    assert [pin for pin in PINS if not re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", pin)] == []
    assert [pin for pin in PINS if pin.startswith(("nvidia-", "cuda-", "triton"))] == []
