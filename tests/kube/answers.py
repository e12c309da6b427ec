"""Answers of an API server that is told what to say."""

from aiohttp import web

from tests.kube.conftest import Step

OBJECT = {"kind": "PodChaos", "metadata": {"name": "x", "namespace": "shop", "uid": "u"}}


def answer(body: object, status: int = 200, **headers: str) -> Step:
    async def step(_: web.Request) -> web.StreamResponse:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        if isinstance(body, str):
            return web.Response(text=body, status=status, headers=named)
        return web.json_response(body, status=status, headers=named)

    said = body.get("message") if isinstance(body, dict) else body
    step.__name__ = f"{status} {str(said)[:60].strip()}"  # what pytest shows
    return step


def refuse(code: int, reason: str, message: str, name: str = "x", **headers: str) -> Step:
    details = {"name": name} if name else {}
    return answer(
        {
            "kind": "Status",
            "status": "Failure",
            "code": code,
            "reason": reason,
            "message": message,
            "details": details,
        },
        code,
        **headers,
    )


async def drop(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()
