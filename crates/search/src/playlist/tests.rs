//! Tests of playlists.
