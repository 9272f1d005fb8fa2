"""What threads do for one job of a batch: its files are uploaded, it is submitted, and its end is stored."""
