"""Experiments: configuration, the audit from split to record, and the record itself."""
