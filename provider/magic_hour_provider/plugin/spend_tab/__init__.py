"""The Spend tab of a DAG: what its runs have paid for, from what their tasks recorded."""
