"""The rows of a batch: read, merged over what they have in common, checked and identified, in bounded memory.

A row is one line of the input; an item is one request, by its identity. :func:`.items.read_items` is the way in. It
reads every row before anything is paid for:

1. :mod:`.formats` reads ``requests``: a list, or a ``.jsonl``, ``.json``, ``.csv`` or ``.parquet`` file.
2. :mod:`.checks` merges each row over the shared request and checks it as the operator checks its own. Rows are data:
   no text in them is rendered as a template.
3. :mod:`.spool` keeps each request in a temporary file; memory keeps its key and its place there.
4. :mod:`.files` asks the storage for each file once, however many rows share it, in a few threads.
5. :mod:`.keys` makes the identity a safe file name: of the ``item_id``, else of the request and its files; never of the
   position. The same rows have the same keys in every run, whatever package version reads them.

What is wrong is one error (:mod:`.problems`). The same file may be read as often as needed: nothing is left behind.
"""
