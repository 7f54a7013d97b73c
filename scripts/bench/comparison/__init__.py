"""The engines that scripts/bench/peers.py compares, and the processes in which they take turns."""
