"""What is measured: speed as ratios against a peer, and whole installations against a file of answers."""
