"""What is compiled, on a machine that has no compiler of its own."""

import tarfile
from pathlib import Path

import pytest

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def test_zstd_is_fetched_where_there_is_no_c_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onefile import compiler  # noqa: PLC0415 - installed for `make dist` only

    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))

    assert (compiler.fetch_zstd(tmp_path) / "zstd.c").exists()


def test_a_build_that_is_interrupted_while_it_unpacks_leaves_no_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onefile import compiler  # noqa: PLC0415 - installed for `make dist` only

    def interrupted(archive: tarfile.TarFile, path: Path) -> None:
        archive.extract(next(iter(archive)), path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tarfile.TarFile, "extractall", interrupted)
        with pytest.raises(KeyboardInterrupt):
            compiler.fetch_zstd(tmp_path)

    assert (compiler.fetch_zstd(tmp_path) / "zstd.c").exists()
