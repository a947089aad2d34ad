"""``make api`` has a page for every module that can be imported here."""

import pytest

from tests.architecture import rules

pdoc = pytest.importorskip("pdoc", reason="pdoc is not installed")


def test_pages_for_a_package(tmp_path):
    from tests.architecture import api_reference

    names = [module.name for module in rules.modules() if module.name.startswith("quant.noise")]
    api_reference.write(tmp_path, names, [])
    page = (tmp_path / "quant" / "noise" / "sampler.html").read_text(encoding="utf-8")
    assert "Sampler" in page
    assert len(list(tmp_path.rglob("*.html"))) >= len(names)
