"""From scores to findings: figures with intervals, exposed records, figures of defenses, bounds from canaries."""
