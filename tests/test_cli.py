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
