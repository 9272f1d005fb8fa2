"""The contact sheet of a batch's items, from its records in the user's storage: listed, read and shown page by page."""
