//! End to end: changes of a catalogue through `mert-search`: additions, removals, damage, killed processes.
