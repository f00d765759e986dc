"""Programs to try launcher with."""
