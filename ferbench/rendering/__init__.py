"""Pictures, terminal tables and the report page. Nothing here computes a score or changes a sample."""
