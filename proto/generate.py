"""Generate the Python code of proto/ into a folder: `python proto/generate.py FOLDER`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc

_HERE = Path(__file__).parent
_WELL_KNOWN = Path(protoc.__file__).parent / "_proto"


def generate(folder: Path) -> None:
    """Write a module and its types for each file; none of ours imports another of ours, so they lie flat."""
    sources = [str(source.relative_to(_HERE)) for source in sorted(_HERE.rglob("*.proto"))]
    with TemporaryDirectory() as made:
        outputs = (f"--python_out={made}", f"--pyi_out={made}")
        if protoc.main(["protoc", f"-I{_HERE}", f"-I{_WELL_KNOWN}", *outputs, *sources]):
            raise SystemExit(1)
        for module in sorted(Path(made).rglob("*_pb2.py*")):
            (folder / module.name).write_bytes(module.read_bytes())


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
