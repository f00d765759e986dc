"""Where the code of a run comes from: pinned when a spec is added, brought to a folder when its run is prepared."""

from launcher.sources.git import checkout, pin

__all__ = ["checkout", "pin"]
