"""What a release carries besides the build: its notes, the manifests, and the images."""

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from onefile.targets import Target

_ROOT = Path(__file__).parents[2]
_MANIFESTS = ("deploy", "examples", "observability", ":!observability/source")


def write_notes(version: str, out: Path) -> None:
    """Write what the changelog says of a version, or of what has no version yet."""
    sections = re.split(r"(?m)^## \[([^]]+)\].*\n", (_ROOT / "CHANGELOG.md").read_text())
    texts = dict(zip(sections[1::2], sections[2::2], strict=True))
    out.write_text(f"# chaosplugin {version}\n\n{texts.get(version, texts['Unreleased']).strip()}\n")


def insist_on_commit() -> None:
    """Raises: ValueError, when the sources are not those of a commit: nobody could build them again."""
    status = ["git", "status", "--porcelain"]
    changed = subprocess.run(status, cwd=_ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    if changed:
        raise ValueError(f"commit first, a release is made of what is committed:\n{changed.rstrip()}")


def write_manifests(version: str, out: Path) -> None:
    """Write what operators apply, as it is committed."""
    archive = ["git", "archive", "--format=tar.gz", f"--prefix=chaosplugin-{version}/", f"--output={out}"]
    subprocess.run([*archive, "HEAD", *_MANIFESTS], cwd=_ROOT, check=True)


def write_images(targets: Iterable[Target], version: str, dist: Path, build: Path) -> None:
    """Write the Dockerfile's last stage as an OCI archive for each CPU; buildah wants no daemon for it.

    Raises: LookupError, when there is no buildah.
    """
    if shutil.which("buildah") is None:
        raise LookupError("the images are built by buildah, which is not installed")
    for target in targets:
        context = build / f"image-{target.name}"
        shutil.rmtree(context, ignore_errors=True)
        (context / "out" / "tmp").mkdir(parents=True)
        (context / "out" / "tmp").chmod(0o1777)
        shutil.copy(dist / f"chaosplugin-linux-{target.name}", context / "out" / "chaosplugin")
        buildah = ["buildah", f"--root={context}/store", f"--runroot={context}/run", "--storage-driver=vfs"]
        stage = [f"--build-context=build={context}", f"--build-arg=VERSION={version}"]
        fixed = ["--timestamp=0", f"--platform=linux/{target.name}", "--isolation=chroot", "--quiet"]
        made = subprocess.run(
            [*buildah, "build", *fixed, *stage, str(_ROOT)], check=True, stdout=subprocess.PIPE, text=True
        )
        archive = f"oci-archive:{dist}/chaosplugin-image-{target.name}.tar:chaosplugin:{version}"
        subprocess.run([*buildah, "push", "--quiet", made.stdout.strip(), archive], check=True)
        shutil.rmtree(context)
