"""The crossmatch of two surveys on the sky, by HEALPix cells."""
