"""Positions on the sky: vectors, HEALPix cells and the crossmatch. Arrays in, arrays out."""
