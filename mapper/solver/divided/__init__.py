"""Placements beyond one whole layer per core: pieces, copies and relays.

Every per-core limit becomes one integer, the largest piece of a layer that a core class holds; a cut is
then a covering constraint. Destinations are counted, not routed: all pieces of a copy have the same
subscribers, so that a signal needs as many slots as there are cores that read it, and every copy or relay
offers some. Which core gets what is decided when the counts are decoded.
"""
