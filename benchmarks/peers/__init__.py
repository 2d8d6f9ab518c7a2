"""Peers to compare with: the same job done by the usual components."""
