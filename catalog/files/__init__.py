"""Files in and out: one reader per format, one writer per export."""
