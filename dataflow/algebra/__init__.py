"""What may be added: aggregators as (create, add, merge, present), and the order and equality of values.

Pure: nothing here knows of plans, files or Arrow.
"""
