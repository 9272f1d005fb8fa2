"""The forms in which rows come: lists, JSON lines, JSON, CSV and Parquet, each read as a stream."""
