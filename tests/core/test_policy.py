import pytest

from chaosplugin.core.policy import Policy
from chaosplugin.core.refusal import PolicyRefused


@pytest.mark.parametrize("entry", ["api.example.com", "API.example.com:6443"])
def test_an_endpoint_is_allowed_by_host_or_by_host_and_port(entry: str) -> None:
    Policy(allow_endpoints=(entry,)).check_endpoint("api.example.com", 6443)


@pytest.mark.parametrize("entry", ["example.com", "api.example.com:443", "*"])
def test_another_host_or_port_is_refused_with_the_flag_that_would_allow_it(entry: str) -> None:
    with pytest.raises(PolicyRefused, match=r"--allow-endpoint api\.example\.com:6443"):
        Policy(allow_endpoints=(entry,)).check_endpoint("api.example.com", 6443)
