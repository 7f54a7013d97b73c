"""What mert-search answers, computed with NumPy from the Parquet tables of a catalogue."""
