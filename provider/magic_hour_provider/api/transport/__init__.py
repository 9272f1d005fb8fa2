"""Bytes on the wire: HTTP connections, uploads, downloads and their checksums."""
