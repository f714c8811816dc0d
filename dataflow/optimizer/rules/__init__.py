"""The rules. Each is one function from a plan to a plan; rules never import each other."""
