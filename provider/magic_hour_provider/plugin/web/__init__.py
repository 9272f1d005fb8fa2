"""What the web applications of our tabs share: who may read, what leaves, and what their pages are made of."""
