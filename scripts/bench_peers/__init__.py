"""What scripts/bench-peers.py consists of."""
