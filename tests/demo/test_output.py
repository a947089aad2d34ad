import os
import stat

import pytest

from secagg.demo.output import check_writable, write_whole
from secagg.errors import UsageError

pytestmark = pytest.mark.fast


def test_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "made" / "later")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below", "dangling", "dangling/below"])
def test_folder_that_cannot_be_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("taken")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match=r"cannot write to .*--out"):
        check_writable(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        check_writable(tmp_path / "out")


def test_files_are_written_and_readable_like_others(tmp_path):
    folder = tmp_path / "a" / "b"
    write_whole(folder, {"one.txt": "é\n", "two.txt": ""})
    assert (folder / "one.txt").read_text(encoding="utf-8") == "é\n"
    assert sorted(path.name for path in folder.iterdir()) == ["one.txt", "two.txt"]
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    assert stat.S_IMODE((folder / "one.txt").stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)


def test_failure_leaves_the_files_of_an_earlier_run(tmp_path, monkeypatch):
    write_whole(tmp_path, {"one.txt": "old", "two.txt": "old"})
    calls = []

    def full_disk(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UsageError, match="No space left"):
        write_whole(tmp_path, {"one.txt": "new", "two.txt": "new"})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one.txt": "old", "two.txt": "old"}
