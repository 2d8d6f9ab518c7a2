"""The frame that every program of ours runs in."""
