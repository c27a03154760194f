"""One file a page: each asks what to show, calls one function for it, and shows it."""
