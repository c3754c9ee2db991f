"""FLOOR 6: hyena at home in other libraries, each behind its extra; nothing below knows of them."""
