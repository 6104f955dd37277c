"""The archive on the network: where its files are, polite downloads, queries by position."""
