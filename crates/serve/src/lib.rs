//! A page and a JSON API on a catalogue of music, for a browser on the same machine.
