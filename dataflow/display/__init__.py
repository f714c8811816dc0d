"""What a person sees of a plan or a run: progress, and collections in a notebook."""
