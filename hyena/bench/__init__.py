"""FLOOR 6: measurements -> JSON -> tables and pictures. A file holds one measurement, or one way to show it."""
