"""Who looks at the page: sessions in a signed cookie, tokens against forged posts, and which hosts may be asked for.
The store's users are the page's; while it has none, whoever is on this machine is admin."""

from __future__ import annotations

import hashlib
import hmac
import time
from dataclasses import dataclass

from starlette.requests import Request

from launcher.errors import AccessError
from launcher.server.access import KEY, User, hash_of, is_this_machine, of_another_site
from launcher.server.desk import Desk

COOKIE = "launcher_session"
SESSION_SECONDS = 14 * 24 * 3600
SAFE = frozenset({"GET", "HEAD"})


class LoginNeededError(AccessError):
    """A page was asked for by nobody that the server knows."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks at pages. `token` comes with every form that changes something; `local`: not logged in, for
    there are no users yet."""

    user: User
    token: str
    local: bool


@dataclass(frozen=True, slots=True)
class Sessions:
    """Cookies of a store's servers: they share its secret, so that a session outlives a restart."""

    desk: Desk

    def viewer(self, request: Request) -> Viewer:
        """Who asks. LoginNeededError for nobody; AccessError for a page that another site leads here by a name of its
        own (DNS rebinding), which could read everything where no key is needed."""
        cookie = request.cookies.get(COOKIE, "")
        digest = self._digest(cookie)
        user = self.desk.accounts.of_hash(digest)
        local = self.desk.accounts.open
        if local and not is_this_machine(request.headers.get("host", "")):
            raise AccessError(
                "this server has no users, so it answers only to localhost and 127.0.0.1; add users to give it a name: "
                "launcher user add NAME"
            )
        if user is None:
            raise LoginNeededError("log in with an API key")
        return Viewer(user, self._signed(f"form {'' if local else cookie}"), local)

    def still(self, request: Request, user: User) -> bool:
        """Whether an open stream's viewer is still who they were: not revoked, their roles the same."""
        try:
            return self.viewer(request).user == user
        except AccessError:
            return False

    def open(self, key: str) -> str:
        """The cookie for whoever has this key; AccessError for a wrong one."""
        found = self.desk.accounts.of_hash(hash_of(key)) if KEY.fullmatch(key) else None
        if found is None:
            raise AccessError("this API key is wrong or was revoked; ask for one: launcher user add NAME")
        told = f"{hash_of(key)}.{int(time.time()) + SESSION_SECONDS}"
        return f"{told}.{self._signed(told)}"

    def check(self, request: Request, viewer: Viewer | None, token: str) -> None:
        """AccessError unless this post comes from a page of ours: by its origin, and by the token of its form."""
        if of_another_site(request.headers):
            raise AccessError("this request comes from another site; open the page itself, and try again")
        if viewer and not hmac.compare_digest(viewer.token.encode(), token.encode()):
            raise AccessError("this form is of another session; reload the page, and try again")

    def _digest(self, cookie: str) -> str | None:
        told, _, signature = cookie.rpartition(".")
        digest, _, expires = told.partition(".")
        if not hmac.compare_digest(self._signed(told).encode(), signature.encode()):
            return None
        return digest if expires.isdigit() and int(expires) > time.time() else None

    def _signed(self, text: str) -> str:
        return hmac.new(self.desk.storage.secret, f"web {text}".encode(), hashlib.sha256).hexdigest()
