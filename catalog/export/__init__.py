"""What goes out: selections of rows, and one writer per format."""
