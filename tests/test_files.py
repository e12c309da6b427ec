import os
from pathlib import Path

from chaosplugin import files


def test_links_that_are_swapped_to_a_file_of_the_same_time_and_size_are_another_version(
    tmp_path: Path,
) -> None:
    for name in ("old", "new"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, ns=(1, 1))
    link = tmp_path / "token"
    link.symlink_to("old")
    before = files.version([link])

    (tmp_path / "next").symlink_to("new")
    (tmp_path / "next").replace(link)

    assert files.version([link]) != before
    assert files.version([link]) == files.version([link])


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()

    assert files.version([there, tmp_path / "nowhere"])[1] is None
    assert None not in files.version([there])
