"""The API of one Kubernetes cluster, through the official client (the extra `kubernetes`): what is created, listed,
watched, read and deleted, as plain JSON, whatever kind it is of. `places` and `watch` call it."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from launcher.errors import RunnerError

ANSWER_SECONDS = (5.0, 30.0)
"""How long a connection, and an answer, may take."""

WATCH_SECONDS = 290
"""How long one watch goes on; a server that is silent for longer than that is gone."""

TRIES = 4
LONGEST_WAIT = 10.0
"""What a server's Retry-After may ask for within one call, in seconds; for longer, the caller comes again."""

CONNECTIONS = 64
PAGE = 500
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

NOT_SENT = "NotSent"
"""The reason, of ours, of a call whose connection was never made."""

QUOTA = ("exceeded quota", "quota exceeded")


def kubernetes_missing() -> str | None:
    """Why no cluster can be talked to here; None when one can."""
    return None if find_spec("kubernetes") else "kubernetes is not installed here; pip install 'launcher[kubernetes]'"


class ApiError(Exception):
    """What a cluster says instead of doing what it is asked: HTTP's `status` (0: nothing was heard of it), Kubernetes's
    `reason` in one word and its message; `retry_after` seconds, where it says when to come again."""

    def __init__(self, status: int, reason: str = "", message: str = "", retry_after: float | None = None) -> None:
        super().__init__(status, reason, message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return self.message or self.reason or (f"HTTP status {self.status}" if self.status else "no answer")

    @property
    def exists(self) -> bool:
        """Whether it is there already."""
        return self.status == 409 and self.reason == "AlreadyExists"

    @property
    def unsure(self) -> bool:
        """Whether it may have been done all the same."""
        return (self.status == 0 and not self.not_sent) or self.status in (500, 502, 504)

    @property
    def not_sent(self) -> bool:
        """Whether it never reached the cluster."""
        return self.reason == NOT_SENT

    @property
    def later(self) -> bool:
        """Whether it was not done, and may be asked again some time."""
        return (
            self.not_sent
            or self.status in (429, 503)
            or (self.status == 403 and any(word in self.message for word in QUOTA))
        )


class Cluster:
    """The cluster of a context of the kubeconfig (None: the current one, or that which the agent's own pod is in).

    RunnerError where none can be found.
    """

    def __init__(self, context: str | None = None) -> None:
        if missing := kubernetes_missing():
            raise RunnerError(missing, "prepare")
        from kubernetes import client
        from kubernetes import config as typed

        config: Any = typed  # without types
        loaded = client.Configuration()
        loaded.retries = False
        loaded.connection_pool_maxsize = CONNECTIONS
        try:
            if not os.environ.get("KUBECONFIG") and not context and "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=loaded)
                self.namespace = (SERVICE_ACCOUNT / "namespace").read_text(encoding="utf-8").strip()
            else:
                file = os.environ.get("KUBECONFIG") or "~/.kube/config"
                contexts, active = config.list_kube_config_contexts(config_file=file)
                found = active if context is None else next((one for one in contexts if one["name"] == context), None)
                if found is None:
                    known = ", ".join(one["name"] for one in contexts)
                    raise RunnerError(f"the kubeconfig has no context {context!r}; it has {known}", "prepare")
                config.load_kube_config(config_file=file, context=found["name"], client_configuration=loaded)
                self.namespace = found["context"].get("namespace") or "default"
        except (config.ConfigException, OSError) as error:
            raise RunnerError(
                f"no Kubernetes cluster is configured here ({error}); set KUBECONFIG, or run the agent in a pod",
                "prepare",
            ) from error
        self._client: Any = client.ApiClient(loaded)
        self._plurals: dict[tuple[str, str], str] = {}

    def path(self, api_version: str, kind: str, namespace: str) -> str:
        """Where objects of a kind live. ApiError, RunnerError for one that the cluster does not know."""
        head = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
        if (api_version, kind) == ("batch/v1", "Job"):
            plural: str | None = "jobs"
        else:
            plural = self._plurals.get((api_version, kind)) or next(
                (one["name"] for one in self._discovered(head) if one["kind"] == kind and "/" not in one["name"]), None
            )
        if not plural:
            raise RunnerError(
                f"the cluster knows no {kind} of {api_version}; install what defines it, or correct kind and "
                "apiVersion in resource_args.kubernetes",
                "prepare",
            )
        self._plurals[api_version, kind] = plural
        return f"{head}/namespaces/{namespace}/{plural}"

    def _discovered(self, path: str) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self.ask("GET", path)["resources"]
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        return found

    def create(self, path: str, made: Mapping[str, Any], *, dry: bool = False) -> dict[str, Any]:
        """Create an object; asked again, it may be there already, which is ApiError.exists. `dry`: only say whether."""
        return self.ask("POST", path, {"dryRun": "All"} if dry else {}, made)

    def delete(self, path: str, name: str) -> None:
        """Delete an object and all that belongs to it, which ends before it does; one that is gone is no error."""
        try:
            self.ask("DELETE", f"{path}/{quote(name)}", body={"propagationPolicy": "Foreground"})
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    def listed(self, path: str, selector: str) -> tuple[list[dict[str, Any]], str]:
        """All that is selected, in pages that are one moment's view, and the version to watch from."""
        items: list[dict[str, Any]] = []
        query = {"labelSelector": selector, "limit": str(PAGE)}
        while True:
            page = self.ask("GET", path, query)
            items += page.get("items") or ()
            if not (more := page["metadata"].get("continue")):
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = more

    def watch(self, path: str, selector: str, version: str, opened: list[Any]) -> Iterator[dict[str, Any]]:
        """What happens to it from this version on, until the server ends that. The connection is put into `opened`."""
        query = {
            "labelSelector": selector, "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }  # fmt: skip
        with closing(self._stream(path, query, (ANSWER_SECONDS[0], WATCH_SECONDS + 60.0))) as response:
            opened[:] = [response]
            for line in _lines(response):
                yield json.loads(line)

    def log(self, namespace: str, pod: str, container: str, *, follow: bool, opened: list[Any]) -> Iterator[bytes]:
        """What a container printed, in pieces; with `follow`, until it ends."""
        path = f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log"
        query = {"container": container} | ({"follow": "true"} if follow else {})
        timeout = (ANSWER_SECONDS[0], None) if follow else ANSWER_SECONDS
        with closing(self._stream(path, query, timeout)) as response:
            opened[:] = [response]
            try:
                yield from response.stream(1 << 16, decode_content=True) if not follow else _pieces(response)
            except Exception as error:
                raise ApiError(0, "", str(error)) from error

    def close(self) -> None:
        """End the connections that are kept."""
        self._client.rest_client.close()

    def ask(self, method: str, path: str, query: Mapping[str, str] | None = None, body: Any = None) -> dict[str, Any]:
        """The answer to a call, asked again for a while where the server is busy or not heard. ApiError otherwise."""
        unsure = False
        for number in range(TRIES):
            try:
                return self._ask_once(method, path, query or {}, body)
            except ApiError as error:
                unsure = unsure or error.unsure
                again = error.unsure or error.not_sent or error.status in (429, 503)
                wait = error.retry_after if error.retry_after is not None else 0.1 * 4**number
                if not again or number == TRIES - 1 or wait > LONGEST_WAIT or error.not_sent:
                    if unsure and again:  # an earlier try may have been heard
                        raise ApiError(0, "", str(error)) from error
                    raise
                time.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - agents shall not come all at once
        raise AssertionError("unreachable")

    def _ask_once(self, method: str, path: str, query: Mapping[str, str], body: Any) -> dict[str, Any]:
        with closing(self._request(method, path, query, body, ANSWER_SECONDS)) as response:
            try:
                text = response.read(decode_content=True)
                found = json.loads(text or b"{}")
            except Exception as error:
                raise ApiError(0, "", str(error)) from error
            if response.status >= 400:
                raise _error(response.status, text, response.headers)
        return dict(found)

    def _stream(self, path: str, query: Mapping[str, str], timeout: tuple[float, float | None]) -> Any:
        response = self._request("GET", path, query, None, timeout)
        if response.status >= 400:
            with closing(response):
                raise _error(response.status, response.read(), response.headers)
        return response

    def _request(
        self, method: str, path: str, query: Mapping[str, str], body: Any, timeout: tuple[float, float | None]
    ) -> Any:
        import urllib3
        from kubernetes.client.exceptions import ApiException

        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        asked = self._client.param_serialize(
            method, path, query_params=list(query.items()), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        try:
            return self._client.call_api(*asked, _request_timeout=timeout).response
        except (urllib3.exceptions.HTTPError, ApiException, OSError) as error:
            raise ApiError(0, _cause(error), f"the cluster does not answer: {error}") from error


def _cause(error: Exception) -> str:
    import urllib3

    inner = getattr(error, "reason", None) or error
    never = (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError)
    return NOT_SENT if isinstance(inner, never) else ""


def _error(status: int, text: bytes, headers: Mapping[str, str]) -> ApiError:
    try:
        told = json.loads(text)
    except ValueError:
        told = {"message": text.decode(errors="replace")[:200]}
    if not isinstance(told, dict):
        told = {}
    wait = headers.get("Retry-After") or ""
    return ApiError(
        status, told.get("reason") or "", told.get("message") or "", float(wait) if wait.isdigit() else None
    )


def _lines(response: Any) -> Iterator[bytes]:
    rest = b""
    for piece in _pieces(response):
        *whole, rest = (rest + piece).split(b"\n")
        yield from filter(None, whole)


def _pieces(response: Any) -> Iterator[bytes]:
    """What comes, as soon as it comes."""
    try:
        while piece := response.read1(1 << 16):
            yield piece
    except Exception as error:
        raise ApiError(0, "", str(error)) from error
