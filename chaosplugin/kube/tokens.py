"""TokenReview (authentication.k8s.io): whose token it is that somebody shows."""

from collections.abc import Sequence

import msgspec

from chaosplugin.kube import resources
from chaosplugin.kube.session import Request
from chaosplugin.kube.verbs import Verbs


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

    def __init__(self, verbs: Verbs, audiences: Sequence[str]) -> None:
        self._verbs = verbs
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
        request = Request(method="POST", path=path, what="review a token", body=body)
        status = (await self._verbs.answer(request, _Review)).status
        meant = not self._audiences or not set(self._audiences).isdisjoint(status.audiences)
        return status.user.username if status.authenticated and meant else ""
