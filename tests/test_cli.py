"""The command line: what it takes, what it refuses, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from chaosplugin import cli
from chaosplugin.transport.startup import CannotStartError


def test_the_rate_of_requests_is_the_operators() -> None:
    assert cli._settings([]).kube_api_qps == 50
    assert cli._settings(["--kube-api-qps", "1000"]).kube_api_qps == 1000


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf", "1e9"])
def test_a_rate_that_is_none_is_refused_in_one_line_for_the_hosts_log(text: str) -> None:
    with pytest.raises(CannotStartError, match=f"--kube-api-qps: met '{text}', wanted a number") as caught:
        cli._settings([f"--kube-api-qps={text}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["https://chaos.example:6443", "chaos.example/api", "", "a b"])
def test_an_endpoint_that_could_never_match_is_refused(text: str) -> None:
    with pytest.raises(CannotStartError, match=f"met '{text}', wanted HOST or HOST:PORT"):
        cli._settings([f"--allow-endpoint={text}"])


def _run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    seen = {**os.environ, "KUBECONFIG": "", **environment}
    return subprocess.run(
        [sys.executable, "-m", "chaosplugin", *arguments],
        env=seen,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("arguments", [["ls"], ["watch"], ["--self-check"], ["run", "-", "--rollout", "web"]])
def test_ctrl_c_ends_a_command_that_waits_for_the_cluster_without_a_traceback(
    arguments: list[str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        file = tmp_path / "kubeconfig"
        file.write_bytes(_kubeconfig(f"http://127.0.0.1:{silent.getsockname()[1]}"))
        command = [sys.executable, "-m", "chaosplugin", *arguments, "--kubeconfig", str(file)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
            assert process.stdin is not None
            process.stdin.write("kind: PodChaos\napiVersion: chaos-mesh.org/v1alpha1\nspec: {}\n")
            process.stdin.close()
            process.stdin = None
            asking, _ = silent.accept()
            asking.settimeout(60)
            asking.recv(1)  # a connect that is cancelled half way makes Python 3.11's asyncio complain
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
            asking.close()

    assert "Traceback" not in said
    assert process.returncode == 130


def _kubeconfig(server: str) -> bytes:
    return msgspec.json.encode(
        {
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "users": [{"name": "it", "user": {"token": "t"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }
    )


def test_the_sandbox_makes_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "bed"
    command = [sys.executable, "-m", "chaosplugin", "sandbox", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        process.send_signal(signal.SIGINT)

    assert f"kubeconfigs in {folder}" in told
    assert len(list(folder.glob("*.kubeconfig"))) == 2


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (["--port", "99999"], 2, "argument --port: met '99999', wanted a number from 0 to 65535"),
        (["--port", "-1"], 2, "argument --port: met '-1', wanted a number from 0 to 65535"),
        (["--folder", "/dev/null"], 1, "/dev/null"),
        (["--folder", "/dev/null/in"], 1, "/dev/null/in"),
    ],
)
def test_a_sandbox_that_cannot_be_says_why_in_one_line(
    options: list[str], code: int, why: str, tmp_path: Path
) -> None:
    ended = _run("sandbox", "--folder", str(tmp_path), *options)

    assert ended.returncode == code
    assert why in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr


def test_a_sandbox_whose_port_is_taken_says_so_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        ended = _run("sandbox", "--folder", str(tmp_path), "--port", str(other.getsockname()[1]))

    assert ended.returncode == 1
    assert "address already in use" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_the_demo_refuses_an_address_that_its_plugin_would_refuse() -> None:
    ended = _run("demo", "--metrics-address", "here")

    assert ended.returncode == 2
    assert "argument --metrics-address: met 'here', wanted HOST:PORT or :PORT" in ended.stderr
    assert ended.stdout == ""


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "long"])
def test_a_drain_that_is_no_time_is_refused(text: str) -> None:
    ended = _run("serve", "--listen", "unix:///nowhere/socket", f"--drain={text}")

    assert ended.returncode == 2
    assert f"argument --drain: met '{text}', wanted seconds from 0 to 3600" in ended.stderr


@pytest.mark.parametrize("text", ["-1", "argo", "4294967295"])
def test_a_group_of_the_socket_that_is_no_number_of_one_is_refused(text: str) -> None:
    ended = _run("serve", "--listen", "unix:///nowhere/socket", f"--socket-group={text}")

    assert ended.returncode == 2
    assert f"argument --socket-group: met '{text}', wanted the number of a group" in ended.stderr


def test_a_setting_that_is_no_yaml_is_named_not_the_template(tmp_path: Path) -> None:
    template = tmp_path / "gate.yaml"
    template.write_text("kind: PodChaos\n")
    ended = _run("run", str(template), "--rollout", "web", "--set", "timeout=[")

    assert ended.returncode == 3
    assert ended.stderr.startswith("chaosplugin: --set timeout: line 2, column 1: ")


def test_a_template_that_is_not_there_is_named_once() -> None:
    ended = _run("run", "nowhere.yaml", "--rollout", "web")

    assert (ended.returncode, ended.stderr) == (3, "chaosplugin: nowhere.yaml: No such file or directory\n")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no such file"),
        ("", "it does not say how to connect"),
        ("[]", "it does not say how to connect"),
        ("clusters: 5", "it does not say how to connect"),
        ("a: [", "line 1, column 5"),
    ],
)
def test_a_kubeconfig_that_is_none_is_named_with_what_is_wrong(
    text: str | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    ended = _run("ls", "--kubeconfig", str(file))

    assert ended.returncode == 3
    assert ended.stderr.startswith(f"chaosplugin: kubeconfig {file}: ")
    assert why in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["run", "x.yaml", "--rolout", "web"], 3, "no option --rolout; did you mean --rollout?"),
        (["ls", "--kube", "x"], 3, "no option --kube; did you mean --kubeconfig?"),
        (["serve", "--listn=x"], 2, "no option --listn; did you mean --listen?"),
        (["sandbox", "--foldr", "x"], 2, "no option --foldr; did you mean --folder?"),
        (["bridge", "--targt", "x"], 2, "no option --targt; did you mean --target?"),
        (["--self-check", "--servr"], 2, "no option --servr; did you mean --server?"),
        (["--verson"], 2, "no option --verson; did you mean --version?"),
        (["dmo"], 2, "invalid choice: 'dmo'"),
    ],
)
def test_what_is_misspelt_is_named_in_one_line_with_what_was_meant(
    arguments: list[str], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)

    said = capsys.readouterr().err
    assert ended.value.code == code
    assert why in said
    assert "--help`)" in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--metrics-address", ":9464", "--metrics-key", "tls.key"], "--metrics-key wants --metrics-cert"),
        (["--metrics-token-file", "token"], "--metrics-token-file want --metrics-address"),
    ],
)
def test_what_would_be_left_open_in_silence_is_refused(
    options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CannotStartError, match=why):
        cli._settings(options)
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--listen", "unix:///nowhere/socket", *options])

    assert ended.value.code == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("command", [["run", "x.yaml", "--rollout", "web"], ["ls"], ["watch"], ["stop", "1"]])
def test_who_forgets_the_server_starts_nothing_in_another_cluster(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--token-file", "token"])

    assert ended.value.code == 3
    assert "--token-file is for a server, and none is named" in capsys.readouterr().err


def test_a_misspelt_arg_of_the_plugin_is_named_for_the_hosts_log() -> None:
    with pytest.raises(CannotStartError, match="no option --alow-stable; did you mean --allow-stable"):
        cli._settings(["--alow-stable"])


def test_a_template_that_is_no_text_is_named_with_its_place(tmp_path: Path) -> None:
    template = tmp_path / "gate.yaml"
    template.write_bytes(b"kind: \xff")
    ended = _run("run", str(template), "--rollout", "web")

    assert (ended.returncode, ended.stderr) == (3, f"chaosplugin: {template}: byte 7 is no UTF-8 text\n")
