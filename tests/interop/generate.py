"""Generate the Go client of proto/ that `host` calls with: `python -m tests.interop.generate FOLDER`."""

import sys
from pathlib import Path

from grpc_tools import protoc

from tests.interop import hosts

_PROTO = Path(__file__).parents[2] / "proto"
_WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
_GENERATORS = {
    "go": "google.golang.org/protobuf/cmd/protoc-gen-go",
    "go-grpc": "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
}
FILES = ("chaosplugin/v1/gates.proto", "chaosplugin/v1/metric_provider.proto")


def generate(folder: Path) -> None:
    """Write the Go files.

    Raises: subprocess.CalledProcessError, when there is no Go, or no module proxy.
    """
    arguments = ["protoc", f"-I{_PROTO}", f"-I{_WELL_KNOWN}"]
    for name, package in _GENERATORS.items():
        arguments += [f"--plugin=protoc-gen-{name}={hosts.build_tool(package)}", f"--{name}_out={folder}"]
        arguments += [f"--{name}_opt=paths=source_relative"]
        arguments += [f"--{name}_opt=M{file}=chaosplugin/interop/pb" for file in FILES]
    if protoc.main([*arguments, *FILES]):
        raise SystemExit(1)
    for file in (folder / "chaosplugin" / "v1").iterdir():
        file.rename(folder / file.name)
    (folder / "chaosplugin" / "v1").rmdir()
    (folder / "chaosplugin").rmdir()


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
