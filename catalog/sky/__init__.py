"""Positions on the sky: unit vectors, separations, HEALPix, crossmatch."""
