//! End to end: the page and the JSON API of `mert-search serve`.
