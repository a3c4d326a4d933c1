"""Networks: one registry of all that can be trained, two- and three-dimensional."""
