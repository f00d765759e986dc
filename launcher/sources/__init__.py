"""Where the code of a run comes from: pinned to a commit, and a patch for what is not committed, when a spec is added;
brought to a folder of its own when its run is prepared, or into an image."""

from launcher.sources.builds import Images, export, plan_build, short_name
from launcher.sources.checkouts import Checkouts
from launcher.sources.leavings import Leavings
from launcher.sources.pinning import DIRTY, covers, pin, preserve, working_tree
from launcher.sources.snapshot import Patch

__all__ = [
    "DIRTY", "Checkouts", "Images", "Leavings", "Patch", "covers", "export", "pin", "plan_build", "preserve",
    "short_name", "working_tree",
]  # fmt: skip
