"""The paper's tables and figures, declared, run in parts, and judged from intervals."""
