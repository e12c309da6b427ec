"""Runs a pod's containers by what its manifest says, as a kubelet would: words, volumes, account, user.

Each container has a read-only root with what its image holds and what the manifest mounts, and nothing else
of the machine. The network is the machine's: run it in a namespace (`tests.realbed.netns`).
"""

import base64
import http.client
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.realbed.api import Json
from tests.realbed.bed import Bed

_USER = 999
_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
_DEVICES = ("/dev/null", "/dev/urandom")
# the root, its working folder, then source, target and ro or rw of each mount, --, the program
_ENTER = """\
set -e
root=$1 folder=$2
shift 2
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
	mount --bind "$1" "$root$2"
	[ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
	shift 3
done
shift
mount -o remount,bind,ro "$root"
exec setpriv --no-new-privs --inh-caps=-all \
	unshare --root="$root" --wd="$folder" --setgid=999 --setuid=999 "$@"
"""


@dataclass(frozen=True, slots=True)
class Image:
    """What a container begins with: `files` of this machine, by their paths in the image."""

    files: Mapping[str, Path]
    entrypoint: Sequence[str]
    folder: str = "/"


@dataclass(slots=True)
class Pod:
    """A pod of a Deployment in a bed, named after its folder `work`.

    `hosts` are the names that it looks up, all on this machine; it trusts the bed's authority.
    """

    bed: Bed
    manifest: Json
    images: Mapping[str, Image]
    work: Path
    hosts: Sequence[str] = ()
    _volumes: dict[str, Path] = field(default_factory=dict)
    _logs_before: dict[str, int] = field(default_factory=dict)

    def start(self, words: Mapping[str, Sequence[str]]) -> None:
        """Run init containers to their ends, then start the others; `words` come after a container's own."""
        is_root = Path("/proc/self/uid_map").read_text().split()[:2] == ["0", "0"]
        assert is_root, "containers mount volumes and are another user: run it as root"
        for volume in (*self._spec["volumes"], self._account()):
            self._volumes[volume["name"]] = self._filled(volume)
        for container in self._spec.get("initContainers", ()):
            command = self._command(container, [])
            subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL)
        for container in self._spec["containers"]:
            self._begin(container, words.get(container["name"], ()))
        for container in self._spec["containers"]:
            self._until_ready(container)

    def restart(self, name: str, words: Sequence[str]) -> None:
        """End a container and start it anew; the volumes stay as they are."""
        (container,) = [each for each in self._spec["containers"] if each["name"] == name]
        self.bed.processes.stop(self._name(container))
        self._begin(container, words)
        self._until_ready(container)

    def stop(self) -> None:
        for container in self._spec["containers"]:
            self.bed.processes.stop(self._name(container))

    def execute(self, name: str, program: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end in a container, as `kubectl exec` does."""
        (container,) = [each for each in self._spec["containers"] if each["name"] == name]
        command = self._entered(container, program)
        stdin = subprocess.DEVNULL
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, check=False, timeout=120)

    def log(self, container: str) -> str:
        """Return what a container has said, without what one of this name said before."""
        return self._whole_log(container)[self._logs_before.get(container, 0) :]

    def _whole_log(self, container: str) -> str:
        file = self.bed.processes.log(f"{self.work.name}-{container}")
        return file.read_text(errors="replace") if file.exists() else ""

    def volume(self, name: str) -> Path:
        """Return where the content of a volume is."""
        return self._volumes[name]

    @property
    def _spec(self) -> Json:
        spec: Json = self.manifest["spec"]["template"]["spec"]
        return spec

    def _name(self, container: Json) -> str:
        return f"{self.work.name}-{container['name']}"

    def _begin(self, container: Json, words: Sequence[str]) -> None:
        command = self._command(container, words)
        self._logs_before[container["name"]] = len(self._whole_log(container["name"]))
        self.bed.processes.start(self._name(container), *command)

    def _until_ready(self, container: Json) -> None:
        for kind in ("livenessProbe", "readinessProbe"):
            if kind in container:
                name = self._name(container)
                check = partial(self.probe, container["name"], kind)
                self.bed.processes.until(f"{name}: {kind}", name, check)

    def probe(self, name: str, kind: str) -> bool:
        """Ask as the kubelet does, which waits a second where the manifest says nothing else."""
        (probe,) = [each[kind] for each in self._spec["containers"] if each["name"] == name]
        asked = probe["httpGet"]
        try:
            return self.fetch(name, asked["port"], asked["path"], probe.get("timeoutSeconds", 1))[0] == 200
        except OSError:
            return False

    def fetch(self, name: str, port: str, path: str, timeout: float = 10) -> tuple[int, str]:
        """Return status and content of a page of a container, at the port of a name. Raises: OSError."""
        (ports,) = [each["ports"] for each in self._spec["containers"] if each["name"] == name]
        (number,) = [each["containerPort"] for each in ports if each["name"] == port]
        with closing(http.client.HTTPConnection("127.0.0.1", number, timeout=timeout)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    def pid(self, name: str) -> int:
        """Return the process of a container."""
        return self.bed.processes.running[f"{self.work.name}-{name}"].pid

    # -- volumes

    def _account(self) -> Json:
        """Return the volume that admission adds to each pod."""
        token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}}
        authority = {"configMap": {"name": "kube-root-ca.crt"}}
        name = {"downwardAPI": {"items": [{"path": "namespace"}]}}
        return {"name": _ACCOUNT, "projected": {"sources": [token, authority, name]}}

    def _filled(self, volume: Json) -> Path:
        folder = self.work / "volumes" / str(volume["name"]).replace("/", "-")
        folder.mkdir(parents=True)
        if "emptyDir" in volume:
            folder.chmod(0o777)
        else:
            sources = volume.get("projected", {}).get("sources") or [volume]
            for name, data in (each for source in sources for each in self._content(source)):
                (folder / name).write_bytes(data)
                (folder / name).chmod(0o644)
        return folder

    def _content(self, source: Json) -> Iterator[tuple[str, bytes]]:
        core = f"/api/v1/namespaces/{self.manifest['metadata']['namespace']}"
        match source:
            case {"secret": wanted}:
                name = wanted.get("name") or wanted["secretName"]
                data = self.bed.api.get(f"{core}/secrets/{name}")["data"]
                paths = {each["key"]: each["path"] for each in wanted.get("items") or ()}
                for key, value in data.items():
                    if not paths or key in paths:
                        yield paths.get(key, key), base64.b64decode(value)
            case {"configMap": {"name": name}}:
                for key, value in self.bed.api.get(f"{core}/configmaps/{name}")["data"].items():
                    yield key, value.encode()
            case {"downwardAPI": {"items": [{"path": path}]}}:
                yield path, str(self.manifest["metadata"]["namespace"]).encode()
            case {"serviceAccountToken": wanted}:
                audiences = [wanted["audience"]] if "audience" in wanted else []
                spec = {"expirationSeconds": wanted["expirationSeconds"], "audiences": audiences}
                account = f"{core}/serviceaccounts/{self._spec['serviceAccountName']}"
                answer = self.bed.api.create(f"{account}/token", {"spec": spec})
                yield wanted["path"], answer["status"]["token"].encode()
            case _:
                raise NotImplementedError(f"a volume of {source}")

    # -- containers

    def _command(self, container: Json, words: Sequence[str]) -> list[str]:
        entrypoint = self.images[container["image"]].entrypoint
        return self._entered(container, [*entrypoint, *container.get("args", ()), *words])

    def _entered(self, container: Json, program: Sequence[str]) -> list[str]:
        image = self.images[container["image"]]
        mounts = [(str(file), path, "ro") for path, file in image.files.items()]
        mounts += [(device, device, "rw") for device in _DEVICES]
        authority = str(self.bed.pki / "ca.crt")
        mounts += [(authority, _ROOTS, "ro"), (str(self._volumes[_ACCOUNT]), _ACCOUNT, "ro")]
        for mount in container["volumeMounts"]:
            how = "ro" if mount.get("readOnly") else "rw"
            mounts.append((str(self._volumes[mount["name"]]), mount["mountPath"], how))
        root = self._root(container["name"], image, mounts)
        address = urlsplit(self.bed.api.server)
        environment = {
            "PATH": os.environ["PATH"],
            "KUBERNETES_SERVICE_HOST": str(address.hostname),
            "KUBERNETES_SERVICE_PORT": str(address.port),
            **{each["name"]: each["value"] for each in container.get("env") or ()},
        }
        enter = ["sh", "-c", _ENTER, "enter", str(root), image.folder]
        listed = [part for mount in mounts for part in mount]
        variables = [f"{name}={value}" for name, value in environment.items()]
        unshared = ["unshare", "--mount", "--propagation=private"]
        return ["env", "-i", *variables, *unshared, *enter, *listed, "--", *program]

    def _root(self, name: str, image: Image, mounts: Sequence[tuple[str, str, str]]) -> Path:
        root = self.work / "roots" / name  # nothing is ever written to it
        (root / image.folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for source, target, _ in mounts:
            point = root / target.lstrip("/")
            if Path(source).is_dir():
                point.mkdir(parents=True, exist_ok=True)
            else:
                point.parent.mkdir(parents=True, exist_ok=True)
                point.touch()
        (root / "etc" / "hosts").write_text(f"127.0.0.1 localhost {' '.join(self.hosts)}\n")
        return root
