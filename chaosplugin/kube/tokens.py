"""TokenReview (authentication.k8s.io): whose token it is that somebody shows."""

from collections.abc import Sequence

import msgspec

from chaosplugin.kube import resources
from chaosplugin.kube.errors import UNREADABLE
from chaosplugin.kube.session import Request, Session
from chaosplugin.provider.ports import Unavailable

_WHAT = "review a token"


class _Review(msgspec.Struct):
    class _Status(msgspec.Struct):
        class _User(msgspec.Struct, frozen=True):
            username: str = ""

        authenticated: bool = False
        user: _User = _User()
        audiences: list[str] = []

    status: _Status


class TokenReviews:
    """Asks the API server."""

    def __init__(self, session: Session, audiences: Sequence[str]) -> None:
        self._session = session
        self._audiences = list(audiences)

    async def user(self, token: str) -> str:
        """Return the user whose token it is, "" for one that is not valid here, or for others only.

        Raises: ClusterError.
        """
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": self._audiences},
        }
        path = resources.TOKEN_REVIEWS.path()
        body = msgspec.json.encode(review)
        answer = await self._session.send(Request(method="POST", path=path, what=_WHAT, body=body))
        try:
            status = msgspec.json.decode(answer, type=_Review).status
        except UNREADABLE as error:
            raise Unavailable(f"{_WHAT}: {error}", status=200, sent=True) from None
        meant = not self._audiences or not set(self._audiences).isdisjoint(status.audiences)
        return status.user.username if status.authenticated and meant else ""
