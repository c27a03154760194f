"""Where to run the segmentation next, and how much of that work the ranking saves."""
