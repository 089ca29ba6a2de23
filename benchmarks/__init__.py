"""Side-by-side measurements that anyone can run again: each prints a table."""
