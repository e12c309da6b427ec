"""The image: its last stage, built and run by buildah, which wants no daemon and, for this, no registry."""

import base64
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaosplugin import __version__
from tests.interop.leftovers import until
from tests.packaging import release, tools

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]
_ROOT = Path(__file__).parents[2]


class Buildah:
    """Images and containers in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        program = tools.from_debian("buildah", "buildah")
        places = [f"--root={folder}/images", f"--runroot={folder}/run"]
        self._command = [str(program), *places, "--storage-driver=vfs"]
        self.shared = folder / "shared"
        self.shared.mkdir(mode=0o777)
        self.shared.chmod(0o777)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self, context: Path) -> str:
        """Build with a folder in the place of the first stage, and return the image's id."""
        stage = f"--build-context=build={context}"
        version = f"--build-arg=VERSION={__version__}"
        return self("build", "--quiet", "--isolation=chroot", "--timestamp=0", stage, version, str(_ROOT))

    def run(self, image: str, *arguments: str) -> str:
        return self(*self._run(image, *arguments))

    @contextmanager
    def running(self, image: str, *arguments: str) -> Iterator[Path]:
        """Run it meanwhile, and give the file of its log."""
        log = self.shared / "log"
        with log.open("w") as written:
            process = subprocess.Popen([*self._command, *self._run(image, *arguments)], stderr=written)
        try:
            yield log
        finally:
            process.terminate()
            process.wait(30)

    def _run(self, image: str, *arguments: str) -> list[str]:
        container = self("from", image)
        volume = f"--volume={self.shared}:/plugins"
        return ["run", "--isolation=chroot", volume, container, "--", "/chaosplugin", *arguments]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    (folder / "out" / "tmp").mkdir(parents=True)
    (folder / "out" / "tmp").chmod(0o1777)
    shutil.copy(release.file(), folder / "out" / "chaosplugin")
    return folder


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Buildah:
    return Buildah(tmp_path_factory.mktemp("buildah"))


@pytest.fixture(scope="module")
def image(buildah: Buildah, context: Path) -> str:
    return buildah.build(context)


def test_the_image_says_what_it_is_and_starts_as_a_user_without_rights(buildah: Buildah, image: str) -> None:
    config = json.loads(buildah("inspect", "--type=image", image))["OCIv1"]["config"]

    assert config["User"] == "999:999"
    assert config["Entrypoint"] == ["/chaosplugin"]
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_it_installs_the_plugin_as_an_init_container(buildah: Buildah, image: str) -> None:
    said = buildah.run(image, "install", "/plugins/chaosplugin")

    assert said == "installed /plugins/chaosplugin"
    assert (buildah.shared / "chaosplugin").read_bytes() == release.file().read_bytes()


def test_it_is_a_command_line(buildah: Buildah, image: str) -> None:
    assert buildah.run(image, "--version") == f"chaosplugin {__version__}"


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    """An embedded cluster's, with the rights of a plugin."""
    command = [sys.executable, "-m", "chaosplugin", "sandbox", "--folder", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield tmp_path / "system-serviceaccount-argo-rollouts-argo-rollouts.kubeconfig"
        process.terminate()


def test_it_is_a_server_that_its_command_line_asks(buildah: Buildah, image: str, kubeconfig: Path) -> None:
    config = json.loads(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]  # the image does not see the authority's file
    authority = Path(cluster.pop("certificate-authority")).read_bytes()
    cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    (buildah.shared / "kubeconfig").write_text(json.dumps(config))
    (buildah.shared / "kubeconfig").chmod(0o644)
    server = ("serve", "--listen", "unix:///plugins/socket", "--kubeconfig", "/plugins/kubeconfig")
    with buildah.running(image, *server) as log:
        until(lambda: "serving at unix:/plugins/socket" in log.read_text(), 60)
        owner = (buildah.shared / "socket").stat().st_uid
        said = buildah.run(image, "ls", "--server", "unix:///plugins/socket")

    assert owner == 999
    assert said.split()[:3] == ["NAMESPACE", "ID", "STAGE"]


def test_the_same_file_gives_the_same_image(buildah: Buildah, image: str, context: Path) -> None:
    assert buildah.build(context) == image
