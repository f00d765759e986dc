"""What no patch can hold, and patches that were made to hurt."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from launcher.errors import SourceError
from launcher.sources import Patch
from launcher.sources.snapshot import LIMIT
from launcher.spec import Source
from tests.sources.repositories import checkout, commit, git, message, repository

# -- what no patch can hold -------------------------------------------------------------------------------------------


def test_large_changes_are_refused_with_the_largest_files(repo: Path) -> None:
    with (repo / "weights.pt").open("wb") as file:
        file.truncate(LIMIT)
    (repo / "small.py").write_text("x")
    told = message(str(repo))
    assert "weights.pt (20.0 MB)" in told
    assert "list data in .gitignore" in told


def test_a_repository_inside_is_refused_by_name(repo: Path) -> None:
    repository(repo / "inner")
    assert "inner/ is a repository of its own; list it in .gitignore" in message(str(repo))


def test_an_unresolved_merge_is_refused(repo: Path) -> None:
    git(repo, "checkout", "--quiet", "-b", "other")
    commit(repo, "theirs")
    git(repo, "checkout", "--quiet", "main")
    commit(repo, "ours")
    with pytest.raises(Exception, match="merge"):
        git(repo, "merge", "--quiet", "other")
    assert "train.py has an unresolved merge" in message(str(repo))


# -- hostile patches --------------------------------------------------------------------------------------------------


OUTSIDE = """\
diff --git a/../outside.py b/../outside.py
new file mode 100644
--- /dev/null
+++ b/../outside.py
@@ -0,0 +1 @@
+x
"""

THROUGH_A_LINK = """\
diff --git a/link b/link
new file mode 120000
--- /dev/null
+++ b/link
@@ -0,0 +1 @@
+/tmp
\\ No newline at end of file
diff --git a/link/launcher-outside b/link/launcher-outside
new file mode 100644
--- /dev/null
+++ b/link/launcher-outside
@@ -0,0 +1 @@
+x
"""

INTO_GIT = OUTSIDE.replace("../outside.py", ".git/hooks/post-checkout")


@pytest.mark.parametrize("content", [OUTSIDE, THROUGH_A_LINK, INTO_GIT, "no patch at all\n"])
def test_a_patch_that_leaves_its_tree_is_refused(repo: Path, cache: Path, content: str) -> None:
    patch = Patch(content.encode(), ())
    source = Source(folder=str(repo), commit=git(repo, "rev-parse", "HEAD"), patch=patch.digest)
    with pytest.raises(SourceError, match="git -C"):
        checkout(source, cache, patch)
    assert not list(cache.rglob("*outside*"))
    assert not Path("/tmp/launcher-outside").exists()  # noqa: S108 - where the patch would have written


def test_a_patch_that_is_not_what_its_digest_says_is_refused(repo: Path, cache: Path) -> None:
    source = Source(folder=str(repo), commit=git(repo, "rev-parse", "HEAD"), patch=hashlib.sha256(b"right").hexdigest())
    with pytest.raises(SourceError, match=r"the stored patch .* is damaged"):
        checkout(source, cache, Patch(b"wrong", ()))
