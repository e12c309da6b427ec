"""proto/ and what is generated of it belong together, and its users are not broken."""

import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]
_BUF = Path(sys.executable).with_name("buf")
_GENERATED = _ROOT / "chaosplugin" / "transport" / "_pb"


def _files(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.glob("*_pb2.py*")}


def test_the_code_is_what_make_proto_generates(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(_ROOT / "proto" / "generate.py"), str(tmp_path)], check=True)

    assert _files(_GENERATED) == _files(tmp_path), "run `make proto`"


@pytest.mark.parametrize(
    "arguments", [["lint"], ["format", "--diff", "--exit-code"], ["breaking", "--against", "published.binpb"]]
)
def test_buf_has_no_complaints(arguments: list[str]) -> None:
    command = [str(_BUF), *arguments]
    done = subprocess.run(command, cwd=_ROOT / "proto", capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_published_image_is_of_these_files(tmp_path: Path) -> None:
    made = tmp_path / "image.binpb"
    subprocess.run(
        [str(_BUF), "build", "--exclude-source-info", "--output", str(made)], cwd=_ROOT / "proto", check=True
    )

    assert (_ROOT / "proto" / "published.binpb").read_bytes() == made.read_bytes(), "run `make proto`"
