//! End to end: queries of a catalogue through `mert-search`: scores, filters, variety, paths, playlists, reasons.
