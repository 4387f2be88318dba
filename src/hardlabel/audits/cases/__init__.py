"""What is audited: data, samples and plans, checked before anything is trained or asked."""
