"""Recipe of mini-glyph, the small CLIP of rendered characters shipped with labelsieve."""
